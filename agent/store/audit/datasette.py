"""What Datasette is told of the store: the named queries, the views first, and what nobody may see.

`datasette state/agent.db --metadata state/datasette.json` serves it read-only. Free SQL is off: Datasette knows no list
of what may be read, so that a free query could read capture links; `assure-agent audit query --sql` has such a list.
"""

from collections.abc import Iterable
from typing import Any

from agent.store.audit.named_queries import CLOSED, OPEN, Query


def metadata(queries: Iterable[Query], database: str = "agent") -> dict[str, Any]:
    """Metadata of Datasette 0.65 for a database of this name; the same is the configuration of Datasette 1."""
    closed = {table: {"allow": False, "hidden": True} for table in sorted(CLOSED)}
    hidden = {table: {"hidden": True} for table in sorted(OPEN) if not table.startswith(("sqlite_", "json_"))}
    return {
        "title": "Assure Agent",
        "description": "What was asked, what happened at Assure, and what is gone. Times are in UTC.",
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
