"""The turn to act on the source: of several replicas on one store, one scans and the others stand by."""

from collections.abc import Callable
from typing import Protocol

from agent.admission.request_source import RequestSource
from agent.admission.sync import Admission
from agent.admission.sync_result import SyncResult
from agent.platform.callbacks import isolated
from agent.ports import Duties


class TurnStore(Duties, Protocol):
    """The store, as the turn uses it."""

    @property
    def shared(self) -> bool:
        """True if other replicas may act on the source."""

    async def acted_commit(self, source: str) -> str | None:
        """The commit of the git source that was scanned last; None for a folder."""


class SourceTurn:
    """Scans through `Admission` while this replica has the turn of the source, which it keeps until its life ends.

    The next replica begins afresh: a name must be absent in two of its own scans before it withdraws the request.
    """

    def __init__(
        self,
        admission: Admission,
        source: RequestSource,
        name: str,
        store: TurnStore,
        stood_by: Callable[[bool], None] = lambda lagging: None,
    ) -> None:
        """`stood_by` is called at each scan that is left to others, with True if this source may be older."""
        self._admission = admission
        self._source = source
        self._name = name
        self._store = store
        self._stood_by = isolated(stood_by)

    async def held(self) -> bool:
        """True if this replica acts on the source now."""
        if await self._store.hold_turn(self._duty):
            return True
        self._admission.forget()
        return False

    async def scan(self, *, prune: bool = True, on_progress: Callable[[], None] | None = None) -> SyncResult | None:
        """Scan, as `Admission.scan`. None: another replica acts on the source, or this source may be older."""
        held = await self.held()
        if held and await self._may_follow():
            return await self._admission.scan(prune=prune, on_progress=on_progress)
        if held:
            await self._store.release_turn(self._duty)  # another replica may have fetched more
        self._stood_by(held)
        return None

    @property
    def _duty(self) -> str:
        return f"source/{self._name}"

    async def _may_follow(self) -> bool:
        """False if another replica acted on a revision that this one has not compared with its own."""
        acted = await self._store.acted_commit(self._name) if self._store.shared else None
        return acted is None or self._source.may_follow(acted)
