"""The metadata for Datasette: the named queries, the views, and the tables that are closed.

`datasette state/agent.db --metadata state/datasette.json` serves the store read-only. Free SQL is off, because
Datasette cannot restrict a free query to some tables: such a query could read capture links. `assure-agent audit query
--sql` restricts it.
"""

from collections.abc import Iterable
from typing import Any

from agent.store.audit.query_library import CLOSED, OPEN, Query

_INTERNAL = ("_sqlite_migrations", "sqlite_sequence")


def metadata(queries: Iterable[Query], database: str = "agent") -> dict[str, Any]:
    """The metadata of Datasette 0.65 for a database of this name. Datasette 1 reads the same as its configuration."""
    closed = {table: {"allow": False, "hidden": True} for table in sorted(CLOSED.union(_INTERNAL))}
    hidden = {table: {"hidden": True} for table in sorted(OPEN)}
    return {
        "title": "Assure Agent",
        "description": "Requested verifications, calls to Assure, and deletions. Times are in UTC.",
        "databases": {
            database: {
                "allow_sql": False,
                "queries": {
                    query.name: {
                        "title": query.title,
                        "description": "\n".join([query.about, *(f":{key} {text}" for key, text in query.parameters)]),
                        "params": [key for key, _ in query.parameters],
                        "sql": query.sql,
                    }
                    for query in queries
                },
                "tables": closed | hidden,
            }
        },
    }
