"""The client of the Assure API."""
