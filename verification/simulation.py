"""The whole agent and the whole sandbox in one process, under a virtual clock, with a store on real files.

What is exchanged for the proof's own: the clock and the loop (`clockwork`), sockets (`line`), the thread that commits
(here it commits in its turn, several at a time as ever), the scheduler's timers, and the socket and ports that serve
people. All that decides anything is the agent's.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import structlog
from pydantic import SecretStr

from agent.assure.client import AssureClient
from agent.core.errors import StoreError
from agent.core.record import Record
from agent.daemon import agent
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.platform.settings import Settings
from agent.sandbox import SandboxConfig
from agent.sandbox.app import Desk, application
from agent.sandbox.events.outbox import Outbox
from agent.sandbox.events.sender import Courier
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.faults.injection import Wire
from agent.sandbox.faults.rules import Faults
from agent.sandbox.tokens import Tokens
from agent.sandbox.world import World
from agent.source.folder import Folder
from agent.store import sqlite as store_module
from agent.store.connection import open_reader
from agent.store.repository import load
from agent.web import service
from verification import in_process_events
from verification.crash_points import Gate
from verification.in_process_events import Door
from verification.in_process_transport import Line
from verification.invariants import Violation, violations
from verification.null_services import serving_nothing, watching_nothing
from verification.replacements import LoopScheduler, NoCheckout, TurnWriter
from verification.temp_stores import empty_store
from verification.virtual_time import START, VirtualClock

AGENT = "proof"
URL = "http://127.0.0.1:1"
_LATE = 65.0  # seconds: a call that is on its way has arrived, and a sweep has come


class Stage:
    """One folder of requests, one Assure, and one agent after the other. `verification.virtual_time.play` runs it."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        fatal: Collection[int] = (),
        config: SandboxConfig | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.seed = folder, seed
        for name in ("specs", "images", "state"):
            (folder / name).mkdir()
        for name, content in empty_store().items():
            (folder / "state" / name).write_bytes(content)
        self.clock = VirtualClock()
        self.gate = Gate(folder / "state", fatal)
        self.gate.killed = self._killed
        self.config = replace(config or SandboxConfig(verification_delay=(2.0, 20.0)), seed=seed)
        self.world = World(self.config, self.clock)
        self.world.flows.base = URL
        self.faults = Faults(seed)
        self.log: list[str] = []
        self.lives = 0
        self.found: list[Violation] = []  # what was wrong with the files that a killed agent left
        outbox = Outbox(self.world, self.faults)
        self._app = application(
            Desk(self.world, Tokens(self.config, self.clock), self.faults, outbox, Wire(self.clock, asyncio.sleep))
        )
        self._settings = settings or {}
        self._door = Door()
        self._courier = Courier(outbox, self.clock, self.clock.wait, self._door)
        if "events_secret" in self._settings:
            outbox.subscribe(Subscription(url=in_process_events.URL, secret=SecretStr(in_process_events.SECRET)))
        self._death = asyncio.Event()
        self._read_at, self._read = (0, False, 0), dict[str, list[Any]]()
        self.down: Callable[[], bool] = lambda: False  # is the network away?
        self.full: Callable[[], bool] = lambda: False  # is the disk full?
        self.ahead: Callable[[], float] = lambda: 0.0  # how far the agent's machine is set ahead, in seconds
        self.astray = 0.0  # by how many seconds it is ever set, at most
        self.late = False  # may calls arrive late in this run?
        self.severed = 0.0  # how often a call arrives late, and its answer never
        self._agent: Agent | None = None
        self._supervisor: asyncio.Task[None] | None = None

    # -- files -------------------------------------------------------------------------------------------------

    @property
    def specs(self) -> Path:
        return self.folder / "specs"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def state(self) -> Path:
        return self.folder / "state" / "agent.db"

    # -- an agent ----------------------------------------------------------------------------------------------

    def _killed(self) -> None:
        self.tell(f"killed: {self.gate.boundaries[-1] if self.gate.boundaries else 'by hand'}")
        self._death.set()

    def tell(self, what: str) -> None:
        """A line of the history."""
        self.log.append(f"{self.clock.now() - START:10.2f}  {what}")

    @contextlib.asynccontextmanager
    async def living(self, down: Callable[[], float] = lambda: 1.0) -> AsyncIterator[None]:
        """An agent at work while the block runs; one that dies is followed by another after `down` seconds."""
        ended = asyncio.Event()

        async def one_after_the_other() -> None:
            while not ended.is_set():
                self._death.clear()
                await self._live(ended)
                if self.gate.dead:
                    self.gate.revive()
                    self.found += self.violations(settled=False)
                    await self.clock.wait(ended, down())
                elif not ended.is_set():
                    await self.clock.wait(ended, down())  # the disk is full

        courier = asyncio.create_task(self._courier.run())
        self._supervisor = asyncio.create_task(one_after_the_other())
        try:
            yield
        finally:
            ended.set()
            await self._supervisor
            courier.cancel()
            await asyncio.gather(courier, return_exceptions=True)

    async def _live(self, ended: asyncio.Event) -> None:
        """One life, until it is killed or `ended`."""
        self.lives += 1
        before = asyncio.all_tasks()
        with self._dressed():
            life = asyncio.create_task(self._run())
            ends = [asyncio.create_task(event.wait()) for event in (self._death, ended)]
            await asyncio.wait([life, *ends], return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if not self.gate.dead and self._agent is not None:
                self._agent.stop()
                await asyncio.wait([life], timeout=60)
            self._door.shut()
            await _ended(life, before)
        if not self.gate.dead and life.done() and not life.cancelled() and (error := life.exception()):
            if not isinstance(error, StoreError):
                raise error
            self.tell(f"ended: {error}")

    async def _run(self) -> None:
        settings: dict[str, Any] = {
            "base_url": URL,
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
            "specs_dir": self.specs,
            "images_dir": self.images,
            "state_url": f"sqlite:///{self.state}",
            "listen": "127.0.0.1:0",
            "agent_id": AGENT,
            **self._settings,
        }
        async with Agent.opened(Settings(**settings)) as self._agent:
            await self._agent.run()

    @contextlib.contextmanager
    def _dressed(self) -> Iterator[None]:
        chance = Random(f"{self.seed}/{self.lives}")
        timeout = float(self._settings.get("request_timeout", 30.0))
        line = Line(self._app, self.gate, chance, timeout, self.tell, self.down, lambda: self.severed)
        exchanged: dict[str, Any] = {
            "SystemClock": partial(
                SystemClock, lambda: self.clock.now() + self.ahead(), self.clock.now, f"boot {self.lives // 2}"
            ),
            "AssureClient": partial(AssureClient, transport=line),
            "Checkout": NoCheckout,
            "Scheduler": LoopScheduler,
            "random": chance,
            "watching": watching_nothing,
            "hearing": serving_nothing,
        }
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
        )
        with contextlib.ExitStack() as patches:
            for name, instead in exchanged.items():
                patches.enter_context(mock.patch.object(agent, name, instead))
            patches.enter_context(mock.patch.object(Folder, "of", partial(Folder.of, settle=0)))
            patches.enter_context(mock.patch.object(service, "serving", self._door.serving))
            writer = partial(TurnWriter, self.gate, lambda: self.full())
            patches.enter_context(mock.patch.object(store_module, "Writer", writer))
            yield

    # -- looking -----------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        """All records by name, as they are on disk."""
        rows = self._rows("SELECT record FROM requests") if self.state.exists() else []
        return {record.name: record for record in (load(row[0]) for row in rows)}

    def moving(self) -> int:
        """How many requests go on by themselves, or wait for the end of their retention."""
        return self._count("SELECT count(*) FROM requests WHERE moving OR phase = 'deletion'")

    async def until(self, true: Callable[[], object], patience: float = 86_400.0, every: float = 0.5) -> None:
        """Return when it is true, looked at each so many seconds. Raises TimeoutError after `patience`."""
        async with asyncio.timeout(patience):
            while self.gate.dead or not true():
                assert self._supervisor is not None
                if self._supervisor.done():
                    await self._supervisor  # raises what ended the agent
                await asyncio.sleep(every)

    async def calm(self) -> None:
        """Let all that may still turn up turn up, and be swept."""
        await asyncio.sleep(_LATE)
        await self.until(lambda: not self.orphans(), every=30.0)

    def orphans(self) -> int:
        """How many possible orphans are looked for."""
        return self._count("SELECT count(*) FROM orphans WHERE closed_at IS NULL")

    def _count(self, sql: str) -> int:
        return int(self._rows(sql)[0][0])

    def _rows(self, sql: str) -> list[Any]:
        """What is on disk, read again when something was committed: every commit is a boundary."""
        now = (self.lives, self.gate.dead, len(self.gate.boundaries))
        if self._read_at != now:
            self._read_at, self._read = now, {}
        if sql not in self._read:
            with contextlib.closing(open_reader(self.state)) as connection:
                self._read[sql] = connection.execute(sql).fetchall()
        return self._read[sql]

    def violations(self, *, settled: bool) -> list[Violation]:
        """What is wrong now."""
        found = violations(self.state, self.world.ledger.report(), AGENT, settled=settled, astray=self.astray)
        if not self.late:
            return found
        # An upload whose connection ended, or its agent, is repeated while the process is pending; the first one may
        # arrive after the start. Assure refuses it, and it would have brought the same images.
        return [one for one in found if "upload-after-start" not in one.what]


async def _ended(life: "asyncio.Task[None]", before: "set[asyncio.Task[Any]]") -> None:
    """End everything that this life began. The network's tasks go on, and those of who sends events."""
    mine = {
        task
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}
        if not getattr(task.get_coro(), "__qualname__", "").startswith(("Line.", "Courier."))
    }
    left = {life, *mine}
    while left:  # what cleans up may wait for the dead; it is told again
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.01)
    await asyncio.gather(life, *mine, return_exceptions=True)
