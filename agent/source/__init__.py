"""The source: YAML request files in a folder."""
