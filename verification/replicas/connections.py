"""The connections of a simulated process to the model of the database. They break, and the server may be away.

A statement runs in a task of the network. It continues when its process is stopped, cancelled or killed. An answer may
get lost after the server has executed the statement: the driver then reports a broken connection.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from verification.replicas.database import Row
from verification.replicas.process import Process, outside
from verification.replicas.shared_work import ReplicatedDatabase

_CONNECTIONS = 5
_TRAVEL = (0.0002, 0.003)  # seconds
_SILENCE = 10.0  # seconds until the kernel ends a connection to a silent server
_COMMITS = ("commit_batch", "execute_all")


class Network:
    """The way to the server. `away()`: the server is away. `lost()`: the probability that an answer gets lost."""

    def __init__(self, database: ReplicatedDatabase, chance: Random) -> None:
        self.database, self.chance = database, chance
        self.away: Callable[[], bool] = lambda: False
        self.lost: Callable[[], float] = lambda: 0.0
        self.in_flight: set[asyncio.Task[Any]] = set()

    async def carry(self, sql: str, values: Sequence[Any]) -> list[Row]:
        """Execute a statement. Raises OSError without an answer of the server."""
        await asyncio.sleep(self.chance.uniform(*_TRAVEL))
        if self.away():
            if self.chance.random() < 0.5:
                await asyncio.sleep(_SILENCE)
            raise ConnectionResetError("the server is away")
        rows = self.database.run(sql, values)
        if self.chance.random() < self.lost():
            raise ConnectionResetError("the answer is lost")
        return rows


class ModelConnection:
    """The part of an asyncpg connection that the store uses."""

    def __init__(self, network: Network, process: Process, under_way: Callable[[], None]) -> None:
        self._network, self._process, self._under_way = network, process, under_way

    async def fetch(self, sql: str, *values: Any) -> list[Row]:
        """The rows. A killed process waits forever."""
        commits = any(name in sql for name in _COMMITS)
        points = self._process.crash_points
        if self._process.dead or (commits and not points.pass_boundary(f"{self._process.name}: before a commit")):
            await asyncio.Event().wait()
        task = asyncio.get_running_loop().create_task(self._network.carry(sql, values), context=outside())
        self._network.in_flight.add(task)
        task.add_done_callback(self._network.in_flight.discard)
        task.add_done_callback(_retrieve)
        if commits:
            self._under_way()
        rows = await asyncio.shield(task)
        if commits and not points.pass_boundary(f"{self._process.name}: after a commit"):
            await asyncio.Event().wait()
        return rows

    async def fetchrow(self, sql: str, *values: Any) -> Row | None:
        """The first row."""
        return next(iter(await self.fetch(sql, *values)), None)

    async def fetchval(self, sql: str, *values: Any) -> Any:
        """The first value."""
        row = await self.fetchrow(sql, *values)
        return None if row is None else row[0]

    async def execute(self, sql: str, *values: Any) -> None:
        """Execute without rows."""
        await self.fetch(sql, *values)

    def terminate(self) -> None:
        """End the connection: the next one is as good."""


class ModelPool:
    """The part of an asyncpg pool that the store uses."""

    def __init__(self, network: Network, process: Process, under_way: Callable[[], None]) -> None:
        """`under_way` is called after a commit was sent."""
        self._connection = ModelConnection(network, process, under_way)
        self._places = asyncio.Semaphore(_CONNECTIONS)

    def get_max_size(self) -> int:
        """The number of connections."""
        return _CONNECTIONS

    async def acquire(self) -> ModelConnection:
        """A free connection. Raises OSError while the server refuses connections."""
        await self._places.acquire()
        return self._connection

    async def release(self, connection: ModelConnection) -> None:
        """Give the connection back."""
        self._places.release()

    async def fetchrow(self, sql: str, *values: Any) -> Row | None:
        """The first row, by any connection."""
        return await self._connection.fetchrow(sql, *values)

    async def close(self) -> None:
        """Close the pool."""

    def terminate(self) -> None:
        """End all connections."""


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Retrieve the error: the caller may be dead."""
    if not task.cancelled():
        task.exception()
