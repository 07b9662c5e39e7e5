"""SQL queries to the state file: named ones, and free ones. They are read-only, and cannot read secrets."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from agent.core.errors import AgentError
from agent.store.audit.query_library import OPEN, AuditQueries, QueryResult, no_columns, refused, unknown_part

from .connection import Connection, is_damage, open_reader, reader, sqlite3, store_error

_READABLE = OPEN | {"sqlite_master", "sqlite_schema", "json_each", "json_tree"}
_STEPS = 100_000  # instructions of SQLite between two checks for an interrupt


class SqliteQueries(AuditQueries):
    """Queries to a state file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path

    @contextlib.contextmanager
    def run(self, sql: str, values: Mapping[str, str]) -> Iterator[QueryResult]:
        """Run a query. Read its rows within the block. Raises AgentError."""
        connection = open_reader(self._path)
        try:
            _guard(connection)
            cursor = connection.execute(sql, values)
            columns = tuple(column[0] for column in cursor.description or ())
            if not columns:
                raise no_columns()
            yield QueryResult(columns=columns, rows=iter(cursor))
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise (store_error(self._path, error) if is_damage(str(error)) else _unanswerable(str(error))) from None
        finally:
            connection.close()

    def views(self) -> dict[str, tuple[str, ...]]:
        """The views of the state file with their columns."""
        with reader(self._path) as connection:
            views = connection.execute("SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name").fetchall()
            columns = "SELECT name FROM pragma_table_info(?)"
            return {name: tuple(row[0] for row in connection.execute(columns, (name,))) for (name,) in views}


def _guard(connection: Connection) -> None:
    """Let SQLite refuse everything except reads of open tables, in addition to `mode=ro` and `query_only`."""

    def allow(action: int, first: str | None, *_: object) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION):
            return int(sqlite3.SQLITE_OK)
        readable = action == sqlite3.SQLITE_READ and (first in _READABLE or first in views)
        return int(sqlite3.SQLITE_OK if readable else sqlite3.SQLITE_DENY)

    views = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'view'")}
    connection.set_progress_handler(lambda: 0, _STEPS)
    connection.set_authorizer(allow)


def _unanswerable(reason: str) -> AgentError:
    if any(word in reason for word in ("prohibited", "not authorized", "authorization denied")):
        return refused(reason)
    if "no such table" in reason or "no such column" in reason:
        return unknown_part(reason)
    return AgentError(f"The query cannot be run: {reason.rstrip('.')}.", "write one valid SELECT of SQLite")
