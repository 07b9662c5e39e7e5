"""The whole agent and the whole sandbox in one process, under a virtual clock, with a store on real files.

The simulation replaces the clock and the loop (`virtual_time.py`), the sockets (`in_process_transport.py`), the commit
thread (`replacements.py`), the timers of the scheduler, and the servers. The rest is the agent's own code.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
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
from agent.daemon import agent, composition
from agent.daemon.agent import Agent
from agent.platform.clock import DRIFT, SystemClock
from agent.platform.settings import Settings
from agent.sandbox import SandboxConfig
from agent.sandbox.app import Services, application
from agent.sandbox.events.outbox import Outbox
from agent.sandbox.events.sender import EventSender
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.faults.injection import FaultInjector
from agent.sandbox.faults.rules import Faults
from agent.sandbox.tokens import Tokens
from agent.sandbox.world import World
from agent.source.choice import source_of
from agent.store.repository import load
from agent.store.sqlite import store as store_module
from agent.store.sqlite.connection import open_reader
from agent.web import service
from verification import in_process_events
from verification.builders.settings import settings
from verification.crash_points import CrashPoints
from verification.in_process_events import InProcessEventEndpoint
from verification.in_process_transport import FAILURES, Deadline, Failure, InProcessTransport
from verification.invariants import Violation, violations
from verification.null_services import serve_nothing, watch_nothing
from verification.replacements import InlineWriter, VirtualScheduler
from verification.temp_stores import empty_store
from verification.virtual_time import START, VirtualClock, VirtualLoop

AGENT = "proof"
URL = "http://127.0.0.1:1"
_LATE = 65.0  # seconds within which late calls arrive and the next orphan search runs


class Simulation:
    """One folder of requests, one Assure, and one agent after the other. `run_virtual` runs it."""

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
        self.crash_points = CrashPoints(folder / "state", fatal)
        self.crash_points.killed = self._killed
        self.config = replace(config or SandboxConfig(verification_delay=(2.0, 20.0)), seed=seed)
        self.world = World(self.config, self.clock)
        self.world.flows.base = URL
        self.faults = Faults(seed)
        self.log: list[str] = []
        self.lives = 0
        self.violations_at_kills: list[Violation] = []  # violations in the files that killed agents left
        outbox = Outbox(self.world, self.faults)
        self._app = application(
            Services(
                self.world,
                Tokens(self.config, self.clock),
                self.faults,
                outbox,
                FaultInjector(self.clock, asyncio.sleep),
            )
        )
        self._settings = settings or {}
        self._outbox = outbox
        self._event_endpoint = InProcessEventEndpoint()
        if "events_secret" in self._settings:
            outbox.subscribe(Subscription(url=in_process_events.URL, secret=SecretStr(in_process_events.SECRET)))
        self._killed_event = asyncio.Event()
        self._read_at, self._read = (0, False, 0), dict[str, list[Any]]()
        self._loaded: dict[str, Record] = {}  # by its JSON
        self.network_down: Callable[[], bool] = lambda: False  # returns true while the network is down
        self.disk_full: Callable[[], bool] = lambda: False  # returns true while the disk is full
        self.clock_ahead: Callable[[], float] = lambda: 0.0  # the seconds by which the agent's clock is ahead
        self.max_clock_error = 0.0  # the largest error of that clock, in seconds
        self.late = False  # true: calls may arrive late in this run
        self.severed = 0.0  # the probability that a call arrives late and its answer never
        self.failures: list[Failure | None] = []  # of the next calls
        self.failing = 0.0  # the probability that the connection of a later call fails
        self._agent: Agent | None = None
        self._supervisor: asyncio.Task[None] | None = None

    new_loop: Callable[[], VirtualLoop] = VirtualLoop

    def set_clocks(self, jumps: Sequence[tuple[float, float]]) -> None:
        """Let the clock of the host jump at these times by these seconds."""
        self.max_clock_error = 2 * DRIFT if jumps else 0.0
        self.clock_ahead = lambda: sum(seconds for at, seconds in jumps if at <= self.clock.now() - START)

    def calm(self) -> None:
        """End the misfortunes of this kind of simulation."""

    def misfortunes(self) -> Counter[str]:
        """How many there were, by kind."""
        return Counter({"kills": self.lives - 1})

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
        self.log_event(f"killed: {self.crash_points.boundaries[-1] if self.crash_points.boundaries else 'by hand'}")
        self._killed_event.set()

    def log_event(self, what: str) -> None:
        """Add a line to the history."""
        self.log.append(f"{self.clock.now() - START:10.2f}  {what}")

    @contextlib.asynccontextmanager
    async def running(self, down: Callable[[], float] = lambda: 1.0) -> AsyncIterator[None]:
        """Keep an agent running while the block runs. A dead agent is replaced after `down` seconds."""
        ended = asyncio.Event()

        async def one_after_the_other() -> None:
            while not ended.is_set():
                self._killed_event.clear()
                await self._run_life(ended)
                if self.crash_points.dead:
                    self.crash_points.revive()
                    self.violations_at_kills += self.violations(settled=False)
                    await self.clock.wait(ended, down())
                elif not ended.is_set():
                    await self.clock.wait(ended, down())  # the disk is full

        courier = asyncio.create_task(self._event_sender().run())
        self._supervisor = asyncio.create_task(one_after_the_other())
        try:
            yield
        finally:
            ended.set()
            await self._supervisor
            courier.cancel()
            await asyncio.gather(courier, return_exceptions=True)

    def _event_sender(self) -> EventSender:
        return EventSender(self._outbox, self.clock, self.clock.wait, self._event_endpoint)

    async def _run_life(self, ended: asyncio.Event) -> None:
        """Run one agent until it is killed or `ended` is set."""
        self.lives += 1
        before = asyncio.all_tasks()
        with self._replacements():
            life = asyncio.create_task(self._run())
            ends = [asyncio.create_task(event.wait()) for event in (self._killed_event, ended)]
            await asyncio.wait([life, *ends], return_when=asyncio.FIRST_COMPLETED)
            for end in ends:
                end.cancel()
            if not self.crash_points.dead and self._agent is not None:
                self._agent.stop()
                await asyncio.wait([life], timeout=60)
            self._event_endpoint.close_endpoint()
            await _ended(life, before)
        if not self.crash_points.dead and life.done() and not life.cancelled() and (error := life.exception()):
            if not isinstance(error, StoreError):
                raise error
            self.log_event(f"ended: {error}")

    async def _run(self) -> None:
        known = settings(self.folder, URL, agent_id=AGENT, **self._settings)
        async with Agent.opened(Settings(**known)) as self._agent:
            await self._agent.run()

    @contextlib.contextmanager
    def _replacements(self) -> Iterator[None]:
        chance = Random(f"{self.seed}/{self.lives}")
        line = self._transport(self.crash_points, chance)
        exchanged: dict[str, Any] = {
            "SystemClock": partial(
                SystemClock, lambda: self.clock.now() + self.clock_ahead(), self.clock.now, f"boot {self.lives // 2}"
            ),
            "AssureClient": partial(AssureClient, transport=line),
            "source_of": partial(source_of, settle=0, checkout=False),
            "Scheduler": VirtualScheduler,
            "random": chance,
            "watching": watch_nothing,
            "serve_control_socket": serve_nothing,
        }
        silence_log()
        with contextlib.ExitStack() as patches:
            for name, instead in exchanged.items():
                module = composition if name in vars(composition) else agent
                patches.enter_context(mock.patch.object(module, name, instead))
            patches.enter_context(mock.patch.object(service, "serve", self._event_endpoint.serving))
            writer = partial(InlineWriter, self.crash_points, lambda: self.disk_full())
            patches.enter_context(mock.patch.object(store_module, "Writer", writer))
            yield

    def _transport(self, points: CrashPoints, chance: Random, deadline: Deadline | None = None) -> InProcessTransport:
        return InProcessTransport(
            self._app,
            points,
            chance,
            float(self._settings.get("request_timeout", 30.0)),
            self.log_event,
            self.network_down,
            lambda: self.severed,
            self._failure,
            deadline,
        )

    def _failure(self, chance: Random) -> Failure | None:
        if self.failures:
            return self.failures.pop(0)
        return chance.choice(FAILURES) if self.failing and chance.random() < self.failing else None

    # -- queries ---------------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        """All records by name, as they are on disk."""
        rows = self._rows("SELECT record FROM requests") if self.state.exists() else []
        texts = [row[0] for row in rows]
        self._loaded = {text: self._loaded.get(text) or load(text) for text in texts}  # few records change in a step
        return {record.name: record for record in self._loaded.values()}

    def moving(self) -> int:
        """The number of requests that make progress without the operator, or wait for the end of their retention."""
        return self._count("SELECT count(*) FROM requests WHERE moving OR phase = 'deletion'")

    async def until(self, true: Callable[[], object], patience: float = 86_400.0, every: float = 0.5) -> None:
        """Return when the condition is true, checked at this interval. Raise TimeoutError after `patience`."""
        async with asyncio.timeout(patience):
            while self.crash_points.dead or not true():
                assert self._supervisor is not None
                if self._supervisor.done():
                    await self._supervisor  # raises the error that ended the agent
                await asyncio.sleep(every)

    async def settle(self) -> None:
        """Wait until late calls have arrived and the orphan search has run."""
        await asyncio.sleep(_LATE)
        await self.until(lambda: not self.orphans(), every=30.0)

    def orphans(self) -> int:
        """The number of open possible orphans."""
        return self._count("SELECT count(*) FROM orphans WHERE closed_at IS NULL")

    def _count(self, sql: str) -> int:
        return int(self._rows(sql)[0][0])

    def _rows(self, sql: str) -> list[Any]:
        """Rows from the disk. They are read again after each commit, which is a boundary."""
        now = (self.lives, self.crash_points.dead, len(self.crash_points.boundaries))
        if self._read_at != now:
            self._read_at, self._read = now, {}
        if sql not in self._read:
            with contextlib.closing(open_reader(self.state)) as connection:
                self._read[sql] = connection.execute(sql).fetchall()
        return self._read[sql]

    def violations(self, *, settled: bool) -> list[Violation]:
        """The current violations."""
        found = violations(self.state, self.world.ledger.report(), AGENT, settled=settled, astray=self.max_clock_error)
        if not self.late:
            return found
        # The agent repeats an upload whose connection ended while the process is pending. The first upload may then
        # arrive after the start. Assure refuses it, and it contains the same images.
        return [one for one in found if "upload-after-start" not in one.message]


def silence_log() -> None:
    """Write no log."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL), cache_logger_on_first_use=False
    )


async def _ended(life: "asyncio.Task[None]", before: "set[asyncio.Task[Any]]") -> None:
    """End all tasks of this life. The tasks of the network and of event senders continue."""
    mine = {
        task
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}
        if not getattr(task.get_coro(), "__qualname__", "").startswith(("InProcessTransport.", "EventSender."))
    }
    left = {life, *mine}
    while left:  # a cleanup may wait for dead tasks, so it is cancelled again
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.01)
    await asyncio.gather(life, *mine, return_exceptions=True)
