"""Whether anything may be begun: not while a person paused the agent, or the store is a copy that may be behind."""

from agent.controller.reconciler import Reconciler
from agent.controller.recovery import Regain
from agent.daemon.commands import PAUSED, paused, paused_since
from agent.daemon.telemetry import Chronicle
from agent.platform.shutdown import Ending
from agent.ports import Clock
from agent.store.sqlite import SqliteStore

_TRIES = 5  # to have Assure's lists at the start, before anything is begun


class Pausing:
    """Tells the reconciler. `recover` looks at Assure for what a store may have missed, and ends that pause."""

    def __init__(
        self,
        store: SqliteStore,
        reconciler: Reconciler,
        regain: Regain,
        chronicle: Chronicle,
        ending: Ending,
        clock: Clock,
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._regain = regain
        self._chronicle = chronicle
        self._ending = ending
        self._clock = clock

    async def begin(self) -> None:
        """At the start: as it was left, and said in the history when a person restored the store."""
        self.adjust()
        if (since := paused_since(self._store.recall(PAUSED))) is not None:
            self._chronicle.paused(since)
        recovery = self._store.recoveries.open()
        if recovery is not None and recovery.why == "restored" and recovery.looked_at is None:
            # a person wanted it; a copy that came otherwise is a break for auditors
            await self._store.restored(self._clock.now())

    def adjust(self) -> None:
        """As the store says now."""
        recovery = self._store.recoveries.open()
        self._reconciler.recovering = recovery is not None
        self._reconciler.paused = paused(self._store) or (recovery is not None and recovery.gated)

    async def recover(self, first: bool = False) -> None:
        """Once at the start, and then whenever something waits to be looked for; a no-op while all is as usual."""
        if not self._reconciler.recovering:
            behind = await self._behind(_TRIES if first else 1)
            self._chronicle.listed(not self._regain.blind)
            if not behind:
                return
            self.adjust()
        regained = await self._ending.unless_asked(self._regain.look())
        self._chronicle.listed(not self._regain.blind)
        if regained is None:
            return
        self._chronicle.regained(regained)
        if regained.closed:
            self.adjust()

    async def _behind(self, tries: int) -> bool:
        """Does Assure show that the store is behind? An Assure that gives no lists is waited for, and not for ever."""
        for failures in range(tries):
            behind = await self._ending.unless_asked(self._regain.behind())
            if behind is not None or self._ending.asked.is_set():
                return bool(behind)
            await self._clock.wait(self._ending.asked, 2.0**failures if failures + 1 < tries else 0.0)
        return False
