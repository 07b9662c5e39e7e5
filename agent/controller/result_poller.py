"""Bulk observation: what waits for a result is looked for in one list, so that the cost follows what finishes [I8].

GET processes with the final statuses, since the oldest that waits was begun: whatever of it waits here has come to its
end, and is read by itself. A row that the list missed costs one interval; each waiting request also has a look of its
own every 15 minutes, and that is all there is past 29 days, because the list ends at 30 (contract §9). Without the list
those that were looked at longest ago are looked at by themselves, a few at each interval.
"""

from collections.abc import Callable

from agent.controller.reconciler import Reconciler
from agent.core.assure_types import Status
from agent.core.observations import ResultAvailable
from agent.core.policy import CLOCK_MARGIN
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, Remote, WaitingRecords
from agent.ports.remote import list_all_processes

_LIST_WINDOW = 29 * 86400.0
_READS_WITHOUT_LIST = 32  # looks at each interval while there is no list
_FINAL_STATUSES = tuple(status for status in Status if status.final)


class ResultPoller:
    """Looks for results in bulk."""

    def __init__(self, store: WaitingRecords, remote: Remote, reconciler: Reconciler, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._reconciler = reconciler
        self._clock = clock

    async def run(self, interval: float, is_closed: Callable[[float], bool], shutdown: Shutdown) -> None:
        """Look every `interval` seconds while calls can be made, until we are told to end."""
        while not shutdown.requested.is_set():
            await self._clock.wait(shutdown.requested, max(1.0, interval))
            if shutdown.requested.is_set():
                return
            if is_closed(self._clock.now()) or not self._clock.confirmed:
                continue
            try:
                await self.poll()
            except Exception as error:
                shutdown.fail(error)

    async def poll(self) -> int:
        """Look once; no call when nothing waits. Returns how many results were sighted."""
        waiting = self._store.waiting()
        if not waiting.count:
            return 0
        now = self._clock.now()
        since = waiting.since - CLOCK_MARGIN if waiting.since <= now else 0.0  # a time that cannot be says nothing
        dossiers = await self._finished(max(since, now - _LIST_WINDOW))
        sighted = (
            self._store.least_recently_polled(_READS_WITHOUT_LIST)
            if dossiers is None
            else self._store.waiting_in(dossiers)
        )
        await self._reconciler.deliver({uid: ResultAvailable(at=now) for uid in sighted}, durable=False)
        return len(sighted)

    async def _finished(self, since: float) -> list[str] | None:
        """The dossiers with a process that is final, or None when the list cannot be had."""
        rows = await list_all_processes(self._remote, since, _FINAL_STATUSES)
        return None if rows is None else [row.dossier_id for row in rows if row.dossier_id is not None]
