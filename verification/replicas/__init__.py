"""Several agents on one model of the database, in one process, under a virtual clock."""
