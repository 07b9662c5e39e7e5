"""Reads of the store, for loops and for commands. Both engines run them."""
