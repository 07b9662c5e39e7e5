"""Looks into the store for the surface: on threads of its own, so that neither the loops nor each other wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agent.store.pages import Browsing

T = TypeVar("T")


class Looks:
    """Looks through a connection that cannot write, each into one snapshot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(2, "surface")

    async def __call__(self, ask: Callable[[Browsing], T]) -> T:
        """What `ask` makes of it. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._asked, ask)

    def _asked(self, ask: Callable[[Browsing], T]) -> T:
        with Browsing(self._path) as browsing:
            browsing.freeze()
            return ask(browsing)

    def close(self) -> None:
        """Begin no look any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
