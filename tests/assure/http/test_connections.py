"""The pool: which connection carries a request, how many there are, and how they end."""

import asyncio
import gc
import socket
import warnings

import pytest

from agent.assure.http.messages import Broken, Origin, Unsent, header_lines
from agent.assure.http.pool import Pool
from tests.assure.conftest import HURRIED
from tests.assure.http.conftest import opened, request, sent, sent_at_last, serving
from tests.assure.scripted_server import ScriptedServer, answer, delivered, silence

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def test_the_connection_that_was_used_last_is_used_again(pool: Pool, server: ScriptedServer) -> None:
    server.will(*[answer(200)] * 5)
    await asyncio.gather(*(sent(pool, server) for _ in range(3)))
    await sent(pool, server)
    await sent(pool, server)
    used = [delivery.connection for delivery in server.deliveries]
    assert sorted(used[:3]) == [0, 1, 2]
    assert used[3] == used[4]


async def test_a_stale_connection_is_replaced_before_a_byte_is_sent(pool: Pool) -> None:
    """The server closes each connection after its first reply; the client has seen the end before it sends."""
    accepted = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await reader.readuntil(b"{}")
        writer.write(EMPTY)
        await writer.drain()

    async with serving(once) as port:
        for _ in range(3):
            assert (await request(pool, f"http://127.0.0.1:{port}")).status == 200
            await asyncio.sleep(0.02)
    assert accepted == 3


async def test_a_connection_whose_end_the_loop_has_not_seen_is_replaced(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is read before the request is written: the loop was busy, or slept."""
    monkeypatch.setattr("agent.assure.http.connection._PEEK_AFTER", 0.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(request(pool, f"http://127.0.0.1:{listener.getsockname()[1]}"))
        first, _ = await loop.sock_accept(listener)
        await loop.sock_recv(first, 1000)
        await loop.sock_sendall(first, EMPTY)
        await waiting
        first.close()  # no turn of the loop until the next request
        waiting = asyncio.create_task(request(pool, f"http://127.0.0.1:{listener.getsockname()[1]}"))
        second, _ = await loop.sock_accept(listener)
        assert b"POST /path" in await loop.sock_recv(second, 1000)
        await loop.sock_sendall(second, EMPTY)
        assert (await waiting).status == 200
        second.close()


async def test_an_idle_connection_is_closed_after_a_while(server: ScriptedServer) -> None:
    async with opened(idle_limit=0.05) as pool:
        await sent(pool, server.will(answer(200), answer(200)))
        await asyncio.sleep(0.2)
        assert not pool._open
        await sent(pool, server)
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_no_more_connections_than_allowed_over_two_origins(server: ScriptedServer) -> None:
    async with ScriptedServer() as other, opened(connections=3) as pool:
        server.will(*[answer(200)] * 9)
        other.will(*[answer(200)] * 9)
        most = 0

        async def watched(one: ScriptedServer) -> None:
            nonlocal most
            await sent(pool, one)
            most = max(most, len(pool._open))

        await asyncio.gather(*(watched(one) for _ in range(9) for one in (server, other)))
        assert len(server.deliveries) == len(other.deliveries) == 9
        assert most <= 3
        assert pool._free == 3


async def test_an_idle_connection_of_another_origin_makes_room(server: ScriptedServer) -> None:
    async with ScriptedServer() as other, opened(connections=1) as pool:
        for one in (server, other, server):
            assert (await sent(pool, one.will(answer(200)))).status == 200
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


async def test_places_are_given_in_order(server: ScriptedServer) -> None:
    server.will(*[answer(200)] * 6)
    ended: list[int] = []
    async with opened(connections=1) as pool:

        async def numbered(number: int) -> None:
            await sent(pool, server)
            ended.append(number)

        await asyncio.gather(*(numbered(number) for number in range(6)))
    assert ended == list(range(6))


async def test_a_cancelled_wait_gives_its_place_on(server: ScriptedServer) -> None:
    async with opened(connections=1) as pool:
        first = asyncio.create_task(sent(pool, server.will(silence, answer(200))))
        await delivered(server)
        second, third = (asyncio.create_task(sent(pool, server)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        assert (await third).status == 200
        await asyncio.gather(first, second, return_exceptions=True)
        assert pool._free == 1
    assert len(server.deliveries) == 2


async def test_a_call_that_is_cancelled_before_its_connection_sends_nothing() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        async with opened() as pool:
            waiting = asyncio.create_task(request(pool, f"https://127.0.0.1:{deaf.getsockname()[1]}"))
            await asyncio.sleep(0.05)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not pool._open
            assert not pool._dialing
            assert pool._free == 4


async def test_closing_ends_what_waits_and_what_connects_as_unsent(server: ScriptedServer) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        async with opened(connections=2) as pool:
            running = asyncio.create_task(sent(pool, server.will(silence)))
            await delivered(server)
            connecting = asyncio.create_task(request(pool, f"https://127.0.0.1:{deaf.getsockname()[1]}"))
            waiting = asyncio.create_task(sent(pool, server))
            await asyncio.sleep(0.05)
            await pool.aclose()
            with pytest.raises(Broken):
                await running
            for task in (connecting, waiting):
                with pytest.raises(Unsent, match="closed"):
                    await task
    assert len(server.deliveries) == 1


async def test_nothing_is_left_open(server: ScriptedServer) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with opened(read=HURRIED) as pool:
            server.will(answer(200), answer(200, b"", {"Connection": "close"}), silence)
            await sent_at_last(pool, server)
            await sent_at_last(pool, server)
            with pytest.raises(Exception, match="timeout"):
                await sent_at_last(pool, server)
            with pytest.raises(Unsent):
                await request(pool, "http://127.0.0.1:9")
        assert not pool._open
        await asyncio.sleep(0)
        gc.collect()
    assert [str(one.message) for one in warned if one.category is ResourceWarning] == []


async def test_a_connection_that_ends_at_once_leaves_the_request_unsent_or_unknown(pool: Pool) -> None:
    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(end) as port:
        with pytest.raises((Unsent, Broken), match="reset"):
            await request(pool, f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("target", ["/a b", "/a\r\nX: y", "/ä", "", "/a\0"])
async def test_a_target_that_is_not_valid_is_not_sent(pool: Pool, server: ScriptedServer, target: str) -> None:
    origin = Origin.of(server.url)
    with pytest.raises(ValueError, match="target"):
        await pool.send(origin, "GET", target, header_lines(origin, {}), b"", 10)
    assert pool._free == 4


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0", "ä"])
def test_a_header_that_is_not_valid_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        header_lines(Origin.of("https://a.example"), {"X": value})


@pytest.mark.parametrize(
    ("url", "host", "authority"),
    [
        ("https://a.example", "a.example", "a.example:443"),
        ("https://a.example:444/x", "a.example:444", "a.example:444"),
        ("http://a.example:80", "a.example", "a.example:80"),
        ("http://[::1]:8080", "[::1]:8080", "[::1]:8080"),
        ("https://bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example:443"),
    ],
)
def test_the_host_of_an_origin(url: str, host: str, authority: str) -> None:
    origin = Origin.of(url)
    assert origin.host_header == host
    assert origin.authority == authority
