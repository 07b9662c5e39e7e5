"""Periodic tasks: collect orphans, back up, remove copies of erased data, erase, write checkpoints.

No request waits for them. Only a store that cannot be written ends the agent.
"""

from agent.controller.erasure import Erasure
from agent.controller.orphan_collector import OrphanCollector
from agent.core.errors import AgentError
from agent.daemon.backups import Backups
from agent.daemon.scheduler import Scheduler
from agent.daemon.telemetry import Telemetry
from agent.platform.log import logger
from agent.ports import Clock, Gate
from agent.store.contract import Store

_SWEEP = 60.0  # seconds between two searches for orphans, due backups and due erasures
_TIDY = 60.0  # seconds between two removals of copies of erased data
_UNTIDY_WARNING = 900.0  # seconds without a removal until a warning
_CHECKPOINT = 300.0  # seconds between two checkpoints of the audit log


class Maintenance:
    """The periodic tasks. Each can also be run alone."""

    def __init__(
        self,
        store: Store,
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
        self._tidied_at = clock.now()  # when no copy of erased data was left
        self._reported = False  # the warning was logged

    def schedule(self, scheduler: Scheduler) -> None:
        """Schedule all tasks."""
        scheduler.every(_SWEEP, self.sweep)
        scheduler.every(_SWEEP, self.back_up)
        scheduler.every(_TIDY, self.tidy)
        scheduler.every(_SWEEP, self.erase)
        scheduler.every(_CHECKPOINT, self._checkpoint_on_duty)

    async def sweep(self) -> None:
        """Collect orphans, unless the circuit breaker or the rate limit stops calls."""
        if self._gate.is_closed(self._clock.now()) or not await self._store.take_duty("sweep", _SWEEP):
            return
        if deleted := await self._orphans.sweep():
            logger().warning("deleted orphaned dossiers", count=deleted)

    async def back_up(self) -> None:
        """Make a backup if it is due."""
        await self._backups.make()

    async def erase(self) -> None:
        """Erase expired claims and used images."""
        await self._erasure.erase_due(claims=await self._store.take_duty("erase", _SWEEP))

    async def tidy(self) -> None:
        """Remove the old rows of erased data: from the write-ahead log of the state file, or from the tables."""
        now = self._clock.now()
        if not await self._store.take_duty("tidy", _TIDY):
            self._tidied_at = now  # another replica does it, and reports it
            return
        try:
            if await self._store.tidy():
                self._tidied_at, self._reported = now, False
        except AgentError as error:  # such as a full disk: the next run tries again
            logger().warning("erased data may still be in the store", error=str(error), hint=error.hint)
        if now - self._tidied_at >= _UNTIDY_WARNING and not self._reported:
            self._reported = True
            logger().warning(
                "erased data may still be in the store",
                seconds=round(now - self._tidied_at),
                cause=self._store.leftover,
            )

    async def _checkpoint_on_duty(self) -> None:
        if await self._store.take_duty("checkpoint", _CHECKPOINT):
            await self.checkpoint()

    async def checkpoint(self) -> None:
        """Write a checkpoint. A failure is only logged, because dossiers must still be deleted."""
        try:
            self._telemetry.checkpointed(await self._store.checkpoint(self._clock.now()))
        except (AgentError, OSError) as error:
            self._telemetry.checkpoint_failed(error)
