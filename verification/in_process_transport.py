"""The line between the agent's client and the sandbox, without sockets: the simulator's own ASGI application, called.

A call travels in a task of the network's own: an agent that gives up or dies does not take it back. What the sandbox
does to a connection (cut it, leave it hanging, send half of a body) reaches the client as the same errors that the
real transport reports.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any

import httpx
from starlette.types import ASGIApp, Message

from agent.assure.transport import address
from agent.sandbox.faults.injection import CONNECTION
from verification.crash_points import Gate

LATEST = 28.0  # seconds: a call acts within REQUEST_TIMEOUT after it was sent, or never; more is not promised


class _Connection:
    """What the sandbox may cut."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def abort(self) -> None:
        self.ended.set()

    close = abort


class _Exchange:
    """One call at the application's door: ASGI's receive and send."""

    def __init__(self, request: httpx.Request, content: bytes) -> None:
        self.request = request
        self.url = httpx.URL(address(request))
        self.connection = _Connection()
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.whole = False
        self._content: bytes | None = content

    def scope(self) -> dict[str, Any]:
        url = self.url
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.request.method,
            "scheme": url.scheme,
            "path": url.path,
            "raw_path": url.raw_path.partition(b"?")[0],
            "query_string": url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in self.request.headers.raw],
            "server": (url.host, url.port),
            "client": ("127.0.0.1", 1),
            "extensions": {CONNECTION: {"transport": self.connection}},
        }

    async def receive(self) -> Message:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.connection.ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)


class Line(httpx.AsyncBaseTransport):
    """Carries calls. `told(what)` hears of each answer, for the history; calls take milliseconds by `chance`.

    `down()`: nobody is there. `severed()`: how often a connection ends at once while its call is on the way and arrives
    up to LATEST seconds later.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: Gate,
        chance: Random,
        timeout: float,
        told: Callable[[str], None],
        down: Callable[[], bool],
        severed: Callable[[], float],
    ) -> None:
        self._down = down
        self._severed = severed
        self._app = app
        self._gate = gate
        self._chance = chance
        self._timeout = timeout
        self._told = told
        self._travelling: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once, and wait for an answer as long as the real transport does."""
        if self._gate.dead or self._down():
            raise httpx.ConnectError("nobody there")
        exchange = _Exchange(request, await request.aread())
        severed = self._chance.random() < self._severed()
        late = self._chance.uniform(0.0, LATEST) if severed else 0.0
        travel = asyncio.get_running_loop().create_task(self._travel(exchange, late))
        self._travelling.add(travel)
        travel.add_done_callback(self._travelling.discard)
        name = f"{request.method} {exchange.url.path}"
        if severed:
            exchange.connection.abort()
            self._told(f"{name} -> severed, arrives {late:.1f} s later")
            await asyncio.sleep(0.01)
            raise httpx.RemoteProtocolError("severed", request=request)
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(travel)
        except TimeoutError:
            exchange.connection.abort()
            self._told(f"{name} -> no answer")
            raise httpx.ReadTimeout("no answer", request=request) from None
        except asyncio.CancelledError:
            exchange.connection.abort()
            raise
        self._told(f"{name} -> {exchange.status if exchange.whole else 'cut off'}")
        if not exchange.whole:
            raise httpx.RemoteProtocolError("cut off", request=request)
        if not self._gate.passes(f"{name}: answered"):
            await asyncio.Event().wait()  # the answer reaches nobody
        return httpx.Response(exchange.status, headers=exchange.headers, content=exchange.body, request=request)

    async def _travel(self, exchange: _Exchange, late: float) -> None:
        await asyncio.sleep(late + self._chance.uniform(0.001, 0.02))
        await self._app(exchange.scope(), exchange.receive, exchange.send)
        await asyncio.sleep(self._chance.uniform(0.001, 0.02))
