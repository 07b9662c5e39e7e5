"""The Assure client against a server that does exactly what a list says."""
