"""Edges of replies: lengths, interim answers, early answers, second answers, the end of connections."""

import asyncio
import gzip
from collections.abc import Iterator

import pytest

from agent.assure.http.messages import Broken, Oversized, Pieces, Silent
from agent.assure.http.pool import Pool
from tests.assure.conftest import HURRIED
from tests.assure.http.conftest import opened, request, sent, sent_at_last, serving, take_all
from tests.assure.scripted_server import Behaviour, ScriptedServer, answer, raw

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = OK + b"Content-Length: 0\r\n\r\n"


def connections(server: ScriptedServer) -> list[int]:
    return [delivery.connection for delivery in server.deliveries]


def half_close(data: bytes) -> Behaviour:
    """Send these bytes and the end of the stream, and go on reading."""

    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.write_eof()
        await asyncio.sleep(60)

    return play


async def in_slices(writer: asyncio.StreamWriter, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        writer.write(data[start : start + size])
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("size", [1, 2, 7])
async def test_a_reply_in_slices_is_read(pool: Pool, server: ScriptedServer, size: int) -> None:
    head = b"Date: now\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    whole = OK + head + b"3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n"
    reply = await sent(pool, server.will(lambda writer: in_slices(writer, whole, size)))
    assert (reply.status, reply.body, reply.date, reply.retry_after) == (200, b"abcd", "now", "7")
    await sent(pool, server.will(answer(200)))
    assert connections(server) == [0, 0]


async def test_headers_of_interim_answers_and_trailers_do_not_count(pool: Pool, server: ScriptedServer) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nDate: early\r\nRetry-After: 1\r\nContent-Length: 5\r\n\r\n"
    late = OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nDate: late\r\n\r\n"
    reply = await sent(pool, server.will(raw(early + late)))
    assert (reply.body, reply.date, reply.retry_after) == (b"", None, None)


async def test_the_first_of_a_repeated_header_counts(pool: Pool, server: ScriptedServer) -> None:
    reply = await sent(pool, server.will(raw(OK + b"Date: a\r\ndate: b\r\nContent-Length: 0\r\n\r\n")))
    assert reply.date == "a"


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_without_a_body_ends_with_its_head(pool: Pool, server: ScriptedServer, status: int) -> None:
    server.will(raw(b"HTTP/1.1 %d X\r\n\r\n" % status), answer(200, b"next"))
    assert (await sent(pool, server)).status == status
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 0]


async def test_a_204_with_a_body_counts_and_ends_its_connection(pool: Pool, server: ScriptedServer) -> None:
    server.will(raw(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n{}"), answer(200, b"next"))
    reply = await sent(pool, server)
    assert (reply.status, reply.body) == (204, b"")
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


@pytest.mark.parametrize("second", [EMPTY, b"HTTP/1.1 500 Later\r\n\r\n", b"garbage", b"\0"])
async def test_bytes_after_a_reply_end_its_connection(pool: Pool, server: ScriptedServer, second: bytes) -> None:
    server.will(raw(OK + b"Content-Length: 2\r\n\r\n{}" + second), answer(200, b"next"))
    reply = await sent(pool, server)
    assert (reply.status, reply.body) == (200, b"{}")
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


async def test_a_second_reply_that_comes_later_ends_its_connection(pool: Pool, server: ScriptedServer) -> None:
    async def twice(writer: asyncio.StreamWriter) -> None:
        writer.write(EMPTY)
        await asyncio.sleep(0.02)
        writer.write(EMPTY)

    await sent(pool, server.will(twice, answer(200, b"next")))
    await asyncio.sleep(0.1)
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


@pytest.mark.parametrize("head", [b"Connection: close\r\n", b"connection: foo, Close\r\n"])
async def test_a_connection_that_the_server_closes_is_not_used_again(
    pool: Pool, server: ScriptedServer, head: bytes
) -> None:
    server.will(raw(OK + head + b"Content-Length: 1\r\n\r\nx"), answer(200, b"next"))
    assert (await sent(pool, server)).body == b"x"
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


async def test_a_reply_of_http_1_0_is_read_and_its_connection_is_not_used_again(
    pool: Pool, server: ScriptedServer
) -> None:
    server.will(raw(b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"), answer(200, b"next"))
    assert (await sent(pool, server)).body == b"x"
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


@pytest.mark.parametrize("ending", [raw(OK + b"\r\nabc", hang_up=True), half_close(OK + b"\r\nabc")])
async def test_a_body_without_a_length_ends_with_its_connection(
    pool: Pool, server: ScriptedServer, ending: Behaviour
) -> None:
    assert (await sent(pool, server.will(ending, answer(200, b"next")))).body == b"abc"
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


async def test_a_complete_reply_before_a_half_close_counts(pool: Pool, server: ScriptedServer) -> None:
    server.will(half_close(OK + b"Content-Length: 3\r\n\r\nabc"), answer(200, b"next"))
    assert (await sent(pool, server)).body == b"abc"
    await asyncio.sleep(0.05)
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1, 1\r\n\r\nx",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nx",
        OK + b"Content-Length: 5\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        OK + b"Bad Name: 1\r\n\r\n",
        OK + b"X: a\0b\r\n\r\n",
    ],
)
async def test_a_reply_that_is_not_complete_or_not_valid_is_unknown(
    pool: Pool, server: ScriptedServer, broken: bytes
) -> None:
    with pytest.raises((Broken, Oversized)):
        await sent(pool, server.will(raw(broken, hang_up=True), answer(200, b"next")))
    assert len(server.deliveries) == 1
    assert (await sent(pool, server)).body == b"next"
    assert connections(server) == [0, 1]


async def test_an_encoded_body_is_handed_on(pool: Pool, server: ScriptedServer) -> None:
    packed = gzip.compress(b"abc")
    reply = await sent(pool, server.will(answer(200, packed, {"Content-Encoding": "gzip"})))
    assert reply.body == packed


async def test_chunk_extensions_without_end_are_oversized(pool: Pool, server: ScriptedServer) -> None:
    async def play(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n1;")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()

    with pytest.raises(Oversized):
        await sent(pool, server.will(play))


async def test_many_small_chunks_are_read(pool: Pool, server: ScriptedServer) -> None:
    whole = OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n"
    assert (await sent(pool, server.will(raw(whole)))).body == b"x" * 1000


async def test_a_failure_has_the_status_of_a_complete_head(pool: Pool, server: ScriptedServer) -> None:
    with pytest.raises(Broken) as failed:
        await sent(pool, server.will(raw(b"HTTP/1.1 202 OK\r\nContent-Length: 5\r\n\r\nabc", hang_up=True)))
    assert failed.value.status == 202


# Uploads.

LARGE = bytes(range(256)) * 80_000  # 20 MB, more than the buffers between client and server hold


async def test_an_answer_during_an_upload_counts_and_ends_the_connection(pool: Pool) -> None:
    heads: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 9\r\n\r\ntoo large")
        await writer.drain()
        await take_all(reader)

    async with serving(refuse) as port:
        for _ in range(2):
            reply = await request(pool, f"http://127.0.0.1:{port}", body=LARGE)
            assert (reply.status, reply.body) == (413, b"too large")
    assert len(heads) == 2, "each upload has a connection of its own"


async def test_pieces_are_sent_as_the_server_takes_them(pool: Pool, server: ScriptedServer) -> None:
    made = 0

    def pieces() -> Iterator[bytes]:
        nonlocal made
        for start in range(0, len(LARGE), 100_000):
            made += 1
            yield LARGE[start : start + 100_000]

    server.pause = 0.2
    sending = asyncio.create_task(sent(pool, server.will(answer(201)), body=Pieces(len(LARGE), pieces)))
    await asyncio.sleep(0.1)
    assert made < 150, "the server has not read anything"
    assert (await sending).status == 201
    assert server.deliveries[0].body == LARGE
    assert server.deliveries[0].headers["content-length"] == str(len(LARGE))


@pytest.mark.parametrize("length", [9, 11, 10**9])
async def test_a_body_of_another_length_than_declared_is_unknown(
    pool: Pool, server: ScriptedServer, length: int
) -> None:
    with pytest.raises(Broken, match="body-valueerror"):
        await sent(pool, server, body=Pieces(length, lambda: [b"01234", b"56789"]))
    assert server.deliveries == []


async def test_a_body_that_cannot_be_produced_is_unknown(pool: Pool, server: ScriptedServer) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"0123"
        raise OSError

    with pytest.raises(Broken, match="body-oserror"):
        await sent(pool, server, body=Pieces(10, pieces))
    assert (await sent(pool, server.will(answer(200)))).status == 200


async def test_a_server_that_takes_no_bytes_is_silent_in_time(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.assure.http.connection.SEND_RATE", 1e12)
    server.pause = 60
    async with opened(send=HURRIED) as pool:
        with pytest.raises(Silent):
            await sent_at_last(pool, server, LARGE)


@pytest.mark.parametrize("half", [False, True])
async def test_a_server_that_ends_its_stream_during_an_upload_is_unknown(pool: Pool, half: bool) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if half:
            writer.write_eof()
            await take_all(reader)

    async with serving(end) as port:
        with pytest.raises(Broken):
            await request(pool, f"http://127.0.0.1:{port}", body=LARGE)
