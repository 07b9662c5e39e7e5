"""The gate for new work: closed while the operator paused the agent, or the store may be an older copy."""

from agent.controller.reconciler import Reconciler
from agent.controller.recovery import StoreRecovery
from agent.daemon.telemetry import Telemetry
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, MetaKey
from agent.store.contract import Store

_LIST_ATTEMPTS = 5  # attempts to read Assure's lists at the start, before any new work
_SEARCH = 5.0  # seconds between two searches during a recovery, the interval of the timer


class WorkGate:
    """Opens and closes the reconciler for new work. `run_recovery` reads from Assure what the store may lack."""

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        recovery: StoreRecovery,
        telemetry: Telemetry,
        shutdown: Shutdown,
        clock: Clock,
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._recovery = recovery
        self._telemetry = telemetry
        self._shutdown = shutdown
        self._clock = clock

    async def start(self) -> None:
        """Restore the state of the last run. Records in the audit log that the operator restored the store."""
        await self.refresh()
        if (since := await self._store.recall_time(MetaKey.PAUSED)) is not None:
            self._telemetry.started_paused(since)
        recovery = await self._store.recoveries.open()
        if recovery is not None and recovery.cause == "restored" and recovery.scanned_at is None:
            # the operator restored it; any other copy is a break of the audit log
            await self._store.record_restore(self._clock.now())

    async def refresh(self) -> None:
        """Apply the pause and the recovery of the store."""
        recovery = await self._store.recoveries.open()
        self._reconciler.recovering = recovery is not None
        paused = await self._store.recall_time(MetaKey.PAUSED) is not None
        self._reconciler.paused = paused or (recovery is not None and recovery.holds_new_work)

    async def run_recovery(self, first: bool = False) -> None:
        """Detect a rollback, and search Assure during a recovery; otherwise do nothing. `first`: at the start."""
        if self._store.shared:  # another replica may have begun, approved or ended a recovery
            await self.refresh()
        if not self._reconciler.recovering:
            behind = await self._store_is_behind(_LIST_ATTEMPTS if first else 1)
            self._telemetry.lists_checked(not self._recovery.lists_unreadable)
            if not behind:
                return
            await self.refresh()
        elif not first and not await self._store.take_duty("recovery", _SEARCH):
            await self.refresh()  # another replica searches, and may have ended the recovery
            return
        regained = await self._shutdown.run_until_requested(self._recovery.scan())
        self._telemetry.lists_checked(not self._recovery.lists_unreadable)
        if regained is None:
            return
        self._telemetry.recovery_scanned(regained)
        if regained.closed:
            await self.refresh()

    async def _store_is_behind(self, tries: int) -> bool:
        """True if Assure shows that the store is older. Without lists from Assure, it retries `tries` times."""
        for failures in range(tries):
            behind = await self._shutdown.run_until_requested(self._recovery.detect_rollback())
            if behind is not None or self._shutdown.requested.is_set():
                return bool(behind)
            await self._clock.wait(self._shutdown.requested, 2.0**failures if failures + 1 < tries else 0.0)
        return False
