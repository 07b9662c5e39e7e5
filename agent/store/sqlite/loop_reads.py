"""The reads of the loops as coroutines. SQLite answers at once, so none of them waits, and no task runs in between."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from agent.store.sqlite.loop_queries import LoopQueries

P = ParamSpec("P")
T = TypeVar("T")


def _at_once(
    read: Callable[Concatenate[LoopQueries, P], T],
) -> Callable[Concatenate["LoopReads", P], Coroutine[Any, Any, T]]:
    async def answer(self: "LoopReads", /, *arguments: P.args, **keywords: P.kwargs) -> T:
        return read(self.reads, *arguments, **keywords)

    answer.__doc__ = read.__doc__
    return answer


class LoopReads:
    """Implements the reads of the ports in `agent/ports/store.py`."""

    reads: LoopQueries

    get = _at_once(LoopQueries.get)
    get_many = _at_once(LoopQueries.get_many)
    claim = _at_once(LoopQueries.claim)
    next_due = _at_once(LoopQueries.next_due)
    overdue = _at_once(LoopQueries.overdue)
    creating = _at_once(LoopQueries.creating)
    unsettled = _at_once(LoopQueries.unsettled)
    count_progressing = _at_once(LoopQueries.count_progressing)
    open_requests = _at_once(LoopQueries.open_requests)
    waiting = _at_once(LoopQueries.waiting)
    waiting_in = _at_once(LoopQueries.waiting_in)
    least_recently_polled = _at_once(LoopQueries.least_recently_polled)
    awaiting_budget_or_images = _at_once(LoopQueries.awaiting_budget_or_images)
    command_answer = _at_once(LoopQueries.command_answer)
    present = _at_once(LoopQueries.present)
    other_source = _at_once(LoopQueries.other_source)
    revision_state = _at_once(LoopQueries.revision_state)
    owners = _at_once(LoopQueries.owners)
    orphans = _at_once(LoopQueries.orphans)
    starts_since = _at_once(LoopQueries.starts_since)
    withdrawn_since = _at_once(LoopQueries.withdrawn_since)
    last_event_at = _at_once(LoopQueries.last_event_at)
    recall = _at_once(LoopQueries.recall)
    recall_time = _at_once(LoopQueries.recall_time)

    async def needed_images(self) -> dict[str, set[str]]:
        """The uids of open and held requests by image, read in a thread: this one takes long."""
        return await asyncio.to_thread(self.reads.needed_images)
