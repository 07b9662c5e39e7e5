"""A TCP proxy between the agent and the sandbox, with the troubles of connections.

It reads each request completely before it forwards it, and each reply before it changes it, so each fault determines if
the call acts. The faults are drawn from a seed, in the order of the requests.
"""

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Self
from urllib.parse import urlsplit

from agent.assure.http.messages import MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES

_EARLY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
_FALSE_REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
_INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
_STALL = 30.0  # seconds, longer than the agent waits


class _End(Exception):
    """The connection to the agent ends with a TCP reset."""


@dataclass(slots=True)
class Exchange:
    """A request whose head was read. `forward` sends it to the sandbox and returns the reply."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: bytes
    port: int
    chance: Random

    async def body(self) -> bytes:
        return await self.reader.readexactly(_length(self.head))

    async def forward(self) -> bytes:
        """Raises IncompleteReadError or OSError if the sandbox itself cuts its reply."""
        body = await self.body()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(self.head + body)
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(_length(head))
        finally:
            writer.close()

    async def send(self, *parts: bytes, pause: float = 0.0) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            await asyncio.sleep(pause)

    async def finish(self) -> None:
        """End the stream with a FIN, and read what the agent still sends."""
        self.writer.write_eof()
        while await self.reader.read(1 << 16):
            pass


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _pieces(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[at : at + size] for at in range(0, len(stream), size))


async def _faultless(exchange: Exchange) -> None:
    await exchange.send(await exchange.forward())


async def _reset_in_request(exchange: Exchange) -> None:
    """Reset before the last byte of the request was read. The call does not act."""
    await exchange.reader.readexactly(max(0, _length(exchange.head) - 1))
    raise _End


async def _reset_before(exchange: Exchange) -> None:
    """Reset after the last byte of the request. The call does not act."""
    await exchange.body()
    raise _End


async def _reset_after(exchange: Exchange) -> None:
    await exchange.forward()
    raise _End


async def _cut_reply(exchange: Exchange) -> None:
    reply = await exchange.forward()
    await exchange.send(reply[: exchange.chance.randrange(len(reply))])
    if exchange.chance.random() < 0.5:
        await exchange.finish()
    raise _End


async def _early_reply(exchange: Exchange) -> None:
    """Answer as soon as the head was read. The call does not act."""
    await exchange.send(_EARLY)
    await exchange.finish()


async def _stalled_reply(exchange: Exchange) -> None:
    """Send a part of the reply, or nothing, and wait until the agent gives up."""
    reply = await exchange.forward()
    await exchange.send(reply[: exchange.chance.choice((0, 10, len(reply) - 1))])
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(exchange.reader.read(1), _STALL)
    raise _End


async def _closed_as_used(exchange: Exchange) -> None:
    """Keep the connection alive, and reset it at the first byte of the next request, which does not act."""
    await exchange.send(await exchange.forward())
    await exchange.reader.read(1)
    raise _End


async def _closed_idle(exchange: Exchange) -> None:
    """Close the connection shortly after the reply. The next request may meet the end."""
    await exchange.send(await exchange.forward())
    await asyncio.sleep(exchange.chance.uniform(0.0, 0.02))
    raise _End


async def _second_reply(exchange: Exchange) -> None:
    """A false reply in the same packet. The agent must never take it for the reply to its next request."""
    await exchange.send(await exchange.forward() + _FALSE_REPLY)


async def _garbage_after(exchange: Exchange) -> None:
    reply = await exchange.forward()
    await exchange.send(reply, b"\0garbage", pause=exchange.chance.choice((0.0, 0.005)))


async def _interim_replies(exchange: Exchange) -> None:
    await exchange.send(_INTERIM * 3 + await exchange.forward())


async def _interim_flood(exchange: Exchange) -> None:
    """More interim replies than the agent reads, before a reply."""
    await exchange.send(_INTERIM * (MAX_INTERIM_RESPONSES + 1) + await exchange.forward())


async def _without_length(exchange: Exchange) -> None:
    """A complete reply whose body ends with the connection."""
    head, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    await exchange.send(b"\r\n".join([*lines, b"Connection: close", b"", body]))
    await exchange.finish()


async def _chunked(exchange: Exchange) -> None:
    """A complete reply in chunks of a few bytes."""
    head, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    if b" 204 " not in head[:16]:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in _pieces(body, 20)) + b"0\r\n\r\n"
    await exchange.send(b"\r\n".join([*lines, b"", body]))


async def _dripping(exchange: Exchange) -> None:
    await exchange.send(*_pieces(await exchange.forward(), 50), pause=0.001)


async def _slow_reading(exchange: Exchange) -> None:
    """Leave the body of the request in the socket for a while, which stops the upload."""
    await asyncio.sleep(exchange.chance.choice((0.05, 0.2)))
    await _faultless(exchange)


async def _endless_head(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n")


async def _huge_length(exchange: Exchange) -> None:
    await exchange.forward()
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % 10**15)


FAULTS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "reset in the request": _reset_in_request,
    "reset after the request": _reset_before,
    "reset before the reply": _reset_after,
    "cut reply": _cut_reply,
    "early reply": _early_reply,
    "stalled reply": _stalled_reply,
    "closed as it is used": _closed_as_used,
    "closed while idle": _closed_idle,
    "second reply": _second_reply,
    "garbage after a reply": _garbage_after,
    "interim replies": _interim_replies,
    "interim flood": _interim_flood,
    "reply without length": _without_length,
    "chunked reply": _chunked,
    "dripping reply": _dripping,
    "slow reading": _slow_reading,
    "endless head": _endless_head,
    "huge length": _huge_length,
}


class UnreliableWire:
    """Listens in a thread of its own, and forwards to `target`. `rate`: the share of exchanges with a fault."""

    def __init__(self, target: str, seed: int, faults: Sequence[str] = tuple(FAULTS)) -> None:
        self.rate = 0.0
        self._faults = faults
        self.counts: Counter[str] = Counter()
        self._port = urlsplit(target).port or 0
        self._chance = Random(f"wire/{seed}")
        self._loop = asyncio.new_event_loop()
        self._serving: set[asyncio.Task[None]] = set()
        self.url = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # the loop closes the sockets

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(_End, OSError, asyncio.IncompleteReadError):
                while not writer.is_closing():
                    await self._exchange(reader, writer)
        finally:
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        exchange = Exchange(reader, writer, head, self._port, self._chance)
        self.counts["exchanges"] += 1
        if self._chance.random() < self.rate:
            name = self._chance.choice(self._faults)
            self.counts[name] += 1
            await FAULTS[name](exchange)
        else:
            await _faultless(exchange)
