"""The state file for an auditor."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.store.audit.connection import AuditConnection

from .connection import Connection, reader

_TABLES_WITH_UID = """
SELECT tables.name FROM sqlite_schema AS tables JOIN pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table' AND columns.name = 'uid'
"""


class SqliteAudit(AuditConnection):
    """A connection to a state file."""

    def __init__(self, path: Path, connection: Connection) -> None:
        super().__init__(path, path.with_name("agent.key"), f"state file {path}")
        self._connection = connection

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path) -> "Iterator[SqliteAudit]":
        """Open the state file for the block. Raises StoreError if it is unreadable."""
        with reader(path) as connection:
            yield cls(path, connection)

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """The rows of a query, as a cursor."""
        return self._connection.execute(sql, values)

    def stream(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, one after the other."""
        return iter(self.execute(sql, values))

    def mappings(self, sql: str, values: Sequence[Any] = ()) -> Iterator[Mapping[str, Any]]:
        """The rows of a query by column, one after the other."""
        cursor = self.execute(sql, values)
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(columns, row, strict=True))

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""
        self.execute("BEGIN")

    def tables_with_uid(self) -> Sequence[str]:
        """The tables whose rows belong to a request."""
        return [row[0] for row in self.execute(_TABLES_WITH_UID)]
