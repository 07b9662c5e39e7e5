"""Reads of the loops: the records that are due, and those that wait for a result."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from agent.core.record import HoldReason, Record
from agent.ports import WaitingSummary
from agent.store.reading import common_reads
from agent.store.reading.common_reads import OPEN, texts
from agent.store.reading.reads import Query, Read, Rows, answer_later, column, records, row, value
from agent.store.repository import load

P = ParamSpec("P")
T = TypeVar("T")

# While paused, the agent begins no new work. Requests that have, or may have, a dossier still keep their deadlines.
_STARTED_ONLY = {False: "", True: "AND opened_at IS NOT NULL"}

_OBSERVED = {False: "", True: "AND phase IN ('result', 'deletion')"}  # what continues while paused

_PRIORITIES = (2, 1, 0)  # new work, then retries and deletions, then polls
_HEALING = tuple(sorted(reason for reason in HoldReason if reason.self_healing))

# INDEXED BY is set where SQLite, which has no statistics here, would choose an index that grows.
_RETRYABLE = """
SELECT uid FROM requests INDEXED BY requests_queued WHERE queued = 1
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


def _of_each_priority(columns: str, condition: str) -> str:
    """The rows of each priority that meet a condition. It has a limit, which holds for each priority."""
    return " UNION ALL ".join(
        f"SELECT * FROM (SELECT {columns} FROM requests WHERE priority = {one} AND {condition}) AS due"  # noqa: S608
        for one in _PRIORITIES
    )


def unsettled(started_only: bool = False) -> Read[bool]:
    """True while a request continues without a decision: not held, not suspended, not queued, not in retention."""
    sql = f"SELECT 1 FROM requests WHERE moving = 1 {_OBSERVED[started_only]} LIMIT 1"  # noqa: S608 - constant
    return (yield from row(sql)) is not None


def count_progressing() -> Read[int]:
    """How many requests continue without a decision."""
    sql = "SELECT coalesce(sum(requests), 0) FROM request_counts WHERE state IN ('active', 'waiting')"
    return int((yield from value(sql)))


def claim(
    now: float,
    limit: int,
    busy: set[str],
    started_only: bool = False,
    working: Collection[str] = (),
    wanted: Collection[str] = (),
) -> Read[list[Record]]:
    """At most `limit` due records that are not busy: first new work, then retries and deletions, then polls.

    A quarter of the places is left to each later kind, however many records an earlier kind has. The `wanted` records
    follow. A state file has one agent, so no claim is written.
    """
    # one query for all kinds, because each costs a round trip to a server
    rows = yield Query(
        _of_each_priority(
            "priority, due_at, admitted_at, uid, record",
            f"due_at <= ?1 {_STARTED_ONLY[started_only]} ORDER BY due_at, admitted_at LIMIT ?2",
        ),
        (now, limit + len(busy)),
    )
    due: dict[int, list[str]] = {priority: [] for priority in _PRIORITIES}
    for priority, _, _, uid, text in sorted(rows, key=lambda row: row[1:3]):
        if uid not in busy:
            due[priority].append(text)
    claimed: list[str] = []
    for free in due.values():
        first = free[: max(limit - len(claimed), limit - limit // 4)]
        claimed = first + claimed[: limit - len(first)]
    due_now = [load(text) for text in claimed]
    known = busy | {record.uid for record in due_now}
    found = yield from common_reads.get_many([uid for uid in wanted if uid not in known])
    return [*due_now, *found.values()]


def overdue(now: float, limit: int, busy: set[str], working: Collection[str] = ()) -> Read[list[Record]]:
    """Records whose deadline or hold has expired before their outcome. The agent ends them without a call."""
    sql = """
        SELECT uid, record FROM requests
        WHERE decides_at <= ?1 AND due_at <= ?1 ORDER BY decides_at LIMIT ?2
    """
    rows = yield Query(sql, (now, limit + len(busy)))
    return [load(text) for uid, text in rows if uid not in busy][:limit]


def open_requests() -> Read[list[str]]:
    """The uids of the requests that are not done."""
    return (yield from column(f"SELECT uid FROM {OPEN}"))  # noqa: S608 - constant


def creating() -> Read[list[Record]]:
    """The records without a dossier whose creation was intended at least once."""
    return (yield from records("SELECT record FROM requests WHERE phase = 'dossier' AND opened_at IS NOT NULL"))


def next_due(busy: set[str], started_only: bool = False) -> Read[float | None]:
    """When the next record that is not busy is due."""
    sql = _of_each_priority("uid, due_at", f"due_at IS NOT NULL {_STARTED_ONLY[started_only]} ORDER BY due_at LIMIT ?1")
    rows = yield Query(sql, (len(busy) + 1,))
    return min((due_at for uid, due_at in rows if uid not in busy), default=None)


def source_read_at(source: str) -> Read[float | None]:
    """When an agent last scanned this source completely, or last fetched it; None if it did neither."""
    sql = """
        SELECT max(at) FROM (
            SELECT synced_at AS at FROM sources WHERE source = ?1 AND complete = 1
            UNION ALL SELECT fetched_at FROM source_revisions WHERE source = ?1 AND revision IS NOT NULL
        ) AS times
    """
    at = yield from value(sql, source)
    return None if at is None else float(at)


def waiting() -> Read[WaitingSummary]:
    """The number of requests that wait for a result, and the oldest first create call."""
    count, since = yield from row(_WAITING)
    return WaitingSummary(count=int(count), since=since or 0.0)


def waiting_in(dossiers: Sequence[str]) -> Read[list[str]]:
    """The uids of the requests that wait for a result in one of these dossiers."""
    return (yield from column(_WAITING_IN, texts(dossiers)))


def least_recently_polled(limit: int) -> Read[list[str]]:
    """The uids of the requests whose last poll is longest ago, oldest first."""
    sql = "SELECT uid FROM requests WHERE phase = 'result' ORDER BY read_at NULLS FIRST, due_at LIMIT ?"
    return (yield from column(sql, limit))


def awaiting_budget_or_images() -> Read[list[str]]:
    """The uids of the requests that wait for the daily budget or for their images."""
    return (yield from column(_RETRYABLE, *_HEALING))


def command_answer(command_id: str) -> Read[str | None]:
    """The answer to an executed command."""
    answer = yield from value("SELECT answer FROM commands WHERE id = ?", command_id)
    return None if answer is None else str(answer)


def grouped(images: Rows) -> dict[str, set[str]]:
    """The uids by image, of rows with a uid, a path and a digest. An image has two keys: its path and its digest."""
    needed: dict[str, set[str]] = {}
    for uid, *keys in images:
        for key in keys:
            needed.setdefault(key, set()).add(uid)
    return needed


def _read(read: Callable[P, Read[T]]) -> Callable[Concatenate["LoopReads", P], Coroutine[Any, Any, T]]:
    async def answer(self: "LoopReads", /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return await answer_later(read(*arguments, **keywords), self.query)

    answer.__doc__ = read.__doc__
    return answer


class LoopReads(ABC):
    """The reads of the ports in `agent/ports/store.py`. Each may raise StoreError."""

    @abstractmethod
    async def query(self, query: Query) -> Rows:
        """The rows of a query. It sees committed data."""

    get = _read(common_reads.get)
    get_many = _read(common_reads.get_many)
    present = _read(common_reads.present)
    other_source = _read(common_reads.other_source)
    shared_state = _read(common_reads.shared_state)
    commands_after = _read(common_reads.commands_after)
    revision_state = _read(common_reads.revision_state)
    owners = _read(common_reads.owners)
    orphans = _read(common_reads.orphans)
    starts_since = _read(common_reads.starts_since)
    withdrawn_since = _read(common_reads.withdrawn_since)
    last_event_at = _read(common_reads.last_event_at)
    recall = _read(common_reads.recall)
    recall_time = _read(common_reads.recall_time)
    claim = _read(claim)
    next_due = _read(next_due)
    overdue = _read(overdue)
    creating = _read(creating)
    unsettled = _read(unsettled)
    count_progressing = _read(count_progressing)
    open_requests = _read(open_requests)
    source_read_at = _read(source_read_at)
    waiting = _read(waiting)
    waiting_in = _read(waiting_in)
    least_recently_polled = _read(least_recently_polled)
    awaiting_budget_or_images = _read(awaiting_budget_or_images)
    command_answer = _read(command_answer)
