"""Reads of commands, metrics and pages, from any thread."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from agent.core.record import Record
from agent.store.reading import common_reads
from agent.store.reading.reads import Query, Read, answer
from agent.store.repository import load

P = ParamSpec("P")
T = TypeVar("T")


def _read(read: Callable[P, Read[T]]) -> Callable[Concatenate["Queries", P], T]:
    def answered(self: "Queries", /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return answer(read(*arguments, **keywords), self.run)

    answered.__doc__ = read.__doc__
    return answered


class Queries(ABC):
    """Reads through a connection that cannot write. Each may raise StoreError."""

    @abstractmethod
    def query(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """All rows. `values` has one for each `?`."""

    @abstractmethod
    def stream(self, sql: str) -> Iterator[Any]:
        """The rows, one after the other, because there may be many."""

    def run(self, query: Query) -> Sequence[Any]:
        """All rows of a query."""
        return self.query(query.sql, query.values)

    get = _read(common_reads.get)
    get_many = _read(common_reads.get_many)
    present = _read(common_reads.present)
    other_source = _read(common_reads.other_source)
    revision_state = _read(common_reads.revision_state)
    owners = _read(common_reads.owners)
    orphans = _read(common_reads.orphans)
    starts_since = _read(common_reads.starts_since)
    withdrawn_since = _read(common_reads.withdrawn_since)
    last_event_at = _read(common_reads.last_event_at)
    recall = _read(common_reads.recall)
    recall_time = _read(common_reads.recall_time)

    def _row(self, sql: str, *values: Any) -> Any:
        """The first row, or None."""
        return next(iter(self.query(sql, values)), None)

    def _value(self, sql: str, *values: Any) -> Any:
        """The first column of the first row, or None."""
        row = self._row(sql, *values)
        return None if row is None else row[0]

    def _column(self, sql: str, *values: Any) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in self.query(sql, values)]

    def _records(self, sql: str, *values: Any) -> list[Record]:
        """The records of a query whose first column is `record`."""
        return [load(text) for text in self._column(sql, *values)]
