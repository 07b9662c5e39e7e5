"""What the loops look up: what is due, what waits, what is owed. Each look sees what is committed."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from agent.core.record import HoldReason, Record
from agent.ports import WaitingSummary
from agent.store.connection import Connection, sqlite3, store_error
from agent.store.repository import OTHER_SOURCE, OWNERS, PRESENT, STARTS_SINCE, VALUE_PREFIX, load

# While paused nothing new is begun; what has a dossier, or may have one, keeps its privacy clock.
_STARTED_ONLY = {False: "", True: "AND opened_at IS NOT NULL"}

_OBSERVED = {False: "", True: "AND phase IN ('result', 'deletion')"}  # what goes on by itself while paused

_HEALING = tuple(sorted(reason for reason in HoldReason if reason.self_healing))

# Which index serves is said wherever SQLite, which knows nothing of the numbers, takes one that grows.
_RETRYABLE = """
SELECT uid FROM requests INDEXED BY requests_queued WHERE queued
UNION SELECT uid FROM requests INDEXED BY requests_held WHERE hold_reason IN (?, ?)
"""
_WAITING_IN = """
SELECT uid FROM requests INDEXED BY requests_waiting
WHERE phase = 'result' AND dossier_id IN (SELECT value FROM json_each(?))
"""
_WAITING = """
SELECT (SELECT coalesce(sum(requests), 0) FROM request_counts WHERE phase = 'result'),
    (SELECT min(opened_at) FROM requests INDEXED BY requests_waiting_since WHERE phase = 'result')
"""

_NEEDED = """
SELECT needing.uid, json_extract(image.value, '$.path'), json_extract(image.value, '$.sha256')
FROM (
    SELECT uid, record FROM requests INDEXED BY requests_open WHERE phase <> 'done'
    UNION ALL
    SELECT uid, record FROM requests INDEXED BY requests_held WHERE phase = 'done' AND hold_reason IS NOT NULL
) AS needing,
json_each(json_array(json_extract(record, '$.desired.images'), json_extract(record, '$.next.images'))) AS document,
json_each(document.value) AS image
"""


class Queries:
    """Reads over one connection, from whichever thread. Each may raise StoreError."""

    def __init__(self, path: Path, reader: Connection) -> None:
        self.path = path
        self._reader = reader
        self._read_lock = threading.Lock()  # the source loop reads from a thread of its own

    def close(self) -> None:
        """Read no more."""
        with self._read_lock:
            self._reader.close()

    def _query(self, sql: str, values: Sequence[Any] | dict[str, Any] = ()) -> list[Any]:
        try:
            with self._read_lock:
                return self._reader.execute(sql, values).fetchall()  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise store_error(self.path, error) from None

    def get(self, uid: str) -> Record | None:
        """The record of this uid."""
        rows = self._query("SELECT record FROM requests WHERE uid = ?", (uid,))
        return load(rows[0][0]) if rows else None

    def present(self, source: str) -> dict[str, str]:
        """The names of a source whose files are there, as far as we know, with their uids."""
        return dict(self._query(PRESENT, (source,)))

    def other_source(self, source: str) -> str | None:
        """The source that the store follows, when it follows none of this name."""
        return self._query(OTHER_SOURCE, {"source": source})[0][0]  # type: ignore[no-any-return]

    def unsettled(self, started_only: bool = False) -> bool:
        """True while some request goes on by itself."""
        return bool(self._query(f"SELECT 1 FROM requests WHERE moving {_OBSERVED[started_only]} LIMIT 1"))  # noqa: S608 - ours

    def count_progressing(self) -> int:
        """How many requests go on by themselves."""
        sql = "SELECT coalesce(sum(requests), 0) FROM request_counts WHERE state IN ('active', 'waiting')"
        return int(self._query(sql)[0][0])

    def claim(self, now: float, limit: int, busy: set[str], started_only: bool = False) -> list[Record]:
        """At most `limit` records that are due and not busy: new work first, then what is tried again, then looks.

        Whatever there is of one kind, a quarter of the places is left to the kinds after it.
        """
        sql = f"""
            SELECT uid, record FROM requests WHERE priority = ? AND due_at <= ? {_STARTED_ONLY[started_only]}
            ORDER BY due_at, admitted_at LIMIT ?
        """  # noqa: S608 - ours
        claimed: list[str] = []
        for priority in (2, 1, 0):
            rows = self._query(sql, (priority, now, limit + len(busy)))
            free = [text for uid, text in rows if uid not in busy]
            first = free[: max(limit - len(claimed), limit - limit // 4)]
            claimed = first + claimed[: limit - len(first)]
        return [load(text) for text in claimed]

    def overdue(self, now: float, limit: int, busy: set[str]) -> list[Record]:
        """Those whose deadline or hold has run out before their outcome, while nothing is sent (design §4)."""
        sql = """
            SELECT uid, record FROM requests
            WHERE decides_at <= :now AND due_at <= :now ORDER BY decides_at LIMIT :limit
        """
        rows = self._query(sql, {"now": now, "limit": limit + len(busy)})
        return [load(text) for uid, text in rows if uid not in busy][:limit]

    def open_requests(self) -> list[str]:
        """The uids of those that are not done."""
        return [
            row[0] for row in self._query("SELECT uid FROM requests INDEXED BY requests_open WHERE phase <> 'done'")
        ]

    def creating(self) -> list[Record]:
        """Those without a dossier whose creation was asked for at least once."""
        rows = self._query("SELECT record FROM requests WHERE phase = 'dossier' AND opened_at IS NOT NULL")
        return [load(row[0]) for row in rows]

    def next_due(self, busy: set[str], started_only: bool = False) -> float | None:
        """When the next record that is not busy is due."""
        sql = f"""
            SELECT uid, due_at FROM requests WHERE priority = ? AND due_at IS NOT NULL {_STARTED_ONLY[started_only]}
            ORDER BY due_at LIMIT ?
        """  # noqa: S608 - ours
        times = []
        for priority in (0, 1, 2):
            rows = self._query(sql, (priority, len(busy) + 1))
            times += [due_at for uid, due_at in rows if uid not in busy][:1]
        return min(times, default=None)

    def waiting(self) -> WaitingSummary:
        """What waits for a result."""
        row = self._query(_WAITING)[0]
        return WaitingSummary(count=row[0], since=row[1] or 0.0)

    def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of those that wait for a result in one of these dossiers."""
        return [row[0] for row in self._query(_WAITING_IN, (orjson.dumps(dossiers).decode(),))]

    def least_recently_polled(self, limit: int) -> list[str]:
        """Those that wait for a result, the ones that will be looked at last first."""
        sql = "SELECT uid FROM requests WHERE phase = 'result' ORDER BY read_at NULLS FIRST, due_at LIMIT ?"
        return [row[0] for row in self._query(sql, (limit,))]

    def starts_since(self, at: float) -> int:
        """How many starts were reserved since then, or made or begun without a brake."""
        return int(self._query(STARTS_SINCE, (at,))[0][0])

    def awaiting_budget_or_images(self) -> list[str]:
        """The uids of those that wait for the budget, or for their images."""
        return [row[0] for row in self._query(_RETRYABLE, _HEALING)]

    def needed_images(self) -> dict[str, set[str]]:
        """The uids of open requests, and of those about which a person is asked, by the images that they name.

        An image is there twice: by its path, and by its digest.
        """
        needed: dict[str, set[str]] = {}
        for uid, *marks in self._query(_NEEDED):
            for mark in marks:
                needed.setdefault(mark, set()).add(uid)
        return needed

    def last_event_at(self) -> float:
        """When the last event was; 0 when there is none."""
        rows = self._query("SELECT at FROM events ORDER BY id DESC LIMIT 1")
        return float(rows[0][0]) if rows else 0.0

    def command_answer(self, command_id: str) -> str | None:
        """The answer to a command that was obeyed before."""
        rows = self._query("SELECT answer FROM commands WHERE id = ?", (command_id,))
        return str(rows[0][0]) if rows else None

    def recall(self, key: str) -> str | None:
        """What was remembered of this account under this key."""
        rows = self._query("SELECT value FROM meta WHERE key = ?", (VALUE_PREFIX + key,))
        return str(rows[0][0]) if rows else None

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """Possible orphans that are still open: reference, since, and the dossier's id when it showed."""
        sql = "SELECT reference, since, dossier_id FROM orphans WHERE closed_at IS NULL"
        return [(row[0], row[1], row[2]) for row in self._query(sql)]

    def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """Whose these dossiers are: the uid of the request that is not done and has it, by dossier."""
        return dict(self._query(OWNERS, (orjson.dumps(dossiers).decode(),))) if dossiers else {}

    def withdrawn_since(self, at: float) -> int:
        """How many files were taken away before the outcome since then, those that are back among them."""
        return int(self._query("SELECT count(*) FROM withdrawals WHERE at >= ?", (at,))[0][0])
