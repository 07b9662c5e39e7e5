"""Writes of the store other than steps. Both engines run them."""
