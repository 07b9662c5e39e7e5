"""Replies of a scripted server to the agent's own HTTP connections, compared with h11.

A reply is built from parts: interim answers, a status line, headers and a body. A body has a length, has chunks, or
ends with the connection. Half of the replies are then changed, cut, or followed by more bytes. The server writes them
in pieces over a real socket. h11 reads the same bytes. Both must agree if a reply is complete, and on its content.
"""

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import uvloop

from agent.assure.http.messages import ExchangeError, Origin, Timeouts, header_lines
from agent.assure.http.pool import Pool
from verification.h11_reference import EXTENSIONS, LIMIT, REQUEST_BODY, Outcome, reference, stricter_rule

_STATUSES: Final = (200, 200, 200, 201, 202, 204, 301, 304, 400, 401, 404, 408, 413, 429, 500, 503, 599)
_INTERIM: Final = (100, 102, 103, 103)
_LINES: Final = (
    *(b"Date: Mon, 30 Nov 2026 08:00:00 GMT", b"date:x", b"Retry-After: 7", b"retry-after:  120  ", b"Server: a"),
    *(b"X-Empty:", b"X-Tab:\ta\t", b"X-Long: " + b"y" * 300, b"Connection: close", b"Connection: keep-alive"),
    *(b"Content-Type: application/json", b"Vary: a, b", b"Content-Encoding: gzip", b"X-Latin: \xe9"),
)
_PIECES: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\0",
        b"\xff",
        b"0",
        b"1",
        b"-1",
        b"+2",
        b"0x1",
        b"ffffffffffffffffff",
    ),
    *(
        b"\r\n\r\n",
        b"0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 ",
        b"HTTP/2.0 ",
        b";a=b",
        b';a="b"',
        b"\r\n folded",
    ),
    *(
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip\r\n",
    ),
    *(
        b"Transfer-Encoding: identity\r\n",
        b"Connection: close\r\n",
        b"HTTP/1.1 103 Early\r\n\r\n",
        b"HTTP/1.1 101 X\r\n\r\n",
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """The bytes of one reply in pieces. `slow`: the client reads each piece by itself."""

    pieces: tuple[bytes, ...]
    closes: bool
    slow: bool
    expected: Outcome


def _reply(chance: Random) -> bytes:
    interim = b"".join(
        b"HTTP/1.1 %d Early\r\n%b\r\n" % (chance.choice(_INTERIM), b"X-A: b\r\n" * chance.randrange(2))
        for _ in range(chance.choice((0, 0, 0, 0, 0, 1, 2, 3, chance.choice((31, 32, 33)))))
    )
    status = chance.choice(_STATUSES)
    version = chance.choice((b"1.1", b"1.1", b"1.1", b"1.1", b"1.0"))
    lines = chance.sample(_LINES, chance.randrange(5))
    body = bytes(chance.choice(b"abc\r\n0{}\0\xff") for _ in range(chance.choice((0, 1, 3, 30, 300, 400, 401))))
    framing = chance.randrange(4)
    if status in (204, 304):
        body, framing = b"", 3
    if framing == 0:
        lines.insert(chance.randrange(len(lines) + 1), b"Transfer-Encoding: " + chance.choice((b"chunked", b"Chunked")))
        body = _chunked(body, chance)
    elif framing < 3:
        lines.insert(chance.randrange(len(lines) + 1), b"Content-Length: %d" % len(body))
    reason = chance.choice((b" OK", b"", b" ", b" Not \xe9 OK"))
    head = b"HTTP/%b %d%b\r\n" % (version, status, reason)
    return interim + head + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def _chunked(body: bytes, chance: Random) -> bytes:
    chunks, at = [], 0
    while at < len(body):
        part = body[at : at + chance.choice((1, 2, 10, 16, 300))]
        size = chance.choice((b"%x", b"%X", b"0%x", b"000%x")) % len(part)
        chunks.append(size + chance.choice(EXTENSIONS) + b"\r\n" + part + b"\r\n")
        at += len(part)
    trailers = chance.choice((b"", b"", b"X-Trailer: a\r\n", b"Date: late\r\n"))
    return b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


def _changed(stream: bytes, chance: Random) -> bytes:
    content = bytearray(stream)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(5):
            case 0:
                content[at:at] = chance.choice(_PIECES)
            case 1:
                del content[at : at + chance.choice((1, 2, 10))]
            case 2:
                del content[at:]
            case 3:
                content += chance.choice((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"more", b"\r\n", b"\0"))
            case _ if at < len(content):
                content[at] = chance.randrange(256)
    return bytes(content)


def _make_case(chance: Random) -> Case:
    """A reply, and h11's reading of it. A connection stays open only if the reply is complete without its end."""
    stream = _reply(chance)
    if chance.random() < 0.5:
        stream = _changed(stream, chance)
    size = chance.choice((1, 2, 5, 20, 100, 10_000))
    slow = chance.random() < 0.3 and len(stream) < 40 * size
    pieces = tuple(stream[at : at + size] for at in range(0, len(stream), size)) if slow else (stream,)
    open_end = reference(stream, closes=False)
    closes = open_end is None or chance.random() < 0.3
    return Case(pieces, closes, slow, reference(stream, closes=True) if closes else open_end)


class _Server(asyncio.Protocol):
    """Answers each request with the next case.

    A request that arrives while a reply is written is not read, and its connection is closed. The client could take the
    rest of that reply for the next one.
    """

    def __init__(self, cases: "deque[Case]", extra: list[bytes]) -> None:
        """`extra` receives each request that arrives without a case."""
        self._cases = cases
        self._extra = extra
        self._received = b""
        self._ends = False
        self._transport: Any = None
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n" + REQUEST_BODY):
            return
        request, self._received = self._received, b""
        if not self._cases:
            self._extra.append(request)
            self._transport.abort()
        elif self._playing is None or (self._playing.done() and not self._ends):
            case = self._cases.popleft()
            self._ends = case.closes
            self._playing = asyncio.create_task(self._play(case))
        else:
            self._ends = True

    async def _play(self, case: Case) -> None:
        for piece in case.pieces:
            if self._transport.is_closing():
                return  # the client has read enough
            self._transport.write(piece)
            for _ in range(3 if case.slow else 0):  # the client reads the piece before the next one
                await asyncio.sleep(0)
        if self._ends:
            self._transport.close()


async def _exchange_all(cases: list[Case], numbers: range) -> tuple[Counter[str], list[str]]:
    """Send a request for each case over one connection at a time."""
    counts, wrong, queue, extra = Counter[str](), list[str](), deque[Case](), list[bytes]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Server(queue, extra), "127.0.0.1", 0)
    origin = Origin("127.0.0.1", server.sockets[0].getsockname()[1], secure=False)
    fields = header_lines(origin, {})
    pool = Pool(connections=1, timeouts=Timeouts(read=20.0))
    for number, case in zip(numbers, cases, strict=True):
        queue.append(case)
        while queue:  # a request on a connection that the server closes at that moment is not read
            ending, seen = await _send(pool, origin, fields)
            if ending in ("unsent", "silent"):
                break
        counts["good" if seen else "unknown"] += 1
        stream = b"".join(case.pieces)
        rule = stricter_rule(stream) if seen is None and case.expected is not None else None
        if rule is not None:
            counts[f"stricter: {rule}"] += 1
        if (seen != case.expected and rule is None) or queue:
            queue.clear()
            wrong.append(f"reply {number}: {ending} {seen}, by h11 {case.expected}: {stream!r}")
    wrong += [f"I2 a request was sent twice: {one!r}" for one in extra]
    await pool.aclose()
    server.close()
    await server.wait_closed()
    return counts, wrong


async def _send(pool: Pool, origin: Origin, fields: bytes) -> tuple[str, Outcome]:
    try:
        reply = await pool.send(origin, "POST", "/", fields, REQUEST_BODY, LIMIT)
    except ExchangeError as error:
        return type(error).__name__.lower(), None
    return "reply", (reply.status, reply.body, reply.retry_after, reply.date)


def run_replies(seed: int, count: int) -> tuple[Counter[str], list[str]]:
    """`count` replies from one seed, on asyncio's loop or on uvloop by turns."""
    numbers = range(count)
    cases = [_make_case(Random(f"reply/{seed}/{number}")) for number in numbers]
    factory = uvloop.new_event_loop if seed % 2 else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_exchange_all(cases, numbers))
