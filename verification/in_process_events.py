"""The endpoint for Assure Events without sockets: a call of the application that the agent would serve.

The work on an event belongs to the agent and ends with it. An event without an answer comes again, as from any sender.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp

SECRET = "proof-of-events"
URL = "http://127.0.0.1:2/events"
_NAME = "EVENTS_LISTEN"


class InProcessEventEndpoint(httpx.AsyncBaseTransport):
    """Open while an agent listens. `serving` replaces the function that listens on ports."""

    def __init__(self, timeout: float = 10.0) -> None:
        self._timeout = timeout
        self._app: ASGIApp | None = None

    @contextlib.asynccontextmanager
    async def serving(
        self, app: ASGIApp, host: str, port: int, name: str = "", *_: object, **__: object
    ) -> AsyncIterator[str]:
        """Serve events, and none of the other applications."""
        if name != _NAME:
            yield ""
            return
        async with self._serving(app):
            yield URL

    @contextlib.asynccontextmanager
    async def _serving(self, app: ASGIApp) -> AsyncIterator[None]:
        self._app = app
        try:
            yield
        finally:
            if self._app is app:
                self._app = None

    def close_endpoint(self) -> None:
        """Close the endpoint of a dead agent."""
        self._app = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application in a task of the agent, with the timeout of a real sender."""
        if (called := self._call(request)) is None:
            raise httpx.ConnectError("no listener")
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wait([called])
        except TimeoutError:
            called.cancel()
            raise httpx.ReadTimeout("no answer", request=request) from None
        if called.cancelled():
            raise httpx.RemoteProtocolError("cut off", request=request)
        return called.result()

    def _call(self, request: httpx.Request) -> "asyncio.Task[httpx.Response] | None":
        """The call of an application that listens."""
        return None if self._app is None else self._create(self._app, request)

    @staticmethod
    def _create(app: ASGIApp, request: httpx.Request) -> "asyncio.Task[httpx.Response]":
        return asyncio.get_running_loop().create_task(httpx.ASGITransport(app).handle_async_request(request))
