"""What an agent does at intervals beside its requests: sweep, back up, tidy, erase, write checkpoints.

Nothing here is what a request waits for, so nothing here ends the agent but a store that takes nothing any more.
"""

from agent.assure.throttled_client import Limited
from agent.controller.erasure import Erasure
from agent.controller.orphan_collector import OrphanSweep
from agent.core.errors import AgentError
from agent.daemon.backups import Backups
from agent.daemon.scheduler import Scheduler
from agent.daemon.telemetry import Chronicle
from agent.platform.log import logger
from agent.ports import Clock
from agent.store.sqlite import SqliteStore

_SWEEP = 60.0  # seconds between two looks for orphans, for a backup that is due, and for what is kept too long
_TIDY = 60.0  # seconds until what was erased has left the files as well
_UNTIDY = 900.0  # seconds without success until that is said
_CHECKPOINT = 300.0  # seconds between two checkpoints of the journal


class Upkeep:
    """The activities, each of which a test or the end of a run may ask for by itself."""

    def __init__(
        self,
        store: SqliteStore,
        remote: Limited,
        orphans: OrphanSweep,
        backups: Backups,
        erasure: Erasure,
        chronicle: Chronicle,
        clock: Clock,
    ) -> None:
        self._store = store
        self._remote = remote
        self._orphans = orphans
        self._backups = backups
        self._erasure = erasure
        self._chronicle = chronicle
        self._clock = clock
        self._tidied = clock.now()  # when the write-ahead log was last cut off
        self._told = False  # that it is not

    def at_intervals(self, scheduler: Scheduler) -> None:
        """Put all of it on the scheduler."""
        scheduler.every(_SWEEP, self.sweep)
        scheduler.every(_SWEEP, self.back_up)
        scheduler.every(_TIDY, self.tidy)
        scheduler.every(_SWEEP, self._erasure.tend)
        scheduler.every(_CHECKPOINT, self.checkpoint)

    async def sweep(self) -> None:
        """Look for orphans, while calls can be made."""
        if not self._remote.shut(self._clock.now()) and (deleted := await self._orphans.sweep()):
            logger().warning("deleted orphaned dossiers", count=deleted)

    async def back_up(self) -> None:
        """Make a backup, when one is due."""
        await self._backups.make()

    async def tidy(self) -> None:
        """Let what was erased leave the files."""
        now = self._clock.now()
        try:
            if await self._store.tidy():
                self._tidied, self._told = now, False
        except AgentError as error:  # a disk that is full, say: the next time will do
            logger().warning("what was erased may still be in the state file", error=str(error), hint=error.hint)
        if now - self._tidied >= _UNTIDY and not self._told:
            self._told = True
            logger().warning(
                "what was erased may still be in the write-ahead log",
                seconds=round(now - self._tidied),
                hint="end what reads the state file for so long (sqlite3, Datasette); it is tried every minute",
            )

    async def checkpoint(self) -> None:
        """Without one the work goes on: dossiers have to be deleted, whatever became of a file for auditors."""
        try:
            self._chronicle.checkpointed(await self._store.checkpoint(self._clock.now()))
        except (AgentError, OSError) as error:
            self._chronicle.unwritten(error)
