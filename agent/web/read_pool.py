"""A thread pool for reads of the store by HTTP requests, so that neither the event loop nor other requests wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.platform.settings import Settings
from agent.store import open_reading
from agent.store.reading.reading import Reading

T = TypeVar("T")


class ReadPool:
    """Runs each read on a read-only connection, in one snapshot."""

    def __init__(self, settings: Settings, refuse_away: Callable[[], None] = lambda: None) -> None:
        """`refuse_away` raises StoreAway while the server of the database does not answer."""
        self.refuse_away = refuse_away
        self._settings = settings
        self._pool = ThreadPoolExecutor(2, "surface")

    async def __call__(self, query: Callable[[Reading], T]) -> T:
        """Run a read. Raises StoreError."""
        self.refuse_away()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query)

    def _run(self, query: Callable[[Reading], T]) -> T:
        with open_reading(self._settings) as browsing:
            browsing.freeze()
            return query(browsing)

    def close(self) -> None:
        """Start no more reads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
