"""Each fault of the wire, as the agent's connections report it, and how often the server was asked (I2)."""

import asyncio

import pytest

from agent.assure.http.messages import Broken, ExchangeError, Origin, Oversized, Silent, Timeouts, header_lines
from agent.assure.http.pool import Pool
from tests.assure.http.conftest import serving
from verification.unreliable_wire import FAULTS, UnreliableWire

BODY = b"0123456789" * 20

# The ends of three requests in a row with this fault, and how many of them reach the server.
ENDS: dict[str, tuple[set[object], set[int]]] = {
    "reset in the request": ({Broken}, {0}),
    "reset after the request": ({Broken}, {0}),
    "reset before the reply": ({Broken}, {3}),
    "cut reply": ({Broken}, {3}),
    "early reply": ({503, Broken}, {0}),
    "stalled reply": ({Silent}, {3}),
    "closed as it is used": ({200, Broken}, {2}),
    "closed while idle": ({200, Broken}, {2, 3}),
    "second reply": ({200}, {3}),
    "garbage after a reply": ({200, Broken}, {2, 3}),
    "interim replies": ({200}, {3}),
    "interim flood": ({Broken}, {3}),
    "reply without length": ({200}, {3}),
    "chunked reply": ({200}, {3}),
    "dripping reply": ({200}, {3}),
    "slow reading": ({200}, {3}),
    "endless head": ({Oversized}, {3}),
    "huge length": ({Oversized}, {3}),
}


def test_each_fault_has_its_ends() -> None:
    assert ENDS.keys() == FAULTS.keys()


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_agent_reports_a_fault_and_sends_no_request_twice(fault: str) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(BODY))
        asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n" + BODY)
        await writer.drain()
        await reader.read()

    async with serving(serve) as port:
        with UnreliableWire(f"http://127.0.0.1:{port}", 1, [fault]) as wire:
            wire.rate = 1.0
            ends = await _ends(wire.url, read=0.2 if fault == "stalled reply" else 30.0)
    expected, reached = ENDS[fault]
    assert set(ends) <= expected
    assert asked in reached


async def _ends(url: str, read: float) -> list[object]:
    """Send three requests one after the other. The status of each reply, or the kind of its failure."""
    ends: list[object] = []
    pool = Pool(connections=1, timeouts=Timeouts(read=read))
    origin = Origin.of(url)
    for _ in range(3):
        try:
            reply = await pool.send(origin, "POST", "/", header_lines(origin, {}), BODY, 1000)
        except ExchangeError as error:
            ends.append(type(error))
        else:
            assert reply.body == (b"" if reply.status == 503 else BODY)
            ends.append(reply.status)
    await pool.aclose()
    return ends
