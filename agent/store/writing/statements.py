"""Statements that change the store: what an engine executes for a write that is not a step.

The SQL is that of SQLite. `agent/store/postgres/dialect.py` says what it may contain, and translates it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.store.reading.reads import Query, Rows

# Keep a key of the table `meta`.
REMEMBER = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, executed once for each row of values. A row has a value for each `?`."""

    sql: str
    rows: Sequence[tuple[Any, ...]]

    @classmethod
    def once(cls, sql: str, *values: Any) -> "Statement":
        """A statement that is executed once."""
        return cls(sql, (values,))


class Engine(Protocol):
    """The queries and the statements of an engine. Each may raise StoreError."""

    async def query(self, query: Query) -> Rows:
        """The rows of a query. It sees committed data."""

    async def execute(self, *statements: Statement) -> list[int]:
        """Execute these in their order in one transaction, durably. Returns how many rows each one changed.

        An engine may execute them twice when an answer got lost, so a repetition must change nothing.
        """


def marks(values: Sequence[Any]) -> str:
    """A `?` for each of these values."""
    return ", ".join("?" * len(values))
