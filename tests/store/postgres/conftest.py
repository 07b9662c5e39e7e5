"""Databases for the tests of the engine. Without PostgreSQL they are skipped."""

from tests.support.postgres_server import database, empty_database

__all__ = ["database", "empty_database"]
