"""Reads of the state file that the agent and its commands share. Every read sees committed data."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from agent.core.record import Record
from agent.core.source_revision import RevisionState
from agent.ports import MetaKey
from agent.store.repository import load
from agent.store.revisions import revision_state
from agent.store.sqlite.connection import Connection, sqlite3, store_error
from agent.store.sqlite.revisions import REVISION_STATE

# The requests that are not done, by two ranges of the index. `<>` would scan all of it.
OPEN = "requests INDEXED BY requests_by_phase WHERE (phase < 'done' OR phase > 'done')"
_RECORDS = "SELECT record FROM requests WHERE uid IN (SELECT value FROM json_each(?))"
_PRESENT = """
SELECT name, uid FROM requests INDEXED BY requests_present WHERE source = ? AND present AND name IS NOT NULL
"""
_OWNERS = """
SELECT dossier_id, uid FROM requests INDEXED BY requests_with_dossier
WHERE dossier_id IS NOT NULL AND phase <> 'done' AND dossier_id IN (SELECT value FROM json_each(?))
"""
# Another source that has files, if this one has none. The query needs two seeks, for any number of requests.
_OTHER_SOURCE = """
SELECT max(source) FROM (
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source < :source AND present AND name IS NOT NULL LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source > :source AND present AND name IS NOT NULL LIMIT 1)
) WHERE NOT EXISTS (
    SELECT 1 FROM requests INDEXED BY requests_present WHERE source = :source AND present AND name IS NOT NULL
)
"""
# Starts since `?1`: reserved ones, those made without a budget, and those about to be made without one.
_STARTS_SINCE = """
SELECT (SELECT count(*) FROM reservations WHERE at >= ?1)
    + (SELECT count(*) FROM starts WHERE at >= ?1 AND NOT EXISTS
        (SELECT 1 FROM reservations WHERE uid = starts.uid AND generation = starts.generation))
    + (SELECT count(*) FROM requests INDEXED BY requests_by_phase
        WHERE phase IN ('process', 'images', 'verification')
        AND NOT EXISTS (SELECT 1 FROM reservations WHERE uid = requests.uid AND generation = requests.generation)
        AND NOT EXISTS (SELECT 1 FROM starts WHERE uid = requests.uid AND generation = requests.generation))
"""


class Queries:
    """Reads through one connection, from any thread. Each may raise StoreError."""

    def __init__(self, path: Path, reader: Connection) -> None:
        self.path = path
        self._reader = reader
        self._read_lock = threading.Lock()  # the source is scanned in its own thread

    def close(self) -> None:
        """Close the connection."""
        with self._read_lock:
            self._reader.close()

    def query(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        """All rows."""
        try:
            with self._read_lock:
                return self._reader.execute(sql, values).fetchall()  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise store_error(self.path, error) from None

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

    def get(self, uid: str) -> Record | None:
        """The record of this uid, also after its name was forgotten."""
        return next(iter(self._records("SELECT record FROM requests WHERE uid = ?", uid)), None)

    def get_many(self, uids: Sequence[str]) -> dict[str, Record]:
        """The records of these uids, by uid; without those that the store does not have."""
        found = self._records(_RECORDS, orjson.dumps(list(uids)).decode()) if uids else []
        return {record.uid: record for record in found}

    def present(self, source: str) -> dict[str, str]:
        """The names and uids of the requests of a source that have a file, according to the last scan."""
        return dict(self.query(_PRESENT, (source,)))

    def other_source(self, source: str) -> str | None:
        """Another source of the store, if the store has no file of this one."""
        found: str | None = self.query(_OTHER_SOURCE, {"source": source})[0][0]
        return found

    def revision_state(self, source: str) -> RevisionState:
        """The state of this git source; empty if it never was one."""
        try:
            return revision_state(self._row(REVISION_STATE, source))
        except ValueError:
            raise store_error(self.path, ValueError("malformed state of a git source")) from None

    def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """The uid of the request that is not done and has the dossier, by dossier."""
        return dict(self.query(_OWNERS, (orjson.dumps(dossiers).decode(),))) if dossiers else {}

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """The open possible orphans: reference, since, and the dossier's id once Assure showed it."""
        rows = self.query("SELECT reference, since, dossier_id FROM orphans WHERE closed_at IS NULL")
        return [(row[0], row[1], row[2]) for row in rows]

    def starts_since(self, at: float) -> int:
        """How many starts count since then: reserved ones, and those made or begun without a budget."""
        return int(self._value(_STARTS_SINCE, at))

    def withdrawn_since(self, at: float) -> int:
        """How many files were removed before the outcome since then, also those that are back."""
        return int(self._value("SELECT count(*) FROM withdrawals WHERE at >= ?", at))

    def last_event_at(self) -> float:
        """The time of the last event, in seconds since the epoch; 0 without events."""
        return float(self._value("SELECT at FROM events ORDER BY id DESC LIMIT 1") or 0)

    def recall(self, key: MetaKey) -> str | None:
        """The text of this key."""
        value = self._value("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else str(value)

    def recall_time(self, key: MetaKey) -> float | None:
        """The time of this key, in seconds since the epoch."""
        value = self._value("SELECT value FROM meta WHERE key = ?", key)
        return None if value is None else float(value)
