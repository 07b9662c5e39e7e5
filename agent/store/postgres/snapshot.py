"""Snapshots of the database: transactions that only read, with limits that the server keeps.

Each setting is local to the transaction, because a pooler gives the connection to others after it.
"""

import asyncio
import contextlib
from typing import Any

from .driver import Connection, Pool, asyncpg
from .errors import is_away

_GRACE = 1.0  # seconds by which the server ends a query before this side does
_IDLE = 300  # seconds without a query until the server ends a snapshot: it keeps old rows from being removed
# The values of a query decide how many rows it finds, so the server plans it for them each time. Rows that are read
# page by page come in the order of an index, without sorting all of them first.
_BEGIN = f"""
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL idle_in_transaction_session_timeout = '{_IDLE}s';
SET LOCAL plan_cache_mode = force_custom_plan;
SET LOCAL cursor_tuple_fraction = 0.0001;
SET LOCAL jit = off;
SET LOCAL statement_timeout = %d;
"""


class Snapshot:
    """One state of the database, from the first query to the end. Later commits stay invisible."""

    def __init__(self, pool: Pool, connection: Connection, longest: float) -> None:
        """Use `begin`."""
        self._pool = pool
        self._connection = connection
        self._longest = longest
        self._turn = asyncio.Lock()

    @classmethod
    async def begin(cls, pool: Pool, most: int, longest: float) -> "Snapshot":
        """Begin with a connection of the pool, which has at most `most`. A query may take `longest` seconds.

        Raises an error of the driver, or TimeoutError if no connection is free in this time.
        """
        for left in reversed(range(most + 1)):
            connection = await pool.acquire(timeout=longest)
            try:
                await connection.execute(_BEGIN % round(longest * 1000), timeout=longest)
            except BaseException as error:
                await _end(pool, connection)
                if not (left and is_away(error)):  # the server restarted since the connection was used
                    raise
            else:
                return cls(pool, connection, longest)
        raise AssertionError("the last try returns or raises")

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """All rows of a query. Raises an error of the driver, or TimeoutError."""
        async with self._turn:
            try:
                rows: list[Any] = await self._connection.fetch(sql, *values, timeout=self._longest + _GRACE)
            except asyncpg.QueryCanceledError:
                raise TimeoutError from None
            return rows

    async def end(self) -> None:
        """End it, and give the connection back."""
        async with self._turn:
            await _end(self._pool, self._connection)


async def _end(pool: Pool, connection: Connection) -> None:
    """Give a connection back without a transaction; one that does not answer is closed."""
    try:
        await connection.execute("ROLLBACK", timeout=_GRACE)
    except Exception:
        with contextlib.suppress(asyncpg.InterfaceError):  # the pool has it back if it is closed
            connection.terminate()
    finally:
        with contextlib.suppress(Exception):
            await pool.release(connection)
