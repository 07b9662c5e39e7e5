"""Bulk observation: what waits for a result is looked for in one list, so that the cost follows what finishes [I8].

GET processes with the final statuses, since the oldest that waits was begun: whatever of it waits here has come to its
end, and is read by itself. A row that the list missed costs one interval; each waiting request also has a look of its
own every 15 minutes, and that is all there is past 29 days, because the list ends at 30 (contract §9). Without the list
those that were looked at longest ago are looked at by themselves, a few at each interval.
"""

from collections.abc import Callable

from agent.controller.reconciler import Reconciler
from agent.core.assure_types import Status
from agent.platform.shutdown import Ending
from agent.ports import Clock, Remote, Store
from agent.ports.listing import listed_processes

_MARGIN = 600.0  # seconds: our clock and Assure's are not the same
_HORIZON = 29 * 86400.0
_FEW = 32  # looks at each interval while there is no list
_FINAL = tuple(status for status in Status if status.final)


class Observer:
    """Looks for results in bulk."""

    def __init__(self, store: Store, remote: Remote, reconciler: Reconciler, clock: Clock) -> None:
        self._store = store
        self._remote = remote
        self._reconciler = reconciler
        self._clock = clock

    async def run(self, interval: float, shut: Callable[[float], bool], ending: Ending) -> None:
        """Look every `interval` seconds while calls can be made, until we are told to end."""
        while not ending.asked.is_set():
            await self._clock.wait(ending.asked, max(1.0, interval))
            if ending.asked.is_set():
                return
            if shut(self._clock.now()) or not self._clock.confirmed:
                continue
            try:
                await self.observe()
            except Exception as error:
                ending.failed(error)

    async def observe(self) -> int:
        """Look once; no call when nothing waits. Returns how many results were sighted."""
        waiting = self._store.waiting()
        if not waiting.count:
            return 0
        now = self._clock.now()
        since = waiting.since - _MARGIN if waiting.since <= now else 0.0  # a time that cannot be says nothing
        dossiers = await self._finished(max(since, now - _HORIZON))
        sighted = self._store.oldest_looks(_FEW) if dossiers is None else self._store.waiting_in(dossiers)
        self._reconciler.sight(sighted)
        return len(sighted)

    async def _finished(self, since: float) -> list[str] | None:
        """The dossiers with a process that is final, or None when the list cannot be had."""
        rows = await listed_processes(self._remote, since, _FINAL)
        return None if rows is None else [row.dossier_id for row in rows if row.dossier_id is not None]
