"""Instructions of a lifecycle, by part. Unlike CPU time, instructions do not depend on the load of the machine.

The whole agent runs under callgrind, each thread apart. Callgrind counts C functions. It separates SQLite, base64 and
SHA-256, but not the Python code of the event loop. Therefore parts of the loop also run alone, with the input of a real
run. These parts are the client against real connections, the client against recorded answers, and the core with
recorded observations. The table consists of the differences.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any
from unittest import mock

import uvloop

from agent.assure.account import TOKEN_PATH
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.assure.http.messages import Body, Origin, Reply, Transport
from agent.controller import reconciler
from agent.core.step import Step
from agent.daemon import agent as agent_module
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.ports import Image
from agent.web import service
from bench.callgrind import Thread, count, counting, start_counting, stop_counting
from bench.lifecycle import client_lifecycle
from bench.paused_agent import Progress, paused_agent, run_lifecycles
from bench.plain_calls import CONCURRENCY, run_all
from bench.process import report, sandbox
from bench.report import Ratio, Scale, Section
from verification.builders.pictures import noise
from verification.builders.settings import CLIENT
from verification.null_services import serve_nothing, watch_nothing

_COUNT = 96  # lifecycles
_FEW, _MANY = 32, 160  # files; the cost of a file is the difference
_MOST = 9.5  # million instructions of a lifecycle from the first call on

_SQLITE = (r"sqlite3_", "_sqlite3", r"_?pysqlite")
_MODULE = (r"_?pysqlite(?!_connection_execute)", "_sqlite3")  # Connection.execute calls Cursor.execute through Python
_ORJSON = ("", "orjson")
_BASE64 = (r"binascii_b2a_base64|_?pybase64", "")
_SHA = ("EVP_DigestUpdate", "")


def measure(_scale: Scale) -> Section:
    """Count each part once, and the whole agent twice. Raises Skipped without valgrind."""
    agent = _count("agent", _COUNT)
    again = sum(thread.total for thread in _count("agent", _COUNT)) / _COUNT / 1e6
    ((sent, *_), (answered, *_), (core, *_)) = (_count(kind, _COUNT) for kind in ("client", "answered", "core"))
    few, many = (_total(_count("admission", files)) for files in (_FEW, _MANY))
    main, *others = agent
    writer = max(others, key=lambda thread: thread.inside(*_SQLITE))
    pool = [thread for thread in others if thread is not writer]

    transport = sent.total - sent.inside(*_BASE64) - answered.total + answered.inside(*_BASE64)
    client = answered.total - answered.inside(*_BASE64)
    base64 = main.inside(*_BASE64)
    sqlite, orjson = writer.inside(*_SQLITE), writer.inside(*_ORJSON)
    module = writer.inside(*_MODULE) - sqlite
    sha = sum(thread.inside(*_SHA) for thread in pool)
    parts = {
        "seven HTTP calls: the client with connections, less the client with recorded answers": transport,
        "base64 of the image": base64,
        "client: requests, classification, evidence": client,
        "core: steps": core.total,
        "rest of the loop: queue, tasks, interpreter, throttle, metrics, telemetry, clock": main.total
        - (transport + base64 + client + core.total),
        "writer thread: SQLite": sqlite,
        "writer thread: the sqlite3 module": module,
        "writer thread: orjson": orjson,
        "writer thread: Python": writer.total - sqlite - module - orjson,
        "other threads: SHA-256 of the image": sha,
        "other threads: opening and reading the image": _total(pool) - sha,
    }
    millions = {label: counted / _COUNT / 1e6 for label, counted in parts.items()}
    whole = sum(millions.values())
    return Section(
        name="instructions",
        title=f"Instructions: {_COUNT} uploads of 50 kB at concurrency {CONCURRENCY}, by callgrind",
        columns=("million per lifecycle",),
        rows=[
            *((label, (value,)) for label, value in millions.items()),
            ("sum: the agent from its first call on", (whole,)),
            ("the agent from its first call on, a second run", (again,)),
            ("admission of a file: separate, before the first call", ((many - few) / (_MANY - _FEW) / 1e6,)),
        ],
        ratios=[
            Ratio(name="agent from its first call on, million instructions", value=whole, aim=_MOST, most=True),
            Ratio(
                name="larger / smaller of two runs", value=max(whole, again) / min(whole, again), aim=1.03, most=True
            ),
        ],
    )


def _count(kind: str, lifecycles: int) -> list[Thread]:
    with sandbox() as (url, _):
        return count("bench.instructions", kind, str(lifecycles), url)


def _total(threads: list[Thread]) -> int:
    return sum(thread.total for thread in threads)


# -- the measured processes ----------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _quiet_agent(files: int, url: str, progress: Progress) -> AsyncIterator[Agent]:
    """Open a paused agent with long intervals, because callgrind makes it fifty times slower."""
    with (
        # Both check for changes ten times a second, which is fifty times more often per lifecycle under callgrind.
        mock.patch.object(agent_module, "watching", watch_nothing),
        mock.patch.object(service, "serve", serve_nothing),
    ):
        async with paused_agent(files, url, progress, poll_interval=20.0, scan_interval=3600.0) as agent:
            yield agent


async def _lifecycles(files: int, url: str, start: Callable[[], None], end: Callable[[], None]) -> None:
    """Run an agent. `start` is called before its first call, `end` after its last step."""

    def done() -> None:
        end()
        agent.stop()

    progress = Progress(files, done)
    async with _quiet_agent(files, url, progress) as agent:
        await run_lifecycles(agent, progress, start)


async def _agent(files: int, url: str) -> None:
    """The whole agent from its first call on."""
    await _lifecycles(files, url, start_counting, stop_counting)


async def _admission(files: int, url: str) -> None:
    """The start of an agent that admits files and calls nothing."""
    progress = Progress(files, lambda: None)
    async with _quiet_agent(files, url, progress) as agent:
        with counting():
            running = asyncio.create_task(agent.run())
            await progress.admitted(agent)
        agent.stop()
        await running


async def _core(files: int, url: str) -> None:
    """The steps of a real run, computed again."""
    recorded: list[tuple[Any, Any]] = []
    real = reconciler.step

    def recording(*arguments: Any, **options: Any) -> Step:
        recorded.append((arguments, options))
        return real(*arguments, **options)

    reconciler.step = recording  # type: ignore[assignment]
    await _lifecycles(files, url, lambda: None, lambda: None)
    assert recorded
    with counting():
        for arguments, options in recorded:
            real(*arguments, **options)


class _Answers:
    """Replaces the transport of a client. It records answers, and then repeats them without a network."""

    def __init__(self, client: AssureClient) -> None:
        self._transport: Transport = client._connection._transport
        self._answers: dict[tuple[str, str, bytes], Reply] = {}
        self.recording = True
        client._connection._transport = self

    async def send(self, origin: Origin, method: str, target: str, fields: bytes, body: Body, limit: int) -> Reply:
        """Send the request, or return its recorded answer."""
        content = body if isinstance(body, bytes) else b"".join(body.pieces)
        key = method, target, content[:64]
        if self.recording:
            self._answers[key] = await self._transport.send(origin, method, target, fields, content, limit)
        return self._answers[key]

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


@contextlib.asynccontextmanager
async def _client(url: str) -> AsyncIterator[AssureClient]:
    config = Config(base_url=url, token_url=url + TOKEN_PATH, concurrency=CONCURRENCY, **CLIENT)
    async with AssureClient(config, SystemClock()) as client:
        yield client


async def _sent(lifecycles: int, url: str) -> None:
    """The client against the simulator, after a first run that opens the connections."""
    image = Image(content=noise(), media_type="image/jpeg")
    async with _client(url) as client:
        await run_all(CONCURRENCY, lambda number: client_lifecycle(client, f"first-{number}", image))
        with counting():
            await run_all(lifecycles, lambda number: client_lifecycle(client, f"bare-{number}", image))


async def _answered(lifecycles: int, url: str) -> None:
    """The client with the answers that the simulator gave before."""
    image = Image(content=noise(), media_type="image/jpeg")
    async with _client(url) as client:
        answers = _Answers(client)
        await run_all(lifecycles, lambda number: client_lifecycle(client, f"bare-{number}", image))
        answers.recording = False
        with counting():
            await run_all(lifecycles, lambda number: client_lifecycle(client, f"bare-{number}", image))


_PARTS = {"agent": _agent, "admission": _admission, "core": _core, "client": _sent, "answered": _answered}

if __name__ == "__main__":
    uvloop.run(_PARTS[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
    report()
