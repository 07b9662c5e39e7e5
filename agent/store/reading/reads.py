"""Reads that both engines run.

A read is a generator: it yields a query, and receives the rows. A loop runs it with a query that it awaits, a command
with a query that it waits for. So each read has one text.

The SQL is that of SQLite. `agent/store/postgres/dialect.py` says what it may contain, and translates it.
"""

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, NamedTuple, TypeVar

from agent.core.record import Record
from agent.store.repository import load

T = TypeVar("T")
Rows = Sequence[Any]  # each is a sequence of columns


class Query(NamedTuple):
    """A query with a value for each `?`."""

    sql: str
    values: tuple[Any, ...] = ()


Read = Generator[Query, Rows, T]


def answer(read: Read[T], query: Callable[[Query], Rows]) -> T:
    """Run a read whose queries are answered at once. Returns its result."""
    try:
        asked = next(read)
        while True:
            asked = read.send(query(asked))
    except StopIteration as end:
        result: T = end.value
        return result


async def answer_later(read: Read[T], query: Callable[[Query], Awaitable[Rows]]) -> T:
    """Run a read whose queries are awaited. Returns its result."""
    try:
        asked = next(read)
        while True:
            asked = read.send(await query(asked))
    except StopIteration as end:
        result: T = end.value
        return result


def row(sql: str, *values: Any) -> Read[Any]:
    """The first row, or None."""
    return next(iter((yield Query(sql, values))), None)


def value(sql: str, *values: Any) -> Read[Any]:
    """The first column of the first row, or None."""
    found = yield Query(sql, values)
    return found[0][0] if found else None


def column(sql: str, *values: Any) -> Read[list[Any]]:
    """The first column of all rows."""
    return [found[0] for found in (yield Query(sql, values))]


def records(sql: str, *values: Any) -> Read[list[Record]]:
    """The records of a query whose first column is `record`."""
    return [load(found[0]) for found in (yield Query(sql, values))]
