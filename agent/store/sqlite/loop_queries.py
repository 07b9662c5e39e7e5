"""Reads of the loops: the records that are due, and those that wait for a result."""

from collections.abc import Sequence

import orjson

from agent.core.record import HoldReason, Record
from agent.ports import WaitingSummary
from agent.store.repository import load
from agent.store.sqlite.queries import OPEN, Queries

# While paused, the agent begins no new work. Requests that have, or may have, a dossier still keep their deadlines.
_STARTED_ONLY = {False: "", True: "AND opened_at IS NOT NULL"}

_OBSERVED = {False: "", True: "AND phase IN ('result', 'deletion')"}  # what continues while paused

_HEALING = tuple(sorted(reason for reason in HoldReason if reason.self_healing))

# INDEXED BY is set where SQLite, which has no statistics here, would choose an index that grows.
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

_NEEDED = f"""
SELECT needing.uid, json_extract(image.value, '$.path'), json_extract(image.value, '$.sha256')
FROM (
    SELECT uid, record FROM {OPEN}
    UNION ALL
    SELECT uid, record FROM requests INDEXED BY requests_held WHERE phase = 'done' AND hold_reason IS NOT NULL
) AS needing,
json_each(json_array(json_extract(record, '$.desired.images'), json_extract(record, '$.next.images'))) AS document,
json_each(document.value) AS image
"""  # noqa: S608 - constant


class LoopQueries(Queries):
    """Reads that only a running agent needs."""

    def unsettled(self, started_only: bool = False) -> bool:
        """True while a request continues without a decision: not held, not suspended, not queued, not in retention."""
        return self._row(f"SELECT 1 FROM requests WHERE moving {_OBSERVED[started_only]} LIMIT 1") is not None  # noqa: S608 - constant

    def count_progressing(self) -> int:
        """How many requests continue without a decision."""
        sql = "SELECT coalesce(sum(requests), 0) FROM request_counts WHERE state IN ('active', 'waiting')"
        return int(self._value(sql))

    def claim(self, now: float, limit: int, busy: set[str], started_only: bool = False) -> list[Record]:
        """At most `limit` due records that are not busy: first new work, then retries and deletions, then polls.

        A quarter of the places is left to each later kind, however many records an earlier kind has.
        """
        sql = f"""
            SELECT uid, record FROM requests WHERE priority = ? AND due_at <= ? {_STARTED_ONLY[started_only]}
            ORDER BY due_at, admitted_at LIMIT ?
        """  # noqa: S608 - constant
        claimed: list[str] = []
        for priority in (2, 1, 0):
            rows = self.query(sql, (priority, now, limit + len(busy)))
            free = [text for uid, text in rows if uid not in busy]
            first = free[: max(limit - len(claimed), limit - limit // 4)]
            claimed = first + claimed[: limit - len(first)]
        return [load(text) for text in claimed]

    def overdue(self, now: float, limit: int, busy: set[str]) -> list[Record]:
        """Records whose deadline or hold has expired before their outcome. The agent ends them without a call."""
        sql = """
            SELECT uid, record FROM requests
            WHERE decides_at <= :now AND due_at <= :now ORDER BY decides_at LIMIT :limit
        """
        rows = self.query(sql, {"now": now, "limit": limit + len(busy)})
        return [load(text) for uid, text in rows if uid not in busy][:limit]

    def open_requests(self) -> list[str]:
        """The uids of the requests that are not done."""
        return self._column(f"SELECT uid FROM {OPEN}")  # noqa: S608 - constant

    def creating(self) -> list[Record]:
        """The records without a dossier whose creation was intended at least once."""
        return self._records("SELECT record FROM requests WHERE phase = 'dossier' AND opened_at IS NOT NULL")

    def next_due(self, busy: set[str], started_only: bool = False) -> float | None:
        """When the next record that is not busy is due."""
        sql = f"""
            SELECT uid, due_at FROM requests WHERE priority = ? AND due_at IS NOT NULL {_STARTED_ONLY[started_only]}
            ORDER BY due_at LIMIT ?
        """  # noqa: S608 - constant
        times = []
        for priority in (0, 1, 2):
            rows = self.query(sql, (priority, len(busy) + 1))
            times += [due_at for uid, due_at in rows if uid not in busy][:1]
        return min(times, default=None)

    def waiting(self) -> WaitingSummary:
        """The number of requests that wait for a result, and the oldest first create call."""
        count, since = self._row(_WAITING)
        return WaitingSummary(count=count, since=since or 0.0)

    def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of the requests that wait for a result in one of these dossiers."""
        return self._column(_WAITING_IN, orjson.dumps(dossiers).decode())

    def least_recently_polled(self, limit: int) -> list[str]:
        """The uids of the requests whose last poll is longest ago, oldest first."""
        sql = "SELECT uid FROM requests WHERE phase = 'result' ORDER BY read_at NULLS FIRST, due_at LIMIT ?"
        return self._column(sql, limit)

    def awaiting_budget_or_images(self) -> list[str]:
        """The uids of the requests that wait for the daily budget or for their images."""
        return self._column(_RETRYABLE, *_HEALING)

    def needed_images(self) -> dict[str, set[str]]:
        """The uids of open and held requests by image. Each image has two keys: its path and its digest."""
        needed: dict[str, set[str]] = {}
        for uid, *marks in self.query(_NEEDED):
            for mark in marks:
                needed.setdefault(mark, set()).add(uid)
        return needed

    def command_answer(self, command_id: str) -> str | None:
        """The answer to an executed command."""
        answer = self._value("SELECT answer FROM commands WHERE id = ?", command_id)
        return None if answer is None else str(answer)
