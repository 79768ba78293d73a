"""Reading text: its charset, its blocks, and the places where it may be cut."""
