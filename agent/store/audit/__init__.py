"""The audit: verification of the history, named queries, exports and deletion certificates."""
