"""The integrity check of the store, which runs while the agent already works."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from agent.core.errors import AgentError
from agent.platform.shutdown import Shutdown
from agent.store.contract import Store


class IntegrityCheck:
    """Checks the store once. A damaged store ends the agent."""

    def __init__(self, store: Store, shutdown: Shutdown) -> None:
        self._store = store
        self._shutdown = shutdown
        self._task: asyncio.Task[None]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Check while the block runs; cancel the check when the block ends."""
        self._task = asyncio.create_task(self._check())
        try:
            yield
        finally:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def finished(self) -> None:
        """Return when the check has ended."""
        await asyncio.wait({self._task})

    async def _check(self) -> None:
        try:
            await self._store.check_integrity()
        except AgentError as error:
            self._shutdown.fail(error)
