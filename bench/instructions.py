"""Instructions of a lifecycle, by part. Unlike CPU time, instructions do not depend on the load of the machine.

The whole agent runs under callgrind, each thread apart. Callgrind counts C functions. It separates SQLite, base64 and
SHA-256, but not the Python code of the event loop. Therefore parts of the loop also run alone, with the input of a real
run. These parts are the client against real connections, the client against recorded answers, and the core with
recorded observations. The table consists of the differences.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import uvloop

from agent.assure.account import TOKEN_PATH
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.assure.http.messages import Body, Origin, Reply, Transport
from agent.controller import reconciler
from agent.core.record import Phase
from agent.core.step import Step
from agent.daemon import agent as agent_module
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.ports import Image, MetaKey
from agent.store.sqlite import SqliteStore
from agent.web import service
from bench.callgrind import Thread, count, counting, start_counting, stop_counting
from bench.lifecycle import client_lifecycle
from bench.plain_calls import CONCURRENCY, run_all
from bench.process import report, sandbox
from bench.report import Ratio, Scale, Section
from bench.request_files import FRONT, request
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import CLIENT, settings
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


class _Progress:
    """Counts the requests that the agent admitted and finished. `on_done` runs after the last step of the last one."""

    def __init__(self, files: int, on_done: Callable[[], None]) -> None:
        self._files = files
        self._on_done = on_done
        self._admitted: set[str] = set()
        self._done: set[str] = set()

    def seen(self, step: Step) -> None:
        """Receive a committed step."""
        uid = step.record.uid
        self._admitted.add(uid)
        if step.record.phase is Phase.DONE and uid not in self._done:
            self._done.add(uid)
            if len(self._done) == self._files:
                self._on_done()

    async def admitted(self, agent: Agent) -> None:
        """Wait until every file is admitted."""
        while len(self._admitted) < self._files or not agent.reconciler.idle:
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def _paused_agent(files: int, url: str, progress: _Progress) -> AsyncIterator[Agent]:
    """Open an agent that is paused, so that it admits the files before its first call.

    Its intervals are long, because callgrind makes the agent fifty times slower.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / FRONT, noise())
        for number in range(files):
            write(folder / "specs" / f"{number}.yaml", request(f"person-{number}"))
        await asyncio.sleep(0.3)  # files settle before they are read
        configure("json", "error")
        given = settings(folder, url, poll_interval=20.0, scan_interval=3600.0, concurrency=CONCURRENCY)
        known = Settings(**given)
        store = SqliteStore(known.state_path, None)
        await store.remember(MetaKey.PAUSED, time.time())
        store.close()
        with (
            # Both check for changes ten times a second, which is fifty times more often per lifecycle under callgrind.
            mock.patch.object(agent_module, "watching", watch_nothing),
            mock.patch.object(service, "serve", serve_nothing),
        ):
            async with Agent.opened(known, progress.seen) as agent:
                yield agent


async def _lifecycles(files: int, url: str, start: Callable[[], None], end: Callable[[], None]) -> None:
    """Run an agent. `start` is called before its first call, `end` after its last step."""

    def done() -> None:
        end()
        agent.stop()

    progress = _Progress(files, done)
    async with _paused_agent(files, url, progress) as agent:
        running = asyncio.create_task(agent.run())
        await progress.admitted(agent)
        start()
        agent.reconciler.paused = False
        await running


async def _agent(files: int, url: str) -> None:
    """The whole agent from its first call on."""
    await _lifecycles(files, url, start_counting, stop_counting)


async def _admission(files: int, url: str) -> None:
    """The start of an agent that admits files and calls nothing."""
    progress = _Progress(files, lambda: None)
    async with _paused_agent(files, url, progress) as agent:
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
