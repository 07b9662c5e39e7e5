"""Reads for code that does not run in an event loop: the commands, and threads that answer HTTP.

The driver needs an event loop. This one runs in a thread of its own, with a pool of its own. A process has one for each
database, which connects at the first query.
"""

import asyncio
import atexit
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from agent.platform.settings import Settings

from .connect import Server, open_pool
from .driver import Pool
from .errors import translated
from .snapshot import Snapshot

T = TypeVar("T")
_CONNECTIONS = 2
_LONGEST = 4.0  # seconds of a query: the page and the commands need milliseconds
_CLOSING = 1.0  # seconds that the end may take
_ROWS = 500  # rows in one page of a stream

_facades: "dict[tuple[str, Path | None], Facade]" = {}
_shared = threading.Lock()


def facade_of(settings: Settings) -> "Facade":
    """The facade of this process for the database of STATE_URL. It stays open until the process ends."""
    key = settings.state_url, settings.state_password_file
    with _shared:
        if key not in _facades:
            _facades[key] = facade = Facade(Server.of(settings))
            atexit.register(facade.close)
        return _facades[key]


class Facade:
    """Queries from any thread. Each may raise StoreError, and the next one connects again if it must."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pool: Pool | None = None
        self._names = count()
        self._loop = asyncio.new_event_loop()
        self._opening = asyncio.Lock()
        self._thread = threading.Thread(target=self._loop.run_forever, name="store-reader", daemon=True)
        self._thread.start()

    def __str__(self) -> str:
        return str(self._server)

    def begin(self) -> Snapshot:
        """Begin a snapshot, for `query` and `stream`."""
        return self._run(self._begin())

    def end(self, snapshot: Snapshot) -> None:
        """End a snapshot, without waiting for it."""
        asyncio.run_coroutine_threadsafe(snapshot.end(), self._loop)

    def query(self, sql: str, *values: Any, snapshot: Snapshot | None = None) -> list[Any]:
        """The rows of a query; each can be read as a tuple. Without a snapshot, it has one of its own."""
        if snapshot is not None:
            return self._run(snapshot.fetch(sql, *values))
        return self._run(self._fetch(sql, values))

    def write(self, sql: str, *values: Any) -> Any:
        """The value of a statement that is a transaction of its own."""
        return self._run(self._write(sql, values))

    def stream(self, sql: str, snapshot: Snapshot) -> Iterator[Any]:
        """The rows of a query without values, read page by page."""
        name = f"rows_{next(self._names)}"  # the driver remembers the columns by the text of FETCH
        self._run(snapshot.fetch(f"DECLARE {name} NO SCROLL CURSOR FOR {sql}"))
        while page := self._run(snapshot.fetch(f"FETCH {_ROWS} FROM {name}")):
            yield from page

    def close(self) -> None:
        """Close the connections, and end the thread."""
        with contextlib.suppress(Exception):
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run this in the loop, and return its result. Raises errors of the driver."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise RuntimeError("the loop of the store ended") from None

    async def pool(self) -> Pool:
        """The connections, which are opened at the first use."""
        async with self._opening:
            if self._pool is None:
                self._pool = await open_pool(self._server, _CONNECTIONS)
        return self._pool

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        with translated(str(self._server)):
            return self.run(work)

    async def _begin(self) -> Snapshot:
        return await Snapshot.begin(await self.pool(), _CONNECTIONS, _LONGEST)

    async def _fetch(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        snapshot = await self._begin()
        try:
            return await snapshot.fetch(sql, *values)
        finally:
            await snapshot.end()

    async def _write(self, sql: str, values: tuple[Any, ...]) -> Any:
        return await (await self.pool()).fetchval(sql, *values)

    async def _close(self) -> None:
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), _CLOSING)
            finally:
                self._pool.terminate()
