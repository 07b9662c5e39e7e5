"""Replacements for parts of the agent in a simulation: the commit thread, timers, and git."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from agent.core.errors import StoreError
from agent.core.step import Step
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.group_commit import Work, Writer, _Ticket
from agent.store.sqlite.step_writer import StepWriter
from verification.crash_points import CrashPoints

_NO_BOUNDARY = "record_scan"  # the note of a completed scan, which the next scan repeats


class InlineWriter(Writer):
    """Commits in the event loop instead of in a thread, with all earlier requests in one transaction."""

    def __init__(
        self,
        gate: CrashPoints,
        full: Callable[[], bool],
        connection: Connection,
        steps: StepWriter,
        observe: Callable[[float, int], None],
        confirm: Callable[[], None],
        committed: Callable[[Connection], None],
    ) -> None:
        self._connection = connection
        self._steps = steps
        self._observe = observe
        self._confirm = confirm
        self._committed = committed
        self._closed = False
        self._gate = gate
        self._full = full
        self._waiting: list[_Ticket] = []

    async def _enqueue(self, steps: Sequence[Step], work: Work | None, alone: bool) -> None:
        loop = asyncio.get_running_loop()
        if alone:  # a checkpoint or a rewrite, which a crash does not damage
            if self._gate.dead:
                await loop.create_future()
            assert work is not None
            work(self._connection)
            return
        ticket = _Ticket(steps, work, loop, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._commit_batch)
        self._waiting.append(ticket)
        await asyncio.shield(ticket.future)

    def _commit_batch(self) -> None:
        tickets, self._waiting = self._waiting, []
        works = [ticket.work for ticket in tickets]
        kinds = {"commit" if work is None else work.__qualname__.split(".")[1] for work in works} - {_NO_BOUNDARY}
        what = " and ".join(sorted(kinds))
        if self._gate.dead or (what and not self._gate.pass_boundary(f"before {what}")):
            return  # the agent is dead, so no caller waits
        if self._full():
            for ticket in tickets:
                if not ticket.future.done():
                    ticket.future.set_exception(StoreError("The state file could not be written: the disk is full."))
            return
        self._commit(tickets)
        if what:
            self._gate.pass_boundary(f"after {what}")

    def close(self) -> None:
        self._closed = True


class VirtualScheduler:
    """Activities at intervals of the loop's time."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._activities: list[tuple[float, Callable[[], Any]]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def every(self, seconds: float, activity: Callable[[], Any]) -> None:
        self._activities.append((seconds, activity))

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._repeat(*activity)) for activity in self._activities]

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _repeat(self, seconds: float, activity: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await activity()
            except Exception as error:
                self._failed(error)
