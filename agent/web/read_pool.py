"""Looks into the store for the surface: on threads of its own, so that neither the loops nor each other wait."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agent.store.pages import PageQueries

T = TypeVar("T")


class ReadPool:
    """Looks through a connection that cannot write, each into one snapshot."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(2, "surface")

    async def __call__(self, query: Callable[[PageQueries], T]) -> T:
        """What `query` makes of it. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, query)

    def _run(self, query: Callable[[PageQueries], T]) -> T:
        with PageQueries(self._path) as browsing:
            browsing.freeze()
            return query(browsing)

    def close(self) -> None:
        """Begin no look any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
