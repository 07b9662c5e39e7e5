"""The turn of a source: of the replicas on one store, one scans the source and acts on it. The others only fetch it.

The holder of the turn may have an older checkout than the holder before. Therefore it acts only on the revision that
was acted on last, or on a descendant. Otherwise it lags: it acts on nothing, and gives the turn back.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from agent.admission.request_source import RequestSource
from agent.core.source_revision import RevisionState
from agent.platform.callbacks import isolated
from agent.ports import Duties, MetaKey
from agent.ports.duties import TURN_OF_SOURCE


class TurnStore(Duties, Protocol):
    """The store, as the turn uses it."""

    @property
    def shared(self) -> bool:
        """True if other replicas may have the turn."""

    async def revision_state(self, source: str) -> RevisionState:
        """The state of this source."""

    async def recall(self, key: MetaKey) -> str | None:
        """A remembered text."""


class SourceTurn:
    """The turn of one source. `lagging` receives whether the checkout lags, at each question."""

    def __init__(
        self, name: str, source: RequestSource, store: TurnStore, lagging: Callable[[bool], None] = lambda lags: None
    ) -> None:
        """`name` is that of the source in the store."""
        self._name, self._source, self._store = name, source, store
        self._duty = TURN_OF_SOURCE.format(name)
        self._lagging = isolated(lagging)
        self.shared = store.shared
        self.is_held = not store.shared  # at the last question

    async def hold(self) -> bool:
        """Take or keep the turn. True: this replica may act on its checkout. Raises Fenced."""
        if not self.shared:
            return True
        if not await self.take():
            self._lagging(False)
            return False
        lags = await self._lags()
        self._lagging(lags)
        if lags:
            await self.release()
        return not lags

    async def take(self) -> bool:
        """Take or keep the turn. True: this replica has it, although its checkout may lag. Raises Fenced."""
        if self.shared:
            self.is_held = await self._store.hold_turn(self._duty)
        return self.is_held

    async def release(self) -> None:
        """Give the turn back, so that a replica that can read the source takes it."""
        if self.shared:
            self.is_held = False
            await self._store.release_turn(self._duty)

    async def _lags(self) -> bool:
        """True if the checkout is neither the revision that was acted on last nor a descendant, nor approved."""
        acted = (await self._store.revision_state(self._name)).acted
        if acted is None:
            return False
        approved = await self._store.recall(MetaKey.REVISION_APPROVED)
        return await asyncio.to_thread(self._source.lags, acted.commit, approved)
