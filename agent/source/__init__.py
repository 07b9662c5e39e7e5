"""Where requests come from: YAML files in a folder."""
