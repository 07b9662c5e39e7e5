"""Making a connection: DNS, TCP to the first address that answers, a proxy's CONNECT, TLS.

No byte of a request is written here. Each failure is Unsent, with the code of its cause.
"""

import asyncio
import itertools
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from agent.assure.http.connection import Connection
from agent.assure.http.messages import Origin, Timeouts, Unsent
from agent.platform.connection_errors import connect_refusal, connection_error_code, is_specific
from agent.platform.proxy import Proxy

_STAGGER: Final = 0.25  # seconds until the next address is tried as well (RFC 8305 §5)
_MAX_PROXY_HEAD: Final = 16 * 1024  # bytes
_TO_PROXY: Final = "proxy-connect-"  # until the tunnel is open, an error of the socket is one of the proxy
_PROXY_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")


async def dial(
    origin: Origin,
    timeouts: Timeouts,
    tls: Callable[[], ssl.SSLContext],
    proxy: Proxy | None,
    make: Callable[[socket.socket], Connection],
    connect_until: float,
) -> Connection:
    """Connect to `origin`. `tls` is called for a secure origin only. `connect_until` is a time of the loop."""
    loop = asyncio.get_running_loop()
    peer: socket.socket | None = None
    place, phase = ((proxy.host, proxy.port), _TO_PROXY) if proxy else ((origin.host, origin.port), "connect-")
    try:
        async with asyncio.timeout_at(connect_until):
            peer = await _connect(loop, *place)
            if proxy is not None:
                await _open_tunnel(loop, peer, proxy, origin)
        phase = "tls-"
        secured: dict[str, Any] = {"ssl": tls(), "server_hostname": origin.host} if origin.secure else {}
        used, peer = peer, None
        async with asyncio.timeout(timeouts.tls):
            return await _start_protocol(loop, used, make, secured)
    except TimeoutError as error:
        raise Unsent(f"{phase}timeout") from error
    except Unsent:
        raise
    except Exception as error:  # mostly OSError; an error of any kind leaves the request unsent
        raise Unsent((phase if phase == _TO_PROXY else "") + connection_error_code(error)) from error
    finally:
        if peer is not None:
            peer.close()


async def _start_protocol(
    loop: asyncio.AbstractEventLoop,
    peer: socket.socket,
    make: Callable[[socket.socket], Connection],
    secured: dict[str, Any],
) -> Connection:
    connection = make(peer)
    try:
        if secured:
            await _start_tls(loop, peer, connection, secured)
        else:
            await loop.create_connection(lambda: connection, sock=peer)
    except BaseException:
        connection.close()
        peer.close()
        raise
    return connection


async def _start_tls(
    loop: asyncio.AbstractEventLoop, peer: socket.socket, connection: Connection, secured: dict[str, Any]
) -> None:
    """Encrypt by a transport of its own, so that the bytes which the socket does not accept can be counted."""
    handshake = _Handshake()
    below, _ = await loop.create_connection(lambda: handshake, sock=peer)
    below.set_write_buffer_limits(high=0, low=0)
    encrypting = await loop.start_tls(below, handshake, secured["ssl"], server_hostname=secured["server_hostname"])
    if encrypting is None or handshake.disturbed:
        below.abort()
        raise Unsent("reset")
    encrypting.set_protocol(connection)
    connection.begin_over(encrypting, below)


class _Handshake(asyncio.Protocol):
    """Until the handshake is done, the server sends nothing and ends nothing."""

    disturbed = False

    def data_received(self, data: bytes) -> None:
        self.disturbed = True

    def connection_lost(self, error: Exception | None) -> None:
        self.disturbed = True


async def _connect(loop: asyncio.AbstractEventLoop, host: str, port: int) -> socket.socket:
    """The first socket that connects, of all addresses of a host. The families alternate (RFC 8305 §4)."""
    found = await _resolve(loop, host, port)
    first = [info for info in found if info[0] == found[0][0]]
    rest = [info for info in found if info[0] != found[0][0]]
    addresses = [info for pair in itertools.zip_longest(first, rest) for info in pair if info is not None]
    if len(addresses) == 1:
        return await _connect_to(loop, addresses[0])
    return await _race(loop, addresses)


async def _resolve(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[Any]:
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def _race(loop: asyncio.AbstractEventLoop, addresses: list[Any]) -> socket.socket:
    """Try the next address after a failure or after _STAGGER seconds. Raises the most specific error."""
    running: set[asyncio.Task[socket.socket]] = set()
    errors: list[OSError] = []
    waiting = list(reversed(addresses))
    won: asyncio.Task[socket.socket] | None = None
    try:
        while waiting or running:
            if waiting:
                running.add(loop.create_task(_connect_to(loop, waiting.pop())))
            done, _ = await asyncio.wait(
                running, timeout=_STAGGER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    won = attempt
                    return attempt.result()
                running.discard(attempt)
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(lambda ended: None if ended is won else _close_result(ended))
    raise max(errors, key=lambda error: is_specific(connection_error_code(error)))


def _close_result(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect_to(loop: asyncio.AbstractEventLoop, address: Any) -> socket.socket:
    family, kind, protocol, _, where = address
    peer = socket.socket(family, kind, protocol)
    try:
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(peer, where)
    except BaseException:
        peer.close()
        raise
    return peer


async def _open_tunnel(loop: asyncio.AbstractEventLoop, peer: socket.socket, proxy: Proxy, origin: Origin) -> None:
    """Send CONNECT, and read the head of the proxy's answer. Raises Unsent unless it is a 2xx."""
    lines = [f"CONNECT {origin.authority} HTTP/1.1", f"Host: {origin.authority}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(peer, "\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        received = await loop.sock_recv(peer, 4096)
        head += received
        if not received or len(head) > _MAX_PROXY_HEAD:
            raise Unsent("proxy-answer")
    status = _PROXY_STATUS.match(head)
    if status is None:
        raise Unsent("proxy-answer")
    if (failure := connect_refusal(int(status[1]))) is not None:  # a page for people may follow the head
        raise Unsent(failure)
    if not head.endswith(b"\r\n\r\n"):  # the server behind the proxy sends nothing by itself
        raise Unsent("proxy-answer")
