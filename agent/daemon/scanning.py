"""When the source is scanned: at intervals, for hints of the watch, and until nothing in it is being written."""

from agent.admission import Admission
from agent.admission.triggers import Follower, Hints
from agent.platform.shutdown import Ending
from agent.ports import Clock
from agent.source.watch import Hint

_ASK_AGAIN = 1.0  # seconds until a document that Assure could not explain is looked at again
_SETTLE = 0.3  # seconds until a folder that changes is looked at again


class Scanning:
    """Scans through `Admission`, until we are told to end."""

    def __init__(self, admission: Admission, ending: Ending, clock: Clock) -> None:
        self._admission = admission
        self._ending = ending
        self._clock = clock

    async def scan(self) -> None:
        """Scan the source; again in a moment while a file is being written."""
        synced = await self._admission.scan()
        while synced.unsettled and not self._ending.asked.is_set():
            await self._clock.wait(self._ending.asked, _SETTLE)
            synced = await self._admission.scan()

    async def until_settled(self) -> None:
        """For `run --once`: what was absent is looked for a second time now, not at the next interval."""
        synced = await self._admission.scan()
        while (synced.unsettled or synced.absent) and not self._ending.asked.is_set():
            await self._clock.wait(self._ending.asked, _SETTLE)
            synced = await self._admission.scan()

    async def until_answered(self) -> bool:
        """For `run --once`: True when a document waited for Assure to say what it means, and was looked at again."""
        if not self._admission.unanswered:
            return False
        await self._clock.wait(self._ending.asked, _ASK_AGAIN)
        await self.scan()
        return True

    async def follow(self, hints: Hints) -> None:
        """Admit what the watch points at, until cancelled; the scan at intervals remains the truth."""
        await Follower(self._look, self._scan_for_hint, self._ending.failed).run(hints)

    async def _look(self, files: frozenset[str]) -> Hint:
        looked = await self._admission.look(files)
        return Hint(looked.unsettled, everything=looked.open)

    async def _scan_for_hint(self) -> Hint:
        return Hint(everything=(await self._admission.scan(hinted=True)).unsettled)
