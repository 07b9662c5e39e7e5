"""Statements that wait while the server is away, for the writer: an outage only delays a commit."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from .driver import Connection, Pool, asyncpg
from .errors import is_away, is_repeatable

T = TypeVar("T")
_PAUSES = (0.05, 1.0)  # seconds between two tries: the first, and the longest


class Persistence:
    """Repeats until the server answers."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.away = False  # the server did not answer the last statement

    async def ask(self, statement: Callable[[Connection], Awaitable[T]], broke: Callable[[], None] = lambda: None) -> T:
        """Send the statement until there is an answer. Raises the error of a server that refuses it.

        Calls `broke` each time that the server may have done it, although its answer is lost.
        """
        pause = _PAUSES[0]
        while True:
            try:
                async with self._pool.acquire() as connection:
                    answer = await self._sent(connection, statement, broke)
            except Exception as error:
                if not (is_away(error) or is_repeatable(error)):
                    raise
                self.away = is_away(error)
            else:
                self.away = False
                return answer
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    @staticmethod
    async def _sent(
        connection: Connection, statement: Callable[[Connection], Awaitable[T]], broke: Callable[[], None]
    ) -> T:
        try:
            return await statement(connection)
        except Exception as error:
            if is_away(error):
                broke()
                with contextlib.suppress(asyncpg.InterfaceError):  # the pool has it back if it is closed
                    connection.terminate()  # a server that became a standby keeps it open
            raise
