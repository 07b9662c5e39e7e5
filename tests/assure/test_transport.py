"""The failure table of the transport, row by row. Each request is sent once (I2)."""

import asyncio
import contextlib
import gzip
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import httpx
import pytest

from agent.assure.transport import BODY_LIMIT, Oversized, Transport, forbid_resend
from agent.platform.http_connector import MAX_INTERIM_RESPONSES, BoundedConnector
from tests.assure.scripted_server import (
    ScriptedServer,
    answer,
    cut,
    delivered,
    drip,
    endless,
    hang_up,
    raw,
    reset,
    silence,
)

from .conftest import HURRIED, PATIENT


@asynccontextmanager
async def transport(connections: int = 4, connect: float = PATIENT, read: float = PATIENT) -> AsyncIterator[Transport]:
    made = Transport(connect_timeout=connect, read_timeout=read, connections=connections)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
async def thin() -> AsyncIterator[Transport]:
    async with transport() as made:
        yield made


def request(
    server: ScriptedServer, method: str = "POST", body: bytes | None = b"{}", limit: int = 1000
) -> httpx.Request:
    return httpx.Request(method, f"{server.url}/path", content=body, extensions={BODY_LIMIT: limit})


async def sent(thin: Transport, server: ScriptedServer, method: str = "POST") -> httpx.Response:
    response = await thin.handle_async_request(request(server, method, None if method == "GET" else b"{}"))
    await response.aread()
    return response


async def sent_at_last(thin: Transport, server: ScriptedServer, body: bytes = b"{}") -> httpx.Response:
    """As `sent`, over a transport with short timeouts. Without a connection nothing was sent, so it is sent again."""
    while True:
        with suppress(httpx.ConnectTimeout):
            return await thin.handle_async_request(request(server, body=body))


async def test_a_refused_connection_is_a_connect_error(thin: Transport) -> None:
    async with ScriptedServer() as gone:
        pass
    with pytest.raises(httpx.ConnectError):
        await sent(thin, gone)


async def test_an_unknown_host_was_never_reached() -> None:
    async with transport(connect=HURRIED) as thin:
        with pytest.raises((httpx.ConnectError, httpx.ConnectTimeout)):  # by how fast the resolver gives up
            await thin.handle_async_request(httpx.Request("POST", "http://nowhere.invalid/", content=b"{}"))


async def test_a_failed_tls_handshake_is_a_connect_error(thin: Transport, server: ScriptedServer) -> None:
    nonsense = await asyncio.start_server(_hang_up_with_nonsense, "127.0.0.1", 0)
    port = nonsense.sockets[0].getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        await thin.handle_async_request(httpx.Request("POST", f"https://127.0.0.1:{port}/", content=b"{}"))
    nonsense.close()
    await nonsense.wait_closed()


async def _hang_up_with_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 This is not TLS\r\n\r\n")
    writer.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
async def test_an_untrusted_certificate_is_a_connect_error(thin: Transport, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*making, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    vain = await asyncio.start_server(_hang_up_with_nonsense, "127.0.0.1", 0, ssl=context)
    port = vain.sockets[0].getsockname()[1]
    with pytest.raises(httpx.ConnectError, match="Certificate"):
        await thin.handle_async_request(httpx.Request("POST", f"https://127.0.0.1:{port}/", content=b"{}"))
    vain.close()
    await vain.wait_closed()


async def test_a_handshake_that_never_ends_is_a_connect_timeout() -> None:
    with socket.socket() as deaf:  # accepts into the backlog, and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
        async with transport(connect=HURRIED) as thin:
            with pytest.raises(httpx.ConnectTimeout):
                await thin.handle_async_request(httpx.Request("POST", url, content=b"{}"))


async def test_waiting_for_the_pool_is_a_connect_timeout_and_sends_nothing(server: ScriptedServer) -> None:
    server.will(silence)
    async with transport(connections=1, connect=HURRIED) as thin:
        first = asyncio.create_task(sent_at_last(thin, server))
        await delivered(server)
        with pytest.raises(httpx.ConnectTimeout):
            await sent(thin, server)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert len(server.deliveries) == 1


@pytest.mark.parametrize("ending", [hang_up, reset])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_request_that_was_read_and_dropped_is_delivered_once(
    thin: Transport, server: ScriptedServer, ending: Callable[..., Awaitable[None]], method: str, reused: bool
) -> None:
    """aiohttp would send GET and PUT a second time on a connection that it kept alive (I2)."""
    if reused:
        server.will(answer(200))
        await sent(thin, server, method)
    with pytest.raises(httpx.RemoteProtocolError):
        await sent(thin, server.will(ending, answer(200)), method)
    assert len(server.deliveries) == 1 + reused
    assert {delivery.connection for delivery in server.deliveries} == {0}


async def test_the_test_above_would_notice_a_silent_resend(server: ScriptedServer) -> None:
    """With aiohttp's switch on, the same script ends in a second delivery."""
    server.will(answer(200), hang_up, answer(200))
    async with aiohttp.ClientSession() as stock:
        for _ in range(2):
            async with stock.get(f"{server.url}/path") as response:
                await response.read()
    assert len(server.deliveries) == 3


def test_an_aiohttp_without_the_switch_is_refused() -> None:
    with pytest.raises(RuntimeError, match="resend"):
        forbid_resend(object())  # type: ignore[arg-type]


async def test_no_answer_is_a_read_timeout(server: ScriptedServer) -> None:
    async with transport(read=HURRIED) as thin:
        with pytest.raises(httpx.ReadTimeout):
            await sent(thin, server.will(silence))
    await delivered(server)
    assert len(server.deliveries) == 1


async def test_an_answer_that_drips_is_a_read_timeout(server: ScriptedServer) -> None:
    """Each byte comes in time, but the answer never ends."""
    async with transport(connect=HURRIED, read=HURRIED) as thin:
        with pytest.raises(httpx.ReadTimeout):
            await sent_at_last(thin, server.will(drip(200, b"x" * 1000, every=0.02)))


async def test_headers_that_drip_are_a_read_timeout(server: ScriptedServer) -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: and more\r\n")
            await asyncio.sleep(0.05)

    async with transport(connect=HURRIED, read=HURRIED) as thin:
        with pytest.raises(httpx.ReadTimeout):
            await sent_at_last(thin, server.will(play))


@pytest.mark.parametrize(
    "broken",
    [
        cut(200, b'{"a":', declared=100),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nContent-Le", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", hang_up=True),
        raw(b"<html>no HTTP at all</html>", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n", hang_up=True),
    ],
)
async def test_a_broken_answer_is_a_protocol_error(thin: Transport, server: ScriptedServer, broken: object) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await sent(thin, server.will(broken))  # type: ignore[arg-type]
    assert len(server.deliveries) == 1


@pytest.mark.parametrize(
    "large",
    [
        answer(200, b"x" * 1001),
        cut(200, b"", declared=10**15),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, hang_up=True),
    ],
)
async def test_an_answer_over_the_limit_is_not_read(thin: Transport, server: ScriptedServer, large: object) -> None:
    with pytest.raises(Oversized):
        await sent(thin, server.will(large, answer(200)))  # type: ignore[arg-type]
    assert (await sent(thin, server)).content == b"", "the rest of one answer is never the next one"


async def test_the_limit_is_inclusive(thin: Transport, server: ScriptedServer) -> None:
    assert len((await sent(thin, server.will(answer(200, b"x" * 1000)))).content) == 1000


async def test_nothing_is_decompressed(thin: Transport, server: ScriptedServer) -> None:
    bomb = gzip.compress(b"x" * 100_000)
    response = await sent(thin, server.will(answer(200, bomb, {"Content-Encoding": "gzip"})))
    assert response.content == bomb


async def test_redirects_are_answers_and_cookies_are_forgotten(thin: Transport, server: ScriptedServer) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere", "Set-Cookie": "a=b; Path=/"}
    async with httpx.AsyncClient(transport=thin) as client:
        for _ in range(2):
            server.will(answer(302, b"", elsewhere))
            response = await client.get(f"{server.url}/here")
            assert response.status_code == 302
            assert not client.cookies
    assert server.lines == ["GET /here"] * 2
    assert "cookie" not in server.deliveries[1].headers


async def test_proxies_of_the_environment_are_not_used(
    thin: Transport, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await sent(thin, server.will(answer(200)))).status_code == 200


async def test_only_the_agents_own_headers_are_sent(thin: Transport, server: ScriptedServer) -> None:
    await sent(thin, server.will(answer(200)))
    assert set(server.deliveries[0].headers) == {"host", "content-length"}


LARGE = bytes(range(256)) * 80_000  # 20 MB, more than the buffers between us hold


async def test_a_large_body_arrives_as_it_is(thin: Transport, server: ScriptedServer) -> None:
    response = await thin.handle_async_request(request(server.will(answer(201)), body=LARGE))
    assert response.status_code == 201
    assert server.deliveries[0].body == LARGE


async def test_the_timeout_does_not_run_while_the_body_is_sent(server: ScriptedServer) -> None:
    server.pause = PATIENT  # the server takes the head, and nothing of what follows
    async with transport(connect=HURRIED, read=HURRIED) as thin:
        sending = asyncio.create_task(sent_at_last(thin, server, LARGE))
        await asyncio.sleep(4 * HURRIED)
        assert not sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_early_hints_are_skipped(thin: Transport, server: ScriptedServer) -> None:
    hints = raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert (await sent(thin, server.will(hints))).content == b"{}"


ENDLESS = {
    "100": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "102": endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "103": endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "headers": endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: a\r\n"),
    "value": endless(b"HTTP/1.1 200 OK\r\nX-Header: ", b"a"),
    "interim headers": endless(b"HTTP/1.1 103 Early Hints\r\n", b"X-Header: a\r\n"),
    "trailers": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Trailer: a\r\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_endless_head_is_a_protocol_error_and_not_read_on(
    thin: Transport, server: ScriptedServer, kind: str
) -> None:
    """The request was sent, so it may have had an effect. The transport reads a few slices of the answer."""
    with pytest.raises(httpx.RemoteProtocolError):
        await sent(thin, server.will(ENDLESS[kind], answer(200)))
    assert (await sent(thin, server)).status_code == 200
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_as_many_interim_answers_as_allowed_are_skipped(thin: Transport, server: ScriptedServer) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert (await sent(thin, server.will(raw(interim * MAX_INTERIM_RESPONSES + final)))).content == b"{}"


async def test_more_answers_than_requests_are_not_parsed(thin: Transport, server: ScriptedServer) -> None:
    extra = endless(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with contextlib.suppress(httpx.RemoteProtocolError):
        assert (await sent(thin, server.will(extra, answer(204)))).status_code == 200
    assert (await sent(thin, server)).status_code == 204
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


def test_an_aiohttp_without_the_factory_is_refused() -> None:
    class Changed(BoundedConnector):
        def __getattribute__(self, name: str) -> object:
            if name == "_factory":
                raise AttributeError(name)
            return super().__getattribute__(name)

    async def make() -> None:
        Changed()

    with pytest.raises(RuntimeError, match="protocol factory"):
        asyncio.run(make())


async def test_cancelling_a_request_closes_its_connection(server: ScriptedServer) -> None:
    async with transport(connections=1) as thin:
        waiting = asyncio.create_task(sent(thin, server.will(silence, answer(200))))
        await delivered(server)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await sent(thin, server)
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_after_closing_nothing_is_sent(thin: Transport, server: ScriptedServer) -> None:
    await thin.aclose()
    with pytest.raises(httpx.ConnectError):
        await sent(thin, server)
    assert server.deliveries == []


async def test_closing_ends_what_is_in_flight(thin: Transport, server: ScriptedServer) -> None:
    waiting = asyncio.create_task(sent(thin, server.will(silence)))
    await delivered(server)
    await thin.aclose()
    with pytest.raises(httpx.RemoteProtocolError):
        await waiting
