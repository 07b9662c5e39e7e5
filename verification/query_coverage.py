"""Stores every reached record in a real store, and checks that one of its queries selects the record [I1].

The constraints of the schema are checked as well: the agent could not have saved a record that they refuse.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from agent.core.audit import Event
from agent.core.record import Record
from agent.core.step import Step
from agent.store.reading.loop_reads import claim
from agent.store.reading.reads import answer
from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.step_writer import StepWriter
from agent.store.sqlite.store import SqliteStore
from verification.state_identity import state_hash

_BATCH = 2000
_NEVER = 4e9  # seconds since the epoch, later than every due time


class QueryCoverage:
    """Collects distinct records, and searches for each in the results of the store's queries."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="assure-agent-proof-")
        self._store = SqliteStore(Path(self._folder.name) / "agent.db", None)
        self._connection = sqlite3.connect(Path(self._folder.name) / "agent.db", isolation_level=None)
        self._writer = StepWriter(self._store.keys)
        self._seen: set[int] = set()
        self._rows = 0
        self._batch: list[Record] = []
        self._wrong: list[str] = []

    def __enter__(self) -> "QueryCoverage":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._connection.close()
        self._store.close()
        self._folder.cleanup()

    def add(self, record: Record) -> int:
        """Add a record. Return 1 when it is new."""
        like = state_hash(record)
        if like in self._seen:
            return 0
        self._seen.add(like)
        self._rows += 1
        self._batch.append(replace(record, uid=f"u{self._rows}", name=f"n{self._rows}", version=1))
        if len(self._batch) >= _BATCH:
            self._check_batch()
        return 1

    def missed(self) -> list[str]:
        """The records that the store refused, and those that no query selects."""
        self._check_batch()
        return self._wrong[:10]

    def _check_batch(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._connection.execute("BEGIN")
        try:
            for record in batch:
                self._insert(record)
            self._connection.execute("COMMIT")
            selected = self._selected(len(batch))
            self._wrong += [f"I1 no query selects {record}" for record in batch if record.uid not in selected]
        finally:
            self._empty()

    def _insert(self, record: Record) -> None:
        event = Event(at=record.admitted_at, type="Reached", changes={"phase": record.phase})
        try:
            self._writer.write(
                self._connection, [Step(before=None, record=replace(record, intent=None), events=(event,))]
            )
        except sqlite3.IntegrityError as error:
            self._wrong.append(f"I1 the store refuses {record}: {error}")

    def _selected(self, size: int) -> set[str]:
        """The uids that are selected as due, held, suspended or done."""
        query = lambda asked: self._connection.execute(asked.sql, asked.values).fetchall()  # noqa: E731
        driven = {record.uid for record in answer(claim(_NEVER, size, set()), query)}
        people = "SELECT uid FROM requests WHERE state IN ('held', 'suspended') OR (phase = 'done' AND due_at IS NULL)"
        return driven | {row[0] for row in self._connection.execute(people)}

    def _empty(self) -> None:
        self._writer.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("DROP TRIGGER IF EXISTS events_are_never_deleted")
        others = ("starts", "attempts", "reservations", "provenance", "links", "counters", "request_counts")
        for table in ("events", *others, "requests"):
            self._connection.execute(f"DELETE FROM {table}")
