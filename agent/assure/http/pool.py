"""The connections to all origins of one client."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Final

from agent.assure.http.connection import IDLE_LIMIT, Connection
from agent.assure.http.dial import dial
from agent.assure.http.messages import (
    Body,
    Broken,
    ExchangeError,
    Origin,
    Reply,
    Timeouts,
    Unsent,
    Untimely,
    request_head,
)
from agent.assure.http.send_deadline import SendDeadline
from agent.platform.proxy import Proxy
from agent.platform.tls import tls_context

_CLOSE_SECONDS: Final = 1.0  # for the close notifications of TLS


class Pool:
    """Implements `Transport`. An exchange in flight and a connection being made take one of `connections` places.

    Places are given in the order of the requests. Idle connections of another origin are closed if they are needed.
    """

    def __init__(
        self,
        *,
        connections: int,
        timeouts: Timeouts | None = None,
        tls: Callable[[], ssl.SSLContext] = tls_context,
        proxy_to: Callable[[str, int], Proxy | None] = lambda host, port: None,
        idle_limit: float = IDLE_LIMIT,
        deadline: Callable[[str, str], SendDeadline | None] = lambda method, target: None,
    ) -> None:
        """`tls` is called once, for the first secure origin; `proxy_to` gets the host and port of each origin.

        `deadline` gets the method and the target of a request. The deadline is asked when the connection is ready,
        before the first byte.
        """
        self._connections = self._free = connections
        self._timeouts = timeouts or Timeouts()
        self._tls = cache(tls)
        self._proxy_to = proxy_to
        self._idle_limit = idle_limit
        self._deadline = deadline
        self._idle: dict[Origin, list[Connection]] = {}
        self._open: dict[Connection, list[Connection]] = {}  # each with the idle connections of its origin
        self._dialing: dict[asyncio.Task[object], asyncio.Timeout] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False

    async def send(
        self, origin: Origin, method: str, target: str, fields: bytes, body: Body = b"", limit: int = 0
    ) -> Reply:
        """Send once, and read the complete reply. Raises ExchangeError, or ValueError for an invalid target."""
        length = len(body) if isinstance(body, bytes) else body.length
        head = request_head(method, target, fields, length)
        if self._closed:
            raise Unsent("closed")
        until = 0.0
        if self._free:
            self._free -= 1
        else:
            until = asyncio.get_running_loop().time() + self._timeouts.connect
            await self._wait_for_place(until)
        connection: Connection | None = None
        try:
            connection = self._take(origin)
            if connection is None:
                connection = await self._dial(origin, until)
            return await _begin(connection, self._deadline(method, target), head, body, limit)
        except BaseException as error:
            if connection is None or isinstance(error, Untimely):
                raise
            connection.close()  # after a cancellation, no other exchange may read the reply
            if isinstance(error, ExchangeError) or not isinstance(error, Exception):
                raise
            raise Broken("reset") from error  # an error of an unknown kind must not count as unsent
        finally:
            if connection is not None:
                self._give_back(connection)
            self._free_place()

    async def aclose(self) -> None:
        """Close every connection, and wait until they are closed."""
        self._closed = True
        for turn in self._waiting:
            if not turn.done():
                turn.set_exception(Unsent("closed"))
        self._waiting.clear()
        loop = asyncio.get_running_loop()
        for scope in self._dialing.values():
            scope.reschedule(loop.time())
        idle = {connection for kept in self._idle.values() for connection in kept}
        self._idle.clear()
        for connection in list(self._open):
            if connection in idle and connection.usable:
                connection.close_idle()
            else:
                connection.close()
        if await self._wait_until_empty(_CLOSE_SECONDS):
            return
        for connection in list(self._open):
            connection.close()
        await self._wait_until_empty(_CLOSE_SECONDS)

    def _take(self, origin: Origin) -> Connection | None:
        """The connection that was used last, if it can carry a request."""
        kept = self._idle.get(origin)
        while kept:
            connection = kept.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if connection.usable and not self._closed:
            self._open[connection].append(connection)
        else:
            connection.close()

    async def _wait_for_place(self, until: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(until):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._free_place()
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Unsent("connect-timeout") from error
            raise

    def _free_place(self) -> None:
        """Give the place to the request that waits longest."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    async def _dial(self, origin: Origin, until: float) -> Connection:
        loop = asyncio.get_running_loop()
        if self._closed:
            raise Unsent("closed")
        self._close_surplus()
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(None) as scope:
                self._dialing[task] = scope
                connection = await dial(
                    origin,
                    self._timeouts,
                    self._tls,
                    self._proxy_to(origin.host, origin.port),
                    lambda peer: Connection(loop, self._timeouts, self._lost, peer, self._idle_limit),
                    until or loop.time() + self._timeouts.connect,
                )
        except TimeoutError as error:
            raise Unsent("closed") from error
        finally:
            self._dialing.pop(task, None)
            self._report_empty()
        if self._closed or not connection.is_fresh():
            connection.close()
            raise Unsent("closed" if self._closed else "reset")
        self._open[connection] = self._idle.setdefault(origin, [])
        return connection

    def _close_surplus(self) -> None:
        """Close idle connections until one more can be made. Each place in use has at most one connection."""
        surplus = len(self._open) + len(self._dialing) + 1 - self._connections
        for kept in self._idle.values():
            while surplus > 0 and kept:
                kept.pop(0).close_idle()
                surplus -= 1

    def _lost(self, connection: Connection) -> None:
        kept = self._open.pop(connection, None)
        if kept is not None and connection in kept:
            kept.remove(connection)
        self._report_empty()

    def _report_empty(self) -> None:
        if self._emptied is not None and not self._emptied.done() and not self._open and not self._dialing:
            self._emptied.set_result(None)

    async def _wait_until_empty(self, seconds: float) -> bool:
        if not self._open and not self._dialing:
            return True
        self._emptied = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._emptied], timeout=seconds)
        return bool(done)


def _begin(
    connection: Connection, deadline: SendDeadline | None, head: bytes, body: Body, limit: int
) -> asyncio.Future[Reply]:
    if deadline is None:
        return connection.begin(head, body, limit)
    if not deadline.begin(connection.give_up):
        raise Untimely("lease")
    try:
        return connection.begin(head, body, limit, partial(deadline.end, connection.give_up))
    finally:
        deadline.wait()
