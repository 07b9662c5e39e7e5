"""The audit of a state file: verification of its history, named queries, exports and deletion certificates."""
