"""SQL queries to the store: named ones, and free ones. They are read-only, and cannot read secrets."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.core.errors import AgentError
from agent.store.audit.query_library import QueryResult
from agent.store.sqlite.connection import Connection, is_damage, open_reader, reader, sqlite3, store_error

# The tables that a query may read. A new table is closed by default, and a test demands a decision about it.
OPEN = frozenset(
    {
        "requests", "events", "attempts", "starts", "reservations", "withdrawals", "orphans", "image_deletions",
        "superseded_images", "provenance", "source_revisions",
        "sources", "refusals", "counters", "request_counts", "commands", "labels", "receipts", "recoveries",
        "unclaimed_dossiers", "scan_notes",
        "sqlite_master", "sqlite_schema", "json_each", "json_tree",
    }
)  # fmt: skip
# Bearer secrets, personal data, pending notifications, and internal notes.
CLOSED = frozenset({"links", "claims", "deliveries", "meta", "_sqlite_migrations", "sqlite_sequence"})

_STEPS = 100_000  # instructions of SQLite between two checks for an interrupt


# The queries of the agent. In the checkout this is a link to `state/queries`; a wheel contains the files.
SHIPPED = Path(__file__).with_name("queries")


@contextlib.contextmanager
def run_query(path: Path, sql: str, values: Mapping[str, str]) -> Iterator[QueryResult]:
    """Run a query on a state file. Read its rows within the block. Raises AgentError."""
    connection = open_reader(path)
    try:
        _guard(connection)
        cursor = connection.execute(sql, values)
        columns = tuple(column[0] for column in cursor.description or ())
        if not columns:
            raise AgentError("This statement returns no columns.", "write a SELECT")
        yield QueryResult(columns=columns, rows=iter(cursor))
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise (store_error(path, error) if is_damage(str(error)) else _unanswerable(str(error))) from None
    finally:
        connection.close()


def _guard(connection: Connection) -> None:
    """Let SQLite refuse everything except reads of open tables, in addition to `mode=ro` and `query_only`."""

    def allow(action: int, first: str | None, *_: object) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION):
            return int(sqlite3.SQLITE_OK)
        readable = action == sqlite3.SQLITE_READ and (first in OPEN or first in views)
        return int(sqlite3.SQLITE_OK if readable else sqlite3.SQLITE_DENY)

    views = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    connection.set_progress_handler(lambda: 0, _STEPS)
    connection.set_authorizer(allow)


def _unanswerable(reason: str) -> AgentError:
    reason = reason.rstrip(".")
    if any(word in reason for word in ("prohibited", "not authorized", "authorization denied")):
        return AgentError(
            f"The query is refused: {reason}.",
            f"read only, and of these: {', '.join(sorted(OPEN - {'json_each', 'json_tree'}))}, and the views",
        )
    if "no such table" in reason or "no such column" in reason:
        return AgentError(
            f"The query cannot be run: {reason}.", "list tables and columns with `assure-agent audit query`"
        )
    return AgentError(f"The query cannot be run: {reason}.", "write one valid SELECT of SQLite")


def view_columns(path: Path) -> dict[str, tuple[str, ...]]:
    """The views of a state file with their columns."""
    with reader(path) as connection:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name")
        ]
        columns = "SELECT name FROM pragma_table_info(?)"
        return {name: tuple(row[0] for row in connection.execute(columns, (name,))) for name in names}
