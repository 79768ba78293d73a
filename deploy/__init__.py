"""Everything to run Freshet: the local stack, and other places."""
