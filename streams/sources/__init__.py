"""Topics of the user's own become documents."""
