"""Reads for code that does not run in an event loop: the commands, and threads that answer HTTP.

The driver needs an event loop. This one runs in a thread of its own, with a pool of its own.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from .connect import Server, open_pool
from .driver import Pool
from .errors import translated

T = TypeVar("T")
_CONNECTIONS = 2
_LONGEST = 4.0  # seconds of a query: the page and the commands need milliseconds


class Facade:
    """Queries from any thread. Each may raise StoreError."""

    def __init__(self, server: Server) -> None:
        """Connect. Raises StoreError in plain words if the server cannot be used."""
        self._where = str(server)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store-reader", daemon=True)
        self._thread.start()
        try:
            self._pool: Pool = self.run(open_pool(server, _CONNECTIONS))
        except BaseException:
            self._stop()
            raise

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the loop, and return its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the loop of the store ended") from None

    def query(self, sql: str, *values: Any, longest: float = _LONGEST) -> list[Any]:
        """The rows of a query; each can be read as a tuple. `longest`: seconds until it fails."""
        with translated(self._where):
            rows: list[Any] = self.run(self._fetch(sql, values, longest))
        return rows

    async def _fetch(self, sql: str, values: tuple[Any, ...], longest: float) -> list[Any]:
        async with self._pool.acquire(timeout=longest) as connection:
            rows: list[Any] = await connection.fetch(sql, *values, timeout=longest)
            return rows

    def close(self) -> None:
        """Close the connections, and end the thread."""
        self.run(self._pool.close())
        self._stop()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
