"""Where Assure Events arrive at an agent without sockets: the application that it would serve, called.

What the agent does with an event is work of that agent, and dies with it; the event then comes again, as from any
sender that was not answered.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp

SECRET = "proof-of-events"
URL = "http://127.0.0.1:2/events"
_NAME = "EVENTS_LISTEN"


class Door(httpx.AsyncBaseTransport):
    """Open while an agent listens. `serving` is the place of what listens on ports."""

    def __init__(self, timeout: float = 10.0) -> None:
        self._timeout = timeout
        self._app: ASGIApp | None = None

    @contextlib.asynccontextmanager
    async def serving(self, app: ASGIApp, host: str, port: int, name: str = "", **_: object) -> AsyncIterator[str]:
        """Serve events; of everything else nothing."""
        if name != _NAME:
            yield ""
            return
        self._app = app
        try:
            yield URL
        finally:
            if self._app is app:
                self._app = None

    def shut(self) -> None:
        """Who listened is dead."""
        self._app = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application in a task of the agent's, and wait as long as a sender would."""
        if self._app is None:
            raise httpx.ConnectError("nobody there")
        called = asyncio.get_running_loop().create_task(httpx.ASGITransport(self._app).handle_async_request(request))
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wait([called])
        except TimeoutError:
            called.cancel()
            raise httpx.ReadTimeout("no answer", request=request) from None
        if called.cancelled():
            raise httpx.RemoteProtocolError("cut off", request=request)
        return called.result()
