"""One server for all of these tests. Without PostgreSQL they are skipped."""

from tests.support.postgres_server import database, empty_database, postgres_server

__all__ = ["database", "empty_database", "postgres_server"]
