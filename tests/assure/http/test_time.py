"""Deadlines of a connection, on a loop whose time is a number and a transport that records what is written."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from agent.assure.http.connection import IDLE_LIMIT, Connection
from agent.assure.http.messages import SEND_RATE, Broken, Pieces, Reply, Silent, Timeouts

EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class NumberedLoop:
    """The part of a loop that a connection uses. `pass_seconds` runs the timers that are due."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None], Any]] = []
        self.set_timers = 0

    def time(self) -> float:
        return self.now

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().create_future()

    def call_at(self, when: float, call: Callable[[], None]) -> Any:
        self.set_timers += 1
        timer = (when, call, self)
        self.timers.append(timer)
        loop = self

        class Handle:
            def cancel(self) -> None:
                loop.timers.remove(timer)

        return Handle()

    def pass_seconds(self, seconds: float) -> None:
        until = self.now + seconds
        while self.timers and min(self.timers)[0] <= until:
            timer = min(self.timers, key=lambda one: one[0])
            self.timers.remove(timer)
            self.now = max(self.now, timer[0])
            timer[1]()
        self.now = until


class Wire:
    """A transport that accepts `room` bytes, and then asks the connection to pause."""

    def __init__(self, connection: Connection, room: int = 10**9) -> None:
        self.connection = connection
        self.room = room
        self.written = b""
        self.ended = ""

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def get_extra_info(self, name: str) -> None:
        return None

    def is_closing(self) -> bool:
        return bool(self.ended)

    def write(self, data: bytes) -> None:
        self.written += data
        if len(self.written) > self.room:
            self.connection.pause_writing()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def abort(self) -> None:
        self.ended = "aborted"

    def close(self) -> None:
        self.ended = "closed"


TIMEOUTS = Timeouts(send=10.0, read=30.0)


def connected(room: int = 10**9) -> tuple[NumberedLoop, Connection, Wire]:
    loop, lost = NumberedLoop(), []
    connection = Connection(loop, TIMEOUTS, lost.append)  # type: ignore[arg-type]
    wire = Wire(connection, room)
    connection.connection_made(wire)  # type: ignore[arg-type]
    return loop, connection, wire


def result(answer: "asyncio.Future[Reply]") -> str:
    if not answer.done():
        return "waiting"
    error = answer.exception()
    return type(error).__name__ if error else str(answer.result().status)


async def test_silence_after_the_request() -> None:
    loop, connection, _ = connected()
    answer = connection.begin(b"head", b"", 10)
    loop.pass_seconds(29.9)
    assert result(answer) == "waiting"
    loop.pass_seconds(0.2)
    assert result(answer) == "Silent"
    assert not connection.usable


async def test_silence_counts_from_the_last_byte_received() -> None:
    loop, connection, _ = connected()
    answer = connection.begin(b"head", b"", 10)
    loop.pass_seconds(5)
    connection.data_received(EMPTY[:20])
    loop.pass_seconds(29.9)
    assert result(answer) == "waiting"
    connection.data_received(EMPTY[20:])
    assert result(answer) == "200"


async def test_a_reply_that_drips_ends_in_time() -> None:
    loop, connection, _ = connected()
    answer = connection.begin(b"head", b"", 1000)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(39):
        loop.pass_seconds(1)
        assert result(answer) == "waiting"
        connection.data_received(b"x")
    loop.pass_seconds(1.1)
    assert result(answer) == "Silent"
    assert isinstance(error := answer.exception(), Silent)
    assert error.status == 200


async def test_a_request_that_is_not_taken_ends_after_the_time_of_its_size() -> None:
    loop, connection, _ = connected(room=100_000)
    size = 10 * SEND_RATE
    answer = connection.begin(b"head", bytes(size), 10)
    loop.pass_seconds(10 + 9.9)
    assert result(answer) == "waiting"
    loop.pass_seconds(0.2)
    assert result(answer) == "Silent"


async def test_a_request_that_is_taken_late_is_followed_by_the_whole_patience() -> None:
    loop, connection, wire = connected(room=100_000)
    answer = connection.begin(b"head", bytes(10 * SEND_RATE), 10)
    loop.pass_seconds(19)
    wire.room = 10**9
    connection.resume_writing()
    assert len(wire.written) == len(b"head") + 10 * SEND_RATE
    loop.pass_seconds(29)
    assert result(answer) == "waiting"
    loop.pass_seconds(2)
    assert result(answer) == "Silent"


async def test_pieces_are_produced_as_they_are_taken() -> None:
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(10):
            made.append(number)
            yield bytes(1000)

    _, connection, wire = connected(room=3500)
    answer = connection.begin(b"head", Pieces(10_000, pieces), 10)
    assert made == [0, 1, 2, 3]
    wire.room = 6500
    connection.resume_writing()
    assert made == [0, 1, 2, 3, 4, 5, 6]
    connection.data_received(EMPTY)
    assert result(answer) == "200"
    assert not connection.usable, "the rest of the request is not sent"
    wire.room = 10**9
    connection.resume_writing()
    assert len(made) == 7


async def test_an_idle_connection_is_closed_after_the_limit() -> None:
    loop, connection, wire = connected()
    connection.begin(b"head", b"", 10)
    connection.data_received(EMPTY)
    assert connection.is_fresh()
    loop.pass_seconds(IDLE_LIMIT - 0.1)
    assert not wire.ended
    loop.pass_seconds(0.2)
    assert wire.ended == "closed"
    assert not connection.is_fresh()


@pytest.mark.parametrize("event", ["byte", "end", "lost"])
async def test_an_idle_connection_that_receives_a_byte_or_its_end_is_not_used(event: str) -> None:
    _, connection, wire = connected()
    connection.begin(b"head", b"", 10)
    connection.data_received(EMPTY)
    match event:
        case "byte":
            connection.data_received(b"H")
            assert wire.ended == "aborted"
        case "end":
            connection.eof_received()
        case _:
            connection.connection_lost(None)
    assert not connection.is_fresh()


async def test_the_timer_is_not_set_for_each_exchange() -> None:
    loop, connection, _ = connected()
    for _ in range(1000):
        connection.begin(b"head", b"", 10)
        loop.pass_seconds(0.01)
        connection.data_received(EMPTY)
    assert loop.set_timers < 5


async def test_a_lost_connection_ends_its_exchange_and_its_timer() -> None:
    loop, connection, _ = connected()
    answer = connection.begin(b"head", b"", 10)
    connection.connection_lost(ConnectionResetError())
    assert isinstance(answer.exception(), Broken)
    assert loop.timers == []
