"""When the source is synced: at intervals, after file-system events, and for `run --once`."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from agent.admission.sync import Admission
from agent.admission.sync_result import SyncResult
from agent.core.policy import RESCAN_PAUSE
from agent.platform.shutdown import Shutdown
from agent.ports import Clock
from agent.source.folder import SETTLE_SECONDS

_RETRY_TYPES_SECONDS = 1.0  # until document types that Assure could not resolve are requested again
_TIMER_MARGIN = 0.005  # timers of the loop may end a millisecond early
_SCAN_PAUSE_FACTOR = 1.0  # scans after events take at most half of the time
_FAULT_PAUSE = 1.0


class Scanner(Protocol):
    """Scans the source, as `Admission` does."""

    async def scan(self, *, prune: bool) -> SyncResult | None:
        """Scan once. None: another replica does it."""


class SyncTriggers:
    """Scans through `Admission` until the shutdown is requested."""

    def __init__(self, admission: Admission, shutdown: Shutdown, clock: Clock) -> None:
        self._admission = admission
        self._shutdown = shutdown
        self._clock = clock

    async def scan(self, on_progress: Callable[[], None] | None = None) -> None:
        """Scan the source; again once files that changed too recently can be read. `on_progress`: see `Admission`."""
        synced = await self._admission.scan(on_progress=on_progress)
        while synced is not None and (pause := synced.scan.retry_after) is not None and await self._wait(pause):
            synced = await self._admission.scan()

    async def scan_until_settled(self) -> None:
        """For `run --once`: scan until no file changes, and until two scans have proved each absence.

        If another replica has the turn of the source, it scans. Then this one waits for nothing.
        """
        while not self._shutdown.requested.is_set():
            synced = await self._admission.scan()
            if synced is None:
                return
            pause = synced.scan.retry_after
            if pause is None and synced.absent:
                pause = RESCAN_PAUSE
            if pause is None or not await self._wait(pause):
                return

    async def rescan_unresolved(self) -> bool:
        """For `run --once`: scan again if Assure could not resolve a document type. True if it did."""
        if not self._admission.unresolved:
            return False
        await self._wait(_RETRY_TYPES_SECONDS)
        await self.scan()
        return True

    async def _wait(self, seconds: float) -> bool:
        """Wait, and return False if the shutdown was requested."""
        await self._clock.wait(self._shutdown.requested, seconds + _TIMER_MARGIN)
        return not self._shutdown.requested.is_set()


async def scan_after_events(scanner: Scanner, changed: asyncio.Event, on_error: Callable[[Exception], None]) -> None:
    """Scan once for all events within the settle time, until cancelled. These scans prove no absence.

    A file that changed is old enough by then, so that one scan reads it. If it changed again in between, the scan
    returns when the file can be read, and the next scan runs then. A long scan delays the next one by its own duration.
    """
    pause, not_before = SETTLE_SECONDS, 0.0
    while True:
        await changed.wait()
        await asyncio.sleep(max(pause + _TIMER_MARGIN, not_before - monotonic()))
        changed.clear()
        pause, began = SETTLE_SECONDS, monotonic()
        try:
            synced = await scanner.scan(prune=False)
        except Exception as error:
            on_error(error)
            await asyncio.sleep(_FAULT_PAUSE)
            continue
        not_before = monotonic() + _SCAN_PAUSE_FACTOR * (monotonic() - began)
        if synced is not None and synced.scan.retry_after is not None:
            pause = synced.scan.retry_after
            changed.set()
