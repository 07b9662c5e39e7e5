"""The installed command, as a person meets it."""
