"""Making connections: several addresses, TLS with a given authority and a client certificate, a proxy."""

import asyncio
import base64
import contextlib
import os
import socket
import ssl
import time
from functools import partial
from typing import Any

import pytest

from agent.assure.http.messages import Broken, Unsent
from agent.assure.http.pool import Pool
from agent.platform.proxy import Proxy
from agent.platform.tls import tls_context
from tests.assure.conftest import HURRIED
from tests.assure.http.conftest import opened, request, serving
from tests.assure.http.identities import Identities

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def empty_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"{}")
        writer.write(EMPTY)
        await writer.drain()


def resolving(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Each name has these addresses. (The method of uvloop's class cannot be replaced.)"""

    async def resolve(loop: Any, host: str, port: int) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (*where, 0, 0))
            if ":" in where[0]
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", where)
            for where in addresses
        ]

    monkeypatch.setattr("agent.assure.http.dial._resolve", resolve)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


async def test_an_address_that_refuses_is_followed_by_the_next(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(empty_reply) as port:
        resolving(monkeypatch, ("::1", free_port()), ("127.0.0.1", free_port()), ("127.0.0.1", port))
        assert (await request(pool, "http://many.example")).status == 200


@contextlib.contextmanager
def full_backlog() -> Any:
    """An address that answers no SYN: its queue of connections is full."""
    with contextlib.ExitStack() as stack:
        deaf = stack.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(deaf.getsockname())
        yield deaf.getsockname()


async def test_an_address_that_is_silent_is_overtaken_by_the_next(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with full_backlog() as silent:
        async with serving(empty_reply) as port:
            resolving(monkeypatch, silent, ("127.0.0.1", port))
            assert (await request(pool, "http://many.example")).status == 200
    assert 0.2 < time.monotonic() - began < 15


async def test_of_several_failures_the_telling_one_is_reported(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ("fe80::1", 9), ("127.0.0.1", free_port()))
    with pytest.raises(Unsent, match="refused"):
        await request(pool, "http://many.example")


async def test_silent_addresses_are_a_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with full_backlog() as silent:
        resolving(monkeypatch, silent, silent)
        async with opened(connect=3 * HURRIED) as pool:
            with pytest.raises(Unsent, match="connect-timeout"):
                await request(pool, "http://many.example")


# TLS.


async def test_a_server_of_a_given_authority_is_accepted_and_named(identities: Identities) -> None:
    async with (
        serving(empty_reply, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        for _ in range(2):
            assert (await request(pool, f"https://localhost:{port}")).status == 200
    assert identities.names == ["localhost"], "one connection"


async def test_a_large_body_arrives_over_tls(identities: Identities) -> None:
    content = bytes(range(256)) * 40_000 + b"{}"
    taken: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        taken.append(await reader.readexactly(len(content)))
        writer.write(EMPTY)
        await writer.drain()
        await reader.read()

    async with (
        serving(take, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        assert (await request(pool, f"https://localhost:{port}", body=content)).status == 200
    assert taken == [content]


async def test_a_server_without_a_valid_name_is_unsent(identities: Identities) -> None:
    async with (
        serving(empty_reply, ssl=identities.server) as port,
        opened(tls=partial(tls_context, identities.authority)) as pool,
    ):
        with pytest.raises(Unsent, match="tls-ip-address-mismatch"):
            await request(pool, f"https://127.0.0.1:{port}")


async def test_a_client_certificate_is_presented(identities: Identities) -> None:
    identities.server.verify_mode = ssl.CERT_REQUIRED
    async with serving(empty_reply, ssl=identities.server) as port:
        async with opened(tls=partial(tls_context, identities.authority, identities.client)) as pool:
            assert (await request(pool, f"https://localhost:{port}")).status == 200
        async with opened(tls=partial(tls_context, identities.authority)) as pool:
            with pytest.raises((Unsent, Broken)):  # TLS 1.3: the server refuses after the client's handshake
                await request(pool, f"https://localhost:{port}")


async def test_the_alert_of_a_server_that_wants_a_certificate_is_reported(identities: Identities) -> None:
    """In TLS 1.3 it arrives after the request was written. OpenSSL's own sockets send it, asyncio's server does not."""
    identities.server.verify_mode = ssl.CERT_REQUIRED

    def refuse(listening: socket.socket) -> None:
        with (
            listening,
            identities.server.wrap_socket(listening.accept()[0], True, do_handshake_on_connect=False) as peer,
        ):
            with contextlib.suppress(ssl.SSLError):
                peer.do_handshake()
            plain = socket.socket(fileno=os.dup(peer.fileno()))
            with plain:
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(4096):  # unread bytes would reset the connection
                    pass

    listening = socket.create_server(("127.0.0.1", 0))
    url = f"https://localhost:{listening.getsockname()[1]}"
    refusing = asyncio.create_task(asyncio.to_thread(refuse, listening))
    async with opened(tls=partial(tls_context, identities.authority)) as pool:
        with pytest.raises((Unsent, Broken), match="certificate-required"):
            await request(pool, url)
    await refusing


# A proxy.


class ScriptedProxy:
    """Answers each CONNECT with `reply`; after a 200 it connects to `port` of this machine."""

    def __init__(
        self, port: int, reply: bytes = b"HTTP/1.1 200 Connection established\r\nX-Via: proxy\r\n\r\n"
    ) -> None:
        self.port = port
        self.reply = reply
        self.heads: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(self.reply)
        await writer.drain()
        if b" 200 " not in self.reply:
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            far_writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(65536):
        writer.write(part)
        await writer.drain()
    writer.write_eof() if writer.can_write_eof() else writer.close()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_request_goes_through_the_proxy(identities: Identities, secure: bool) -> None:
    async with serving(empty_reply, ssl=identities.server if secure else None) as port:
        proxy = ScriptedProxy(port)
        async with serving(proxy) as at:
            given = Proxy.of(f"http://user:pass%20word@127.0.0.1:{at}")
            async with opened(
                proxy_to=lambda host, port: given, tls=partial(tls_context, identities.authority)
            ) as pool:
                for _ in range(2):
                    reply = await request(pool, f"{'https' if secure else 'http'}://localhost:{port}")
                    assert reply.status == 200
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'user:pass word').decode()}\r\n" in head
    assert "pass" not in repr(given)


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "proxy-credentials"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n<h1>Log in</h1>", "proxy-credentials"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "proxy-refused"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy-gateway"),
        (b"HTTP/1.1 200 OK\r\n", "proxy-answer"),
        (b"garbage\r\n\r\n", "proxy-answer"),
        (b"", "proxy-answer"),
        (b"HTTP/1.1 204 " + b"x" * 100_000, "proxy-answer"),
    ],
)
async def test_what_fails_before_the_200_of_the_proxy_is_unsent(reply: bytes, cause: str) -> None:
    proxy = ScriptedProxy(9, reply.replace(b" 200 ", b" 299 "))
    async with serving(proxy) as at, opened(proxy_to=lambda host, port: Proxy("127.0.0.1", at)) as pool:
        with pytest.raises(Unsent, match=cause):
            await request(pool, "http://many.example")
        assert pool._free == 4
    assert len(proxy.heads) == 1


async def test_a_proxy_that_is_silent_or_refuses_is_unsent() -> None:
    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with serving(wait) as at, opened(proxy_to=lambda host, port: Proxy("127.0.0.1", at), connect=HURRIED) as pool:
        with pytest.raises(Unsent, match="proxy-connect-timeout"):
            await request(pool, "http://many.example")
    async with opened(proxy_to=lambda host, port: Proxy("127.0.0.1", free_port())) as pool:
        with pytest.raises(Unsent, match="proxy-connect-refused"):
            await request(pool, "http://many.example")


@pytest.mark.parametrize("url", ["https://a.example", "socks5://a.example", "http://", "nonsense"])
def test_a_proxy_that_is_not_supported_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected a URL such as http://"):
        Proxy.of(url)
