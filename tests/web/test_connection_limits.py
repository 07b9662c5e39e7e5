"""The bounds on a connection of a listener: time, bytes and number (issue 13, point 3). Real sockets, short times."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.core.drop_reasons import Dropped
from agent.web.connection_limits import _SECONDS, Stage
from agent.web.server import serve
from tests.support.timeouts import PATIENT

HURRIED = 0.2  # seconds that a stage may take, where its end is awaited
LARGER = 300_000  # bytes of a body that one path accepts
LARGE = b"x" * 4_000_000  # an answer that no buffer of the system holds
GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
CHUNKED = b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


class Served:
    """An application with an open endpoint, a body that is read, and a large answer."""

    def __init__(self) -> None:
        self.port = 0
        self.dropped: list[Dropped] = []
        self.bodies: list[int] = []

    def application(self) -> Starlette:
        async def healthz(_: Request) -> Response:
            return PlainTextResponse("ok\n")

        async def body(request: Request) -> Response:
            with contextlib.suppress(ClientDisconnect):
                self.bodies.append(len(await request.body()))
            return PlainTextResponse("read\n")

        async def large(_: Request) -> Response:
            return Response(LARGE)

        return Starlette(
            routes=[
                Route("/healthz", healthz),
                Route("/body", body, methods=["POST"]),
                Route("/larger-body", body, methods=["POST"]),
                Route("/large", large),
            ]
        )

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def answer(self, sent: bytes) -> bytes:
        """The bytes received until the listener ends the connection; empty if it is reset."""
        async with self.connected() as (reader, writer):
            writer.write(sent)
            with contextlib.suppress(ConnectionError):
                return await asyncio.wait_for(reader.read(), PATIENT)
        return b""

    async def flood(self, begin: bytes, more: bytes) -> None:
        """Send until the listener ends the connection. Fails if it reads 64 MiB."""
        async with self.connected() as (_, writer):
            writer.write(begin)
            block = more * (65536 // len(more) + 1)
            with contextlib.suppress(ConnectionError):
                for _ in range(1024):
                    writer.write(block)
                    await asyncio.wait_for(writer.drain(), PATIENT)
                    await asyncio.sleep(0)
                raise AssertionError("it read 64 MiB")


@contextlib.asynccontextmanager
async def listener(most: int = 256, largest_body: int = 1000) -> AsyncIterator[Served]:
    served = Served()
    bodies = {"/body": largest_body, "/larger-body": LARGER}
    bounds = serve(served.application(), "127.0.0.1", 0, most=most, largest_body=bodies, dropped=served.dropped.append)
    async with bounds as url:
        served.port = int(url.rpartition(":")[2])
        yield served


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with listener() as made:
        yield made


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in Stage:
        monkeypatch.setitem(_SECONDS, stage, HURRIED)


FLOODS = {
    "request line": (b"GET /", b"a", Dropped.LARGE_HEAD),
    "method": (b"", b"A", Dropped.MALFORMED),
    "header name": (b"GET / HTTP/1.1\r\n", b"a", Dropped.LARGE_HEAD),
    "header value": (b"GET / HTTP/1.1\r\nX: ", b"a", Dropped.LARGE_HEAD),
    "many headers": (b"GET / HTTP/1.1\r\n", b"a:b\r\n", Dropped.LARGE_HEAD),
    "blank lines": (b"", b"\r\n", Dropped.LARGE_HEAD),
    "tiny chunks": (CHUNKED, b"1\r\nx\r\n", Dropped.LARGE_BODY),
    "chunk extension": (CHUNKED + b"1", b";a=b", Dropped.LARGE_BODY),
    "trailers": (CHUNKED + b"0\r\n", b"a:b\r\n", Dropped.LARGE_BODY),
    "body of a GET": (b"GET /healthz HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"a", Dropped.LARGE_BODY),
    "body": (b"POST /body HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"a", Dropped.LARGE_BODY),
    "pipelined requests": (b"", GET, Dropped.PIPELINED),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00", Dropped.MALFORMED),
}


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_of_any_kind_is_cut_off_and_counted(served: Served, kind: str) -> None:
    begin, more, reason = FLOODS[kind]
    await served.flood(begin, more)
    assert served.dropped == [reason]
    assert (await served.answer(LAST)).startswith(b"HTTP/1.1 200"), "others are served"


async def test_a_large_head_is_refused_with_the_reason(served: Served) -> None:
    many = b"".join(b"X-%d: a\r\n" % number for number in range(101)) + b"\r\n"
    assert (await served.answer(b"GET /healthz HTTP/1.1\r\n" + many)).startswith(b"HTTP/1.1 431 ")


async def test_a_usual_head_is_served(served: Served) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 100) for number in range(90))
    sent = b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + headers + b"Connection: close\r\n\r\n"
    assert (await served.answer(sent)).startswith(b"HTTP/1.1 200 ")
    assert served.dropped == []


async def test_a_body_is_given_up_to_one_byte_more_than_its_limit(served: Served) -> None:
    for length in (1000, 100_000):
        head = b"POST /body HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % length
        assert b"read" in await served.answer(head + b"a" * length)
    assert served.bodies[0] == 1000
    assert served.bodies[1] > 1000


async def test_each_path_has_its_own_limit(served: Served) -> None:
    rest = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % LARGER + b"a" * LARGER
    assert b"read" in await served.answer(b"POST /larger-body" + rest)
    assert served.bodies == [LARGER]
    assert served.dropped == []
    await served.answer(b"POST /body" + rest)
    assert served.dropped == [Dropped.LARGE_BODY]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", Dropped.SLOW_HEAD),
        (b"GET / HT", Dropped.SLOW_HEAD),
        (b"\r\n", Dropped.SLOW_HEAD),
        (GET + b"GET / HT", Dropped.SLOW_HEAD),
        (b"POST /body HTTP/1.1\r\nContent-Length: 10\r\n\r\na", Dropped.SLOW_BODY),
        (b"POST /body HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", Dropped.SLOW_BODY),
        (b"GET /healthz HTTP/1.1\r\nContent-Length: 10\r\n\r\na", Dropped.SLOW_BODY),
        (CHUNKED + b"1\r\nx\r\n", Dropped.SLOW_BODY),
    ],
)
@pytest.mark.usefixtures("hurried")
async def test_a_peer_that_stops_is_cut_off_and_counted(served: Served, sent: bytes, reason: Dropped) -> None:
    await served.answer(sent)
    assert served.dropped == [reason]


@pytest.mark.usefixtures("hurried")
async def test_a_peer_that_drips_is_cut_off(served: Served) -> None:
    """Each byte comes in time, but the head is never complete."""
    async with served.connected() as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            while not served.dropped:
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(HURRIED / 20)
    assert served.dropped == [Dropped.SLOW_HEAD]


@pytest.mark.parametrize("sent", [b"GET /large HTTP/1.1\r\n\r\n", b"GET /large HTTP/1.1\r\n\r\n" * 3])
@pytest.mark.usefixtures("hurried")
async def test_a_peer_that_does_not_read_its_answer_is_cut_off_and_counted(served: Served, sent: bytes) -> None:
    async with served.connected() as (reader, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(sent)
        async with asyncio.timeout(PATIENT):
            while not served.dropped:
                await asyncio.sleep(0.01)
        assert not reader.at_eof()
    assert served.dropped == [Dropped.SLOW_READER]


@pytest.mark.usefixtures("hurried")
async def test_an_idle_connection_is_closed_and_not_counted(served: Served) -> None:
    assert (await served.answer(GET)).endswith(b"ok\n")
    assert served.dropped == []


async def test_a_half_closed_connection_is_closed(served: Served) -> None:
    async with served.connected() as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        writer.write_eof()
        await asyncio.wait_for(reader.read(), PATIENT)


async def test_a_few_pipelined_requests_are_answered(served: Served) -> None:
    answer = await served.answer(GET * 5 + LAST)
    assert answer.count(b"HTTP/1.1 200 OK") == 6
    assert served.dropped == []


async def test_a_full_listener_drops_the_oldest_without_a_head_for_a_new_connection() -> None:
    async with listener(most=3) as served, contextlib.AsyncExitStack() as open_ones:
        working, writing = await open_ones.enter_async_context(served.connected())
        writing.write(CHUNKED)  # its head is complete
        await asyncio.sleep(0)
        oldest, _ = await open_ones.enter_async_context(served.connected())
        second, _ = await open_ones.enter_async_context(served.connected())
        for _ in range(2):
            third, asking = await open_ones.enter_async_context(served.connected())
            asking.write(GET)
            assert await asyncio.wait_for(third.readline(), PATIENT) == b"HTTP/1.1 200 OK\r\n"
        for dropped in (oldest, second):
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(dropped.read(), PATIENT) == b""
        assert served.dropped == [Dropped.CROWDED] * 2
        writing.write(b"0\r\n\r\n")
        assert await asyncio.wait_for(working.readline(), PATIENT) == b"HTTP/1.1 200 OK\r\n"


async def test_a_listener_ends_with_idle_peers_connected() -> None:
    async with listener() as served, contextlib.AsyncExitStack() as open_ones:
        for sent in (b"", b"GET /", CHUNKED, GET, b"GET /large HTTP/1.1\r\n\r\n"):
            _, writer = await open_ones.enter_async_context(served.connected())
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(sent)
            await writer.drain()
        until = asyncio.get_running_loop().time() + PATIENT
    assert asyncio.get_running_loop().time() < until
