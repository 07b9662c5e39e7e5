"""The HTTP server of LISTEN and EVENTS_LISTEN: Starlette on uvicorn, in the agent's own event loop.

Access logs are off [I6]. `connection_limits.py` bounds the connections.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from agent.core.drop_reasons import Dropped
from agent.core.errors import SettingsError
from agent.web.api import not_found
from agent.web.connection_limits import ConnectionLimits

NotFound = Callable[[Request, Exception], Awaitable[Response]]


def application(routes: Sequence[BaseRoute], unknown: NotFound = not_found) -> Starlette:
    """An application of these routes. `unknown` answers any other path, and no path is redirected."""
    app = Starlette(routes=routes, exception_handlers={404: unknown})
    app.router.redirect_slashes = False  # a redirect would repeat the path, which may contain a name
    return app


_ANY_PORT = {"LISTEN": "--listen 127.0.0.1:0", "EVENTS_LISTEN": "ASSURE_AGENT_EVENTS_LISTEN=127.0.0.1:0"}
_BACKLOG = 2048  # connections that wait to be accepted, as in uvicorn
_USUAL = 256  # connections at once


@contextlib.asynccontextmanager
async def serve(
    app: Starlette,
    host: str,
    port: int,
    setting: str = "LISTEN",
    most: int = _USUAL,
    largest_body: Mapping[str, int] = MappingProxyType({}),
    dropped: Callable[[Dropped], None] = lambda reason: None,
) -> AsyncIterator[str]:
    """Serve while the block runs. Yields the URL. Port 0: a free port. Raises SettingsError if the port is in use.

    `most`, `largest_body` and `dropped`: see `ConnectionLimits`.
    """
    listener = bind_listener(host, port, setting)
    bounds = ConnectionLimits(most, largest_body, dropped)
    # No proxy headers: they could fake a loopback peer, which the status page trusts (design §11).
    config = uvicorn.Config(
        app,
        http=cast(Any, bounds.protocol),  # a factory of protocols, which uvicorn only calls
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve([listener]))
    try:
        await server.up.wait()
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task
        bounds.abort()  # connections of peers that have not read their answer
        listener.close()


class _Server(uvicorn.Server):
    """Uvicorn with an event for its start, and without signal handlers: the agent has its own."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and set `up`."""
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


def bind_listener(host: str, port: int, setting: str) -> socket.socket:
    """A socket that is bound to the address of a setting. Raises SettingsError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # IPPROTO_TCP, so that asyncio sets TCP_NODELAY on accepted connections.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # until then, another process may bind the same port
    except OSError as error:
        listener.close()
        hint = f"choose another port with {_ANY_PORT[setting]}, or stop the program that uses it"
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            hint = f"name an address of this machine, as in {_ANY_PORT[setting]}"
        raise SettingsError(
            f"ASSURE_AGENT_{setting}: {host}:{port} cannot be used ({error.strerror or error}).", hint
        ) from None
    return listener
