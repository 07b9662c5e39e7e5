"""Whether anything may be begun: not while a person paused the agent, or the store is a copy that may be behind."""

from agent.controller.reconciler import Reconciler
from agent.controller.recovery import StoreRecovery
from agent.daemon.telemetry import Telemetry
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, MetaKey
from agent.store.sqlite import SqliteStore

_LIST_ATTEMPTS = 5  # to have Assure's lists at the start, before anything is begun


class WorkGate:
    """Tells the reconciler. `run_recovery` looks at Assure for what a store may have missed, and ends that pause."""

    def __init__(
        self,
        store: SqliteStore,
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
        """At the start: as it was left, and said in the history when a person restored the store."""
        self.refresh()
        if (since := self._store.recall_time(MetaKey.PAUSED)) is not None:
            self._telemetry.started_paused(since)
        recovery = self._store.recoveries.open()
        if recovery is not None and recovery.cause == "restored" and recovery.scanned_at is None:
            # a person wanted it; a copy that came otherwise is a break for auditors
            await self._store.record_restore(self._clock.now())

    def refresh(self) -> None:
        """As the store says now."""
        recovery = self._store.recoveries.open()
        self._reconciler.recovering = recovery is not None
        paused = self._store.recall_time(MetaKey.PAUSED) is not None
        self._reconciler.paused = paused or (recovery is not None and recovery.holds_new_work)

    async def run_recovery(self, first: bool = False) -> None:
        """Once at the start, and then whenever something waits to be looked for; a no-op while all is as usual."""
        if not self._reconciler.recovering:
            behind = await self._store_is_behind(_LIST_ATTEMPTS if first else 1)
            self._telemetry.lists_checked(not self._recovery.lists_unreadable)
            if not behind:
                return
            self.refresh()
        regained = await self._shutdown.run_until_requested(self._recovery.scan())
        self._telemetry.lists_checked(not self._recovery.lists_unreadable)
        if regained is None:
            return
        self._telemetry.recovery_scanned(regained)
        if regained.closed:
            self.refresh()

    async def _store_is_behind(self, tries: int) -> bool:
        """Does Assure show that the store is behind? An Assure that gives no lists is waited for, and not for ever."""
        for failures in range(tries):
            behind = await self._shutdown.run_until_requested(self._recovery.detect_rollback())
            if behind is not None or self._shutdown.requested.is_set():
                return bool(behind)
            await self._clock.wait(self._shutdown.requested, 2.0**failures if failures + 1 < tries else 0.0)
        return False
