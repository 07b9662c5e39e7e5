"""What stands in the place of the agent's own on a stage: the thread that commits, timers, and git."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from agent.core.errors import StoreError
from agent.source.git_provenance import Origin
from agent.store.connection import Connection
from agent.store.group_commit import Work, Writer, _Ticket
from verification.crash_points import Gate

_NO_BOUNDARY = "scanned"  # the note that a scan was made; it is made again by the next one


class TurnWriter(Writer):
    """Commits in its turn of the loop instead of in a thread; all that was handed in before it in one transaction."""

    def __init__(
        self,
        gate: Gate,
        full: Callable[[], bool],
        connection: Connection,
        observe: Callable[[float, int], None],
        confirm: Callable[[], None],
        committed: Callable[[Connection], None],
    ) -> None:
        self._connection = connection
        self._observe = observe
        self._confirm = confirm
        self._committed = committed
        self._closed = False
        self._gate = gate
        self._full = full
        self._waiting: list[_Ticket] = []

    async def write(self, work: Work, alone: bool = False) -> None:
        loop = asyncio.get_running_loop()
        if alone:  # a checkpoint or a rewrite: a crash around it leaves what was committed
            if self._gate.dead:
                await loop.create_future()
            work(self._connection)
            return
        ticket = _Ticket(work, loop, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._turn)
        self._waiting.append(ticket)
        await asyncio.shield(ticket.future)

    def _turn(self) -> None:
        tickets, self._waiting = self._waiting, []
        kinds = {ticket.work.__qualname__.split(".")[1] for ticket in tickets} - {_NO_BOUNDARY}
        what = " and ".join(sorted(kinds))
        if self._gate.dead or (what and not self._gate.passes(f"before {what}")):
            return  # nobody will ever be answered
        if self._full():
            for ticket in tickets:
                if not ticket.future.done():
                    ticket.future.set_exception(StoreError("The state file could not be written: the disk is full."))
            return
        self._commit(tickets)
        if what:
            self._gate.passes(f"after {what}")

    def close(self) -> None:
        self._closed = True


class LoopScheduler:
    """Activities at intervals of the loop's own time."""

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


class NoCheckout:
    """The source is under no git."""

    def __init__(self, *_: object) -> None: ...

    def visit(self, _: Iterable[str]) -> "NoCheckout":
        return self

    def about(self, _: Collection[str]) -> Mapping[str, Origin]:
        return {}
