"""The failure table: what the transport says, row by row, and that it sends each request once (I2)."""

import asyncio
import contextlib
import gzip
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

from agent.assure.http.messages import MAX_INTERIM_RESPONSES, Broken, Oversized, Silent, Unsent
from agent.assure.http.pool import Pool
from tests.assure.conftest import HURRIED, PATIENT
from tests.assure.http.conftest import opened, request, sent, sent_at_last
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


async def test_a_refused_connection_is_a_connect_error(pool: Pool) -> None:
    async with ScriptedServer() as gone:
        pass
    with pytest.raises(Unsent):
        await sent(pool, gone)


async def test_an_unknown_host_was_never_reached() -> None:
    async with opened(connect=HURRIED) as pool:
        with pytest.raises(Unsent, match=r"dns|connect-timeout"):  # by how fast the resolver gives up
            await request(pool, "http://nowhere.invalid")


async def test_a_failed_tls_handshake_is_a_connect_error(pool: Pool, server: ScriptedServer) -> None:
    nonsense = await asyncio.start_server(_hang_up_with_nonsense, "127.0.0.1", 0)
    port = nonsense.sockets[0].getsockname()[1]
    with pytest.raises(Unsent):
        await request(pool, f"https://127.0.0.1:{port}")
    nonsense.close()
    await nonsense.wait_closed()


async def _hang_up_with_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 This is not TLS\r\n\r\n")
    writer.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command to make a certificate")
async def test_an_untrusted_certificate_is_a_connect_error(pool: Pool, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    making = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*making, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    vain = await asyncio.start_server(_hang_up_with_nonsense, "127.0.0.1", 0, ssl=context)
    port = vain.sockets[0].getsockname()[1]
    with pytest.raises(Unsent, match="tls-self-signed-certificate"):
        await request(pool, f"https://127.0.0.1:{port}")
    vain.close()
    await vain.wait_closed()


async def test_a_handshake_that_never_ends_is_a_connect_timeout() -> None:
    with socket.socket() as deaf:  # accepts into the backlog, and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/"
        async with opened(tls_seconds=HURRIED) as pool:
            with pytest.raises(Unsent, match="tls-timeout"):
                await request(pool, url)


async def test_waiting_for_the_pool_is_a_connect_timeout_and_sends_nothing(server: ScriptedServer) -> None:
    server.will(silence)
    async with opened(connections=1, connect=HURRIED) as pool:
        first = asyncio.create_task(sent_at_last(pool, server))
        await delivered(server)
        with pytest.raises(Unsent):
            await sent(pool, server)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert len(server.deliveries) == 1


@pytest.mark.parametrize("ending", [hang_up, reset])
@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_request_that_was_read_and_dropped_is_delivered_once(
    pool: Pool, server: ScriptedServer, ending: Callable[..., Awaitable[None]], method: str, reused: bool
) -> None:
    """aiohttp sends GET and PUT a second time on a connection that it kept alive (I2)."""
    if reused:
        server.will(answer(200))
        await sent(pool, server, method)
    with pytest.raises(Broken):
        await sent(pool, server.will(ending, answer(200)), method)
    assert len(server.deliveries) == 1 + reused
    assert {delivery.connection for delivery in server.deliveries} == {0}


async def test_the_test_above_would_notice_a_silent_resend(server: ScriptedServer) -> None:
    """With aiohttp the same script ends in a second delivery."""
    server.will(answer(200), hang_up, answer(200))
    async with aiohttp.ClientSession() as stock:
        for _ in range(2):
            async with stock.get(f"{server.url}/path") as response:
                await response.read()
    assert len(server.deliveries) == 3


async def test_no_answer_is_a_read_timeout(server: ScriptedServer) -> None:
    async with opened(read=HURRIED) as pool:
        with pytest.raises(Silent):
            await sent(pool, server.will(silence))
    await delivered(server)
    assert len(server.deliveries) == 1


async def test_an_answer_that_drips_is_a_read_timeout(server: ScriptedServer) -> None:
    """Each byte comes in time, and the answer never."""
    async with opened(connect=HURRIED, send=HURRIED, read=HURRIED) as pool:
        with pytest.raises(Silent):
            await sent_at_last(pool, server.will(drip(200, b"x" * 1000, every=0.02)))


async def test_headers_that_drip_are_a_read_timeout(server: ScriptedServer) -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: and more\r\n")
            await asyncio.sleep(0.05)

    async with opened(connect=HURRIED, send=HURRIED, read=HURRIED) as pool:
        with pytest.raises(Silent):
            await sent_at_last(pool, server.will(play))


@pytest.mark.parametrize(
    "broken",
    [
        cut(200, b'{"a":', declared=100),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nContent-Le", hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", hang_up=True),
        raw(b"<html>no HTTP at all</html>", hang_up=True),
    ],
)
async def test_a_broken_answer_is_a_protocol_error(pool: Pool, server: ScriptedServer, broken: object) -> None:
    with pytest.raises(Broken):
        await sent(pool, server.will(broken))  # type: ignore[arg-type]
    assert len(server.deliveries) == 1


@pytest.mark.parametrize(
    "large",
    [
        answer(200, b"x" * 1001),
        cut(200, b"", declared=10**15),
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"3e8\r\n" + b"x" * 1000 + b"\r\n1\r\nx\r\n"),
        raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, hang_up=True),
        raw(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000 + b"\r\n\r\n", hang_up=True),
    ],
)
async def test_an_answer_over_the_limit_is_not_read(pool: Pool, server: ScriptedServer, large: object) -> None:
    with pytest.raises(Oversized):
        await sent(pool, server.will(large, answer(200)))  # type: ignore[arg-type]
    assert (await sent(pool, server)).body == b"", "the rest of one answer is never the next one"


async def test_the_limit_is_inclusive(pool: Pool, server: ScriptedServer) -> None:
    assert len((await sent(pool, server.will(answer(200, b"x" * 1000)))).body) == 1000


async def test_nothing_is_decompressed(pool: Pool, server: ScriptedServer) -> None:
    bomb = gzip.compress(b"x" * 100_000)
    response = await sent(pool, server.will(answer(200, bomb, {"Content-Encoding": "gzip"})))
    assert response.body == bomb


async def test_redirects_are_answers_and_cookies_are_forgotten(pool: Pool, server: ScriptedServer) -> None:
    elsewhere = {"Location": f"{server.url}/elsewhere", "Set-Cookie": "a=b; Path=/"}
    for _ in range(2):
        assert (await sent(pool, server.will(answer(302, b"", elsewhere)), "GET")).status == 302
    assert server.lines == ["GET /path"] * 2
    assert "cookie" not in server.deliveries[1].headers


async def test_proxies_of_the_environment_are_not_used(
    pool: Pool, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await sent(pool, server.will(answer(200)))).status == 200


async def test_only_our_own_headers_are_sent(pool: Pool, server: ScriptedServer) -> None:
    await sent(pool, server.will(answer(200)))
    assert set(server.deliveries[0].headers) == {"host", "content-length"}


LARGE = bytes(range(256)) * 80_000  # 20 MB, more than the buffers between us hold


async def test_a_large_body_arrives_as_it_is(pool: Pool, server: ScriptedServer) -> None:
    response = await sent(pool, server.will(answer(201)), body=LARGE)
    assert response.status == 201
    assert server.deliveries[0].body == LARGE


async def test_the_timeout_does_not_run_while_the_body_is_sent(server: ScriptedServer) -> None:
    server.pause = PATIENT  # the server takes the head, and nothing of what follows
    async with opened(connect=HURRIED, send=HURRIED, read=HURRIED) as pool:
        sending = asyncio.create_task(sent_at_last(pool, server, LARGE))
        await asyncio.sleep(4 * HURRIED)
        assert not sending.done()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_early_hints_are_skipped(pool: Pool, server: ScriptedServer) -> None:
    hints = raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert (await sent(pool, server.will(hints))).body == b"{}"


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
    pool: Pool, server: ScriptedServer, kind: str
) -> None:
    """The result is unknown: the request was sent."""
    with pytest.raises(Broken if kind in ("100", "102", "103") else Oversized):
        await sent(pool, server.will(ENDLESS[kind], answer(200)))
    assert (await sent(pool, server)).status == 200
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_as_many_interim_answers_as_allowed_are_skipped(pool: Pool, server: ScriptedServer) -> None:
    interim = b"HTTP/1.1 102 Processing\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert (await sent(pool, server.will(raw(interim * MAX_INTERIM_RESPONSES + final)))).body == b"{}"


async def test_more_answers_than_requests_are_not_parsed(pool: Pool, server: ScriptedServer) -> None:
    extra = endless(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with contextlib.suppress(Broken):
        assert (await sent(pool, server.will(extra, answer(204)))).status == 200
    assert (await sent(pool, server)).status == 204
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_cancelling_a_request_closes_its_connection(server: ScriptedServer) -> None:
    async with opened(connections=1) as pool:
        waiting = asyncio.create_task(sent(pool, server.will(silence, answer(200))))
        await delivered(server)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await sent(pool, server)
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_after_closing_nothing_is_sent(pool: Pool, server: ScriptedServer) -> None:
    await pool.aclose()
    with pytest.raises(Unsent):
        await sent(pool, server)
    assert server.deliveries == []


async def test_closing_ends_what_is_in_flight(pool: Pool, server: ScriptedServer) -> None:
    waiting = asyncio.create_task(sent(pool, server.will(silence)))
    await delivered(server)
    await pool.aclose()
    with pytest.raises(Broken):
        await waiting
