"""The loops: source, drive, orphans, and what is told of them."""
