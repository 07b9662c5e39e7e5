"""When the source is scanned: at intervals, for hints of the watch, and until nothing in it is being written."""

from agent.admission import Admission
from agent.admission.triggers import HintFollower, Hints
from agent.core.policy import RESCAN_PAUSE
from agent.platform.shutdown import Shutdown
from agent.ports import Clock
from agent.source.watch import Hint

_RETRY_SECONDS = 1.0  # seconds until a document that Assure could not explain is looked at again


class SyncTriggers:
    """Scans through `Admission`, until we are told to end."""

    def __init__(self, admission: Admission, shutdown: Shutdown, clock: Clock) -> None:
        self._admission = admission
        self._shutdown = shutdown
        self._clock = clock

    async def scan(self) -> None:
        """Scan the source; again in a moment while a file is being written."""
        synced = await self._admission.scan()
        while synced.unsettled and not self._shutdown.requested.is_set():
            await self._clock.wait(self._shutdown.requested, RESCAN_PAUSE)
            synced = await self._admission.scan()

    async def scan_until_settled(self) -> None:
        """For `run --once`: what was absent is looked for a second time now, not at the next interval."""
        synced = await self._admission.scan()
        while (synced.unsettled or synced.absent) and not self._shutdown.requested.is_set():
            await self._clock.wait(self._shutdown.requested, RESCAN_PAUSE)
            synced = await self._admission.scan()

    async def rescan_unanswered(self) -> bool:
        """For `run --once`: True when a document waited for Assure to say what it means, and was looked at again."""
        if not self._admission.unanswered:
            return False
        await self._clock.wait(self._shutdown.requested, _RETRY_SECONDS)
        await self.scan()
        return True

    async def follow_hints(self, hints: Hints) -> None:
        """Admit what the watch points at, until cancelled; the scan at intervals remains the truth."""
        await HintFollower(self._sync_files, self._scan_for_hint, self._shutdown.fail).run(hints)

    async def _sync_files(self, files: frozenset[str]) -> Hint:
        result = await self._admission.sync_files(files)
        return Hint(result.unsettled, everything=result.needs_full_scan)

    async def _scan_for_hint(self) -> Hint:
        return Hint(everything=(await self._admission.scan(hinted=True)).unsettled)
