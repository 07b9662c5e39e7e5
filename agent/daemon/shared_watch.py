"""The watch of a shared store: other replicas and commands change it without an event in this process."""

import asyncio
from collections.abc import Awaitable, Callable

from agent.controller.start_budget import DAY
from agent.ports import Clock, SharedState, SharedStore

_INTERVAL = 1.0  # seconds of real time: a virtual clock that jumps a day must not stop at each second


class SharedWatch:
    """Reads the shared state once a second."""

    def __init__(
        self,
        store: SharedStore,
        clock: Clock,
        changed: Callable[[SharedState, SharedState], Awaitable[None]],
        looked: Callable[[SharedState], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """`changed` gets the state before and after a change. `looked` gets the state of each second.

        `failed` gets an error, after which the watch continues.
        """
        self._store = store
        self._clock = clock
        self._changed = changed
        self._looked = looked
        self._failed = failed
        self._known: SharedState | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception as error:
                self._failed(error)
            await asyncio.sleep(_INTERVAL)

    async def look(self) -> None:
        """Look once."""
        now = self._clock.now()
        found, before = await self._store.shared_state(now - now % DAY), self._known
        self._known = found
        if before is not None and found != before:
            await self._changed(before, found)
        self._looked(found)
