"""Statements that wait while the server is away: an outage only delays the agent."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from agent.core.errors import StoreAway
from agent.platform.callbacks import isolated

from .driver import Connection, Pool, asyncpg
from .errors import is_away, is_closed, is_repeatable, store_error

T = TypeVar("T")
_PAUSES = (0.05, 1.0)  # seconds between two tries: the first, and the longest
_SILENCE = 5.0  # seconds without an answer until the server counts as away
_OPENING = 10.0  # seconds that a statement waits before `limit` was called


class Persistence:
    """Repeats a statement until the server answers."""

    def __init__(self, pool: Pool, where: str = "") -> None:
        """`where` names the database in errors.

        One connection of the pool is only for urgent statements: the renewal of the lease waits for no other statement.
        """
        self.pool = pool
        self.where = where
        self._places = asyncio.Semaphore(max(1, pool.get_max_size() - 1))
        self.away = False  # the server does not answer
        self._cause = ""  # of the last failed try; empty after an answer
        self._patience: float | None = _OPENING
        self._limits: set[asyncio.Timeout] = set()  # of the statements that wait
        self._changed: Callable[[str | None], None] = lambda cause: None

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Call `changed` with the cause when the server goes away, and with None when it answers again."""
        self._changed = isolated(changed)

    def limit(self, patience: float | None) -> None:
        """Let each statement wait for at most `patience` seconds from now, also those that wait already. None: forever.

        Without a limit, a connection that the server refuses counts as an outage: a password is being rotated, or a
        standby is not promoted yet.
        """
        self._patience = patience
        end = None if patience is None else asyncio.get_running_loop().time() + patience
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(end)

    async def ask(
        self,
        statement: Callable[[Connection], Awaitable[T]],
        broke: Callable[[], None] = lambda: None,
        urgent: bool = False,
    ) -> T:
        """Send the statement until there is an answer. Raises StoreError if the server refuses it, and StoreAway.

        Calls `broke` each time that the server may have done it, although its answer is lost.
        """
        limit = asyncio.timeout(self._patience)
        try:
            async with limit:
                self._limits.add(limit)
                return await self._repeat(statement, broke, limit, urgent)
        except TimeoutError:
            self._patience = 0.0  # the server had its time, so what follows fails at once
            cause = self._cause or f"The database {self.where} does not answer."
            raise StoreAway(cause, "start the agent again when the database answers") from None
        except Exception as error:
            raise store_error(self.where, error) from None
        finally:
            self._limits.discard(limit)

    async def _repeat(
        self,
        statement: Callable[[Connection], Awaitable[T]],
        broke: Callable[[], None],
        limit: asyncio.Timeout,
        urgent: bool,
    ) -> T:
        loop, pause = asyncio.get_running_loop(), _PAUSES[0]
        while True:
            silence = loop.call_later(_SILENCE, self._report, "no answer in time")
            try:
                async with contextlib.nullcontext() if urgent else self._places:
                    answer = await self._try(statement, broke)
            except Exception as error:
                if not (is_away(error) or is_repeatable(error)):
                    raise
                self._cause = str(store_error(self.where, error))
                if limit.expired():  # a connection that broke at this moment hides the cancellation
                    raise TimeoutError from None
                # a broken connection alone says nothing about the server
                if pause > _PAUSES[0] and not is_repeatable(error):
                    self._report(self._cause)
            else:
                self._cause = ""
                self._report(None)
                return answer
            finally:
                silence.cancel()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _PAUSES[1])

    async def _try(self, statement: Callable[[Connection], Awaitable[T]], broke: Callable[[], None]) -> T:
        try:
            connection = await self.pool.acquire()
        except Exception as error:
            if self._patience is None and not is_closed(error):
                raise StoreAway(str(store_error(self.where, error))) from None
            raise
        try:
            return await statement(connection)
        except BaseException as error:
            if is_away(error):
                broke()
            if is_away(error) or isinstance(error, asyncio.CancelledError):
                with contextlib.suppress(asyncpg.InterfaceError):  # the pool has it back if it is closed
                    connection.terminate()  # a server that became a standby keeps it open; a silent one cannot cancel
            raise
        finally:
            await self.pool.release(connection)

    def _report(self, cause: str | None) -> None:
        if self.away != (cause is not None):
            self.away = cause is not None
            self._changed(cause)
