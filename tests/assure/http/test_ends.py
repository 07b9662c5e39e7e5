"""The end of a connection during an exchange: over TLS, during an upload, by a reset, by a cancellation."""

import asyncio
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from agent.assure.http.messages import Broken, Pieces, Unsent
from agent.assure.http.pool import Pool
from agent.platform.proxy import Proxy
from agent.platform.tls import tls_context
from tests.assure.http.conftest import opened, request, serving, take_all
from tests.assure.http.identities import Identities

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"
LARGE = 20_000_000  # bytes, more than the buffers between client and server hold

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def replying(data: bytes, *, notify: bool) -> Serve:
    """Send these bytes and end the stream, over TLS with or without a close notification."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(data)
        await writer.drain()
        if notify:
            writer.close()
            await writer.wait_closed()
        else:
            with socket.fromfd(writer.get_extra_info("socket").fileno(), socket.AF_INET, socket.SOCK_STREAM) as peer:
                peer.shutdown(socket.SHUT_WR)
            await take_all(reader)

    return serve


async def test_a_body_without_a_length_ends_with_the_close_notification_of_tls(identities: Identities) -> None:
    serve = replying(OK + b"\r\nabc", notify=True)
    async with (
        serving(serve, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        assert (await request(pool, f"https://localhost:{port}")).body == b"abc"


async def test_without_that_notification_anyone_could_have_cut_the_body(identities: Identities) -> None:
    """RFC 9112 §9.8. The end of the TCP stream is not authenticated."""
    serve = replying(OK + b"\r\nabc", notify=False)
    async with (
        serving(serve, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        with pytest.raises(Broken) as failed:
            await request(pool, f"https://localhost:{port}")
    assert failed.value.status == 200


async def test_a_body_with_a_length_needs_no_notification(identities: Identities) -> None:
    serve = replying(OK + b"Content-Length: 3\r\n\r\nabc", notify=False)
    async with (
        serving(serve, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        for _ in range(2):
            assert (await request(pool, f"https://localhost:{port}")).body == b"abc"
            await asyncio.sleep(0.05)  # until the end is seen


# Uploads.


class Produced:
    """A body in pieces of 100 kB, and the number of pieces that were produced."""

    def __init__(self) -> None:
        self.count = 0

    def body(self) -> Pieces:
        return Pieces(LARGE, self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(LARGE // 100_000):
            self.count += 1
            yield bytes(100_000)


async def test_an_early_reply_over_tls_ends_the_upload_and_its_connection(identities: Identities) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await writer.drain()
        await asyncio.sleep(60)

    produced = Produced()
    async with (
        serving(refuse, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        for _ in range(2):
            reply = await request(pool, f"https://localhost:{port}", body=produced.body())
            assert (reply.status, reply.body) == (413, b"too large")
    assert len(heads) == 2, "each upload has a connection of its own"
    assert produced.count < 2 * LARGE // 100_000, "the rest was not produced"


async def test_pieces_are_produced_over_tls_as_the_server_takes_them(identities: Identities) -> None:
    produced, taken = Produced(), 0
    taking = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        await reader.readuntil(b"\r\n\r\n")
        await taking.wait()
        while taken < LARGE:
            taken += len(await reader.read(1 << 16))
        writer.write(EMPTY)
        await writer.drain()
        await take_all(reader)

    async with (
        serving(take, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        sending = asyncio.create_task(request(pool, f"https://localhost:{port}", body=produced.body()))
        while produced.count == 0 and not sending.done():
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        assert produced.count < 150, "the server has not read anything"
        taking.set()
        assert (await sending).status == 200
    assert taken == LARGE


async def test_after_a_reset_no_more_of_an_upload_is_produced_or_written(
    caplog: pytest.LogCaptureFixture, pool: Pool
) -> None:
    """The loop has not reported the reset when the upload begins."""
    produced = Produced()
    loop = asyncio.get_running_loop()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        waiting = asyncio.create_task(request(pool, url))
        peer, _ = await loop.sock_accept(listener)
        await loop.sock_recv(peer, 1000)
        await loop.sock_sendall(peer, EMPTY)
        await waiting
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with caplog.at_level(logging.WARNING, "asyncio"), pytest.raises(Broken):
            await request(pool, url, body=produced.body())
    assert produced.count <= 2
    assert caplog.records == []


async def test_a_cancelled_upload_ends_its_connection(pool: Pool) -> None:
    produced = Produced()
    received: list[int] = []
    ended = asyncio.Event()

    async def take_some(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        received.append(len(await reader.readexactly(1_000_000)))
        with suppress(ConnectionError):
            while part := await reader.read(1 << 16):
                received.append(len(part))
                await asyncio.sleep(0.01)
        ended.set()

    async with serving(take_some) as port:
        sending = asyncio.create_task(request(pool, f"http://127.0.0.1:{port}", body=produced.body()))
        while not received and not sending.done():
            await asyncio.sleep(0.01)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        made = produced.count
        await ended.wait()
        assert produced.count == made < LARGE // 100_000
        assert sum(received) < LARGE
        assert (pool._free, pool._open) == (4, {})


# A proxy.


async def test_a_call_that_is_cancelled_during_connect_leaves_no_socket() -> None:
    ended = asyncio.Event()
    asked = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await take_all(reader)
        ended.set()

    async with serving(wait) as at, opened(proxy_to=lambda host, port: Proxy("127.0.0.1", at)) as pool:
        waiting = asyncio.create_task(request(pool, "http://many.example"))
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await ended.wait()
        assert (pool._free, pool._open, pool._dialing) == (4, {}, {})


async def test_a_tls_failure_behind_a_proxy_is_unsent(identities: Identities) -> None:
    """The proxy answers 200, and its tunnel ends in a server that speaks no TLS."""

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read(10)
        writer.write(b"this is not TLS")
        await writer.drain()

    async with (
        serving(nonsense) as at,
        opened(
            proxy_to=lambda host, port: Proxy("127.0.0.1", at), tls=partial(tls_context, identities.authority)
        ) as pool,
    ):
        with pytest.raises(Unsent, match="tls-"):
            await request(pool, "https://localhost:1")
        assert pool._free == 4
