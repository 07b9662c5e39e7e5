"""[P6] After the end of the lease, no byte of a call leaves the process: with real signals, sockets and timers."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import pytest

from agent.assure.http.messages import Broken, Origin, Reply, Untimely
from agent.assure.http.pool import Pool
from agent.assure.http.send_deadline import SendDeadline
from agent.platform.clock import boot_clock
from agent.platform.kernel_timer import EXIT_CODE, KernelTimer
from agent.platform.tls import tls_context
from tests.assure.http.conftest import opened, request, serving
from tests.assure.http.identities import Identities

SECONDS = 1.0  # of the lease, after the check
LARGE = 20_000_000  # bytes, more than the buffers between client and server hold
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

pytestmark = pytest.mark.skipif(KernelTimer.create() is None, reason="this system has no timer of boot time")


@dataclass
class Received:
    """The complete calls that a server received. It reads only while it is told to."""

    size: int
    calls: int = 0
    reads: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.reads.wait()
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(self.size)
        self.calls += 1
        writer.write(EMPTY)
        await writer.drain()
        await reader.read()


async def stopped_past_its_lease(received: Received, port: int, timer: str, when: str) -> tuple[int, str]:
    """Stop a sender until its lease is over, and continue it. Returns its exit code and its output."""
    command = (sys.executable, "-m", "tests.assure.http.sender", f"http://127.0.0.1:{port}", str(SECONDS))
    sender = await asyncio.create_subprocess_exec(
        *command, str(received.size), timer, when, stdout=asyncio.subprocess.PIPE
    )
    await asyncio.to_thread(os.waitid, os.P_PID, sender.pid, os.WSTOPPED | os.WNOWAIT)
    over = boot_clock()() + SECONDS
    while boot_clock()() < over:
        await asyncio.sleep(0.05)
    received.reads.set()
    os.kill(sender.pid, signal.SIGCONT)
    printed, _ = await sender.communicate()
    return sender.returncode or 0, printed.decode().strip()


@asynccontextmanager
async def server_of(size: int) -> AsyncIterator[tuple[Received, int]]:
    received = Received(size)
    async with serving(received.serve) as port:
        yield received, port


@pytest.mark.parametrize(("when", "size"), [("before", 100), ("after", LARGE)])
async def test_a_process_stopped_past_its_lease_sends_nothing_more(when: str, size: int) -> None:
    """[I2] Another replica has sent the call meanwhile."""
    async with server_of(size) as (received, port):
        assert await stopped_past_its_lease(received, port, "with-timer", when) == (EXIT_CODE, "")
        await asyncio.sleep(0)
        assert received.calls == 0


async def test_without_the_timer_it_would() -> None:
    """The test before this one notices an agent without a timer."""
    async with server_of(100) as (received, port):
        assert await stopped_past_its_lease(received, port, "without", "before") == (0, "200")
        assert received.calls == 1


async def call_while_the_lease_ends(identities: Identities) -> int:
    """The calls that a server receives if the lease ends while the client makes a connection over TLS."""
    times = [0.0]

    def tls() -> ssl.SSLContext:
        times.append(20.0)
        return tls_context(identities.authority)

    deadline = SendDeadline(lambda: 10.0, None, lambda: times[-1])
    received = Received(2)
    received.reads.set()
    async with (
        serving(received.serve, ssl=identities.server) as port,
        opened(deadline=lambda *_: deadline, tls=tls) as pool,
    ):
        with contextlib.suppress(Untimely):
            await request(pool, f"https://localhost:{port}")
    return received.calls


async def test_the_lease_is_checked_when_the_connection_is_ready(identities: Identities) -> None:
    """[P5] Name resolution, TCP and TLS may take longer than the lease."""
    assert await call_while_the_lease_ends(identities) == 0


async def test_a_check_before_the_connection_is_noticed(identities: Identities) -> None:
    plain = Pool.send

    async def early(pool: Pool, origin: Origin, method: str, target: str, *rest: Any) -> Reply:
        deadline = pool._deadline(method, target)
        assert deadline is not None
        assert deadline.begin(lambda: None)
        pool._deadline = lambda *_: None
        return await plain(pool, origin, method, target, *rest)

    with mock.patch.object(Pool, "send", early):
        assert await call_while_the_lease_ends(identities) == 1


@pytest.mark.parametrize("secure", [False, True])
async def test_a_process_that_runs_gives_up_a_slow_upload_before_the_end(secure: bool, identities: Identities) -> None:
    until = boot_clock()() + 1.2
    deadline = SendDeadline(lambda: until, KernelTimer.create())
    received = Received(LARGE)
    async with (
        serving(received.serve, **{"ssl": identities.server} if secure else {}) as port,
        opened(deadline=lambda *_: deadline, tls=partial(tls_context, identities.authority)) as pool,
    ):
        url = f"https://localhost:{port}" if secure else f"http://127.0.0.1:{port}"
        with pytest.raises(Broken, match="lease"):
            await request(pool, url, body=b"x" * LARGE)
        while boot_clock()() < until + 0.2:  # the timer is disarmed
            await asyncio.sleep(0.05)
        deadline.close()
    assert received.calls == 0


async def test_a_renewed_lease_lets_a_slow_upload_finish() -> None:
    until = boot_clock()() + 1.1  # one look at once, and the next one after the renewal
    deadline = SendDeadline(lambda: until, KernelTimer.create())
    received = Received(LARGE)
    async with serving(received.serve) as port, opened(deadline=lambda *_: deadline) as pool:
        sending = asyncio.create_task(request(pool, f"http://127.0.0.1:{port}", body=b"x" * LARGE))
        while not deadline._unsent:
            await asyncio.sleep(0)
        until += 1000.0
        while boot_clock()() < until - 999.0:
            await asyncio.sleep(0.05)
        received.reads.set()
        assert (await sending).status == 200
        assert not deadline._unsent
        deadline.close()
    assert received.calls == 1


async def test_a_call_that_waits_for_its_reply_is_not_given_up() -> None:
    """All its bytes are sent: the timer is disarmed, and the process lives on after the end of the lease."""
    until = boot_clock()() + 1.1
    deadline = SendDeadline(lambda: until, KernelTimer.create())
    answer = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        await answer.wait()
        writer.write(EMPTY)
        await writer.drain()

    async with serving(serve) as port, opened(deadline=lambda *_: deadline) as pool:
        sending = asyncio.create_task(request(pool, f"http://127.0.0.1:{port}"))
        while boot_clock()() < until + 0.2:
            await asyncio.sleep(0.05)
        answer.set()
        assert (await sending).status == 200
        deadline.close()
