"""Where records live: one SQLite file, one writer."""
