"""Poll the results of all waiting requests with one list, so that the cost grows with finished requests [I8].

The poller reads GET processes with final statuses, from the start of the oldest waiting request on. The agent then
reads each listed process of a waiting request. If the list misses a process, the next interval finds it. Each waiting
request also polls by itself every 15 minutes. Past 29 days this is the only poll, because the list covers 30 days
(contract §9). Without the list, the poller reads a few requests at each interval, least recently polled first.
"""

from collections.abc import Callable
from typing import Protocol

from agent.controller.reconciler import Reconciler
from agent.core.assure_types import Status
from agent.core.observations import ResultAvailable
from agent.core.policy import CLOCK_MARGIN
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, Duties, Remote, WaitingRecords
from agent.ports.remote import list_all_processes

_LIST_WINDOW = 29 * 86400.0
_READS_WITHOUT_LIST = 32  # reads at each interval without a list
_FINAL_STATUSES = tuple(status for status in Status if status.final)
_DUTY = "observe"


class PolledStore(WaitingRecords, Duties, Protocol):
    """The store, as the poller uses it."""


class ResultPoller:
    """Polls results in bulk."""

    def __init__(self, store: PolledStore, remote: Remote, reconciler: Reconciler, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._reconciler = reconciler
        self._clock = clock

    async def run(self, interval: float, is_closed: Callable[[float], bool], shutdown: Shutdown) -> None:
        """Poll every `interval` seconds while calls are possible, until the shutdown.

        Of several replicas, one polls in an interval.
        """
        interval = max(1.0, interval)
        while not shutdown.requested.is_set():
            await self._clock.wait(shutdown.requested, interval)
            if shutdown.requested.is_set():
                return
            if is_closed(self._clock.now()) or not self._clock.confirmed:
                continue
            try:
                if await self._store.take_duty(_DUTY, interval):
                    await self.poll()
            except Exception as error:
                shutdown.fail(error)

    async def poll(self) -> int:
        """Poll once. Makes no call when no request waits. Returns the number of results that are available."""
        waiting = await self._store.waiting()
        if not waiting.count:
            return 0
        now = self._clock.now()
        since = waiting.since - CLOCK_MARGIN if waiting.since <= now else 0.0  # ignore a time in the future
        dossiers = await self._finished(max(since, now - _LIST_WINDOW))
        sighted = (
            await self._store.least_recently_polled(_READS_WITHOUT_LIST)
            if dossiers is None
            else await self._store.waiting_in(dossiers)
        )
        await self._reconciler.deliver({uid: ResultAvailable(at=now) for uid in sighted}, durable=False)
        return len(sighted)

    async def _finished(self, since: float) -> list[str] | None:
        """Dossiers with a final process. None when the list cannot be read."""
        rows = await list_all_processes(self._remote, since, _FINAL_STATUSES)
        return None if rows is None else [row.dossier_id for row in rows if row.dossier_id is not None]
