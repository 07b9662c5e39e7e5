"""Fixtures: a pool, a scripted server, and both event loops."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent.assure.http.messages import Body, Origin, Reply, Timeouts, Unsent, header_lines
from agent.assure.http.pool import Pool
from tests.assure.conftest import PATIENT
from tests.assure.http.identities import Identities
from tests.assure.scripted_server import ScriptedServer

LIMIT = 1000  # bytes of a body


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@asynccontextmanager
async def opened(
    connections: int = 4,
    connect: float = PATIENT,
    tls_seconds: float = PATIENT,
    send: float = PATIENT,
    read: float = PATIENT,
    **options: Any,
) -> AsyncIterator[Pool]:
    timeouts = Timeouts(connect=connect, tls=tls_seconds, send=send, read=read)
    pool = Pool(connections=connections, timeouts=timeouts, **options)
    try:
        yield pool
    finally:
        await pool.aclose()


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with opened() as made:
        yield made


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities(tmp_path)


async def request(
    pool: Pool, url: str, method: str = "POST", body: Body | None = None, limit: int = LIMIT, **headers: str
) -> Reply:
    """Send one request. Without `body`, a POST or PUT has the body `{}`."""
    origin = Origin.of(url)
    content = body if body is not None else b"" if method == "GET" else b"{}"
    return await pool.send(origin, method, "/path", header_lines(origin, headers), content, limit)


async def sent(pool: Pool, server: ScriptedServer, method: str = "POST", body: Body | None = None) -> Reply:
    return await request(pool, server.url, method, body)


async def sent_at_last(pool: Pool, server: ScriptedServer, body: Body | None = None) -> Reply:
    """As `sent`, over a pool with short timeouts: a request that was not sent is sent again."""
    while True:
        with suppress(Unsent):
            return await sent(pool, server, "POST", body)


@asynccontextmanager
async def serving(
    behaviour: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], **options: Any
) -> AsyncIterator[int]:
    """A server whose connections end with `behaviour`. Yields its port."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaviour(reader, writer)
        writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        running.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await server.wait_closed()


async def take_all(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 16):
        pass
