"""What an agent does at intervals beside its requests: sweep, back up, tidy, erase, write checkpoints.

Nothing here is what a request waits for, so nothing here ends the agent but a store that takes nothing any more.
"""

from agent.controller.erasure import Erasure
from agent.controller.orphan_collector import OrphanCollector
from agent.core.errors import AgentError
from agent.daemon.backups import Backups
from agent.daemon.scheduler import Scheduler
from agent.daemon.telemetry import Telemetry
from agent.platform.log import logger
from agent.ports import Clock, Gate
from agent.store.sqlite import SqliteStore

_SWEEP = 60.0  # seconds between two looks for orphans, for a backup that is due, and for what is kept too long
_TIDY = 60.0  # seconds until what was erased has left the files as well
_UNTRUNCATED_WARNING = 900.0  # seconds without success until that is said
_CHECKPOINT = 300.0  # seconds between two checkpoints of the journal


class Maintenance:
    """The activities, each of which a test or the end of a run may ask for by itself."""

    def __init__(
        self,
        store: SqliteStore,
        gate: Gate,
        orphans: OrphanCollector,
        backups: Backups,
        erasure: Erasure,
        telemetry: Telemetry,
        clock: Clock,
    ) -> None:
        self._store = store
        self._gate = gate
        self._orphans = orphans
        self._backups = backups
        self._erasure = erasure
        self._telemetry = telemetry
        self._clock = clock
        self._truncated_at = clock.now()  # when the write-ahead log was last cut off
        self._reported = False  # that it is not

    def schedule(self, scheduler: Scheduler) -> None:
        """Put all of it on the scheduler."""
        scheduler.every(_SWEEP, self.sweep)
        scheduler.every(_SWEEP, self.back_up)
        scheduler.every(_TIDY, self.truncate_log)
        scheduler.every(_SWEEP, self._erasure.erase_due)
        scheduler.every(_CHECKPOINT, self.checkpoint)

    async def sweep(self) -> None:
        """Look for orphans, while calls can be made."""
        if not self._gate.is_closed(self._clock.now()) and (deleted := await self._orphans.sweep()):
            logger().warning("deleted orphaned dossiers", count=deleted)

    async def back_up(self) -> None:
        """Make a backup, when one is due."""
        await self._backups.make()

    async def truncate_log(self) -> None:
        """Let what was erased leave the files."""
        now = self._clock.now()
        try:
            if await self._store.tidy():
                self._truncated_at, self._reported = now, False
        except AgentError as error:  # a disk that is full, say: the next time will do
            logger().warning("what was erased may still be in the state file", error=str(error), hint=error.hint)
        if now - self._truncated_at >= _UNTRUNCATED_WARNING and not self._reported:
            self._reported = True
            logger().warning(
                "what was erased may still be in the write-ahead log",
                seconds=round(now - self._truncated_at),
                hint="end what reads the state file for so long (sqlite3, Datasette); it is tried every minute",
            )

    async def checkpoint(self) -> None:
        """Without one the work goes on: dossiers have to be deleted, whatever became of a file for auditors."""
        try:
            self._telemetry.checkpointed(await self._store.checkpoint(self._clock.now()))
        except (AgentError, OSError) as error:
            self._telemetry.checkpoint_failed(error)
