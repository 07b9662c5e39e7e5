"""A small world: a folder of requests, an agent on a real store, and the sandbox on a real port."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import structlog

from agent.assure.account import client_config
from agent.assure.client import Config
from agent.core.record import Phase, Record
from agent.daemon import agent as agent_module
from agent.daemon import composition
from agent.daemon.agent import Agent
from agent.daemon.once_result import OnceResult
from agent.platform.settings import Settings
from agent.sandbox import SandboxConfig, SandboxServer
from agent.sandbox.ledger import DossierEntry, Ledger
from agent.source.choice import source_of
from agent.source.folder_source import FolderSource
from agent.source.revisions.git_source import GitSource
from agent.store import open_audit, open_reading
from agent.store.audit.verify import verify
from agent.store.reading.reading import Reading
from agent.web import service
from tests.support.held_time import asking, holding
from tests.support.revisions import FakeGitSource
from tests.support.timeouts import PATIENT
from tests.support.world_store import WorldStore
from verification.builders.request_files import capture, upload, write, write_pictures
from verification.builders.settings import settings
from verification.null_services import serve_nothing, watch_nothing

from .clock import HostClock, VirtualClock, patiently, until

CONFIG = SandboxConfig(verification_delay=(2.0, 2.0), capture_delay=2.0)


_opened: list[object] = []


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """A block that ends before every block that began earlier."""
    _opened.append(me := object())
    try:
        yield
    finally:
        last = _opened.pop()
        assert last is me, "agents must end in the reverse order of their start"


@dataclass
class World(WorldStore):
    """Write requests, let an agent settle them, and read the results."""

    clock: VirtualClock
    sandbox: SandboxServer
    calls: list[str]  # operations in the order in which they arrived at the sandbox
    logs: list[Any]  # log entries before redaction
    finished: OnceResult | None = None
    set_by: float | None = None  # error of the host's clock in seconds; None gives the agent the virtual clock
    boot: str = "a boot"
    url: str = ""  # of the HTTP server of the running agent
    git: FakeGitSource | None = None  # instead of the folder; needs the setting `source_url`

    @property
    def specs(self) -> Path:
        return self.folder / "specs"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def ledger(self) -> Ledger:
        return self.sandbox.ledger

    # -- writing -----------------------------------------------------------------------------------------------

    def upload(self, name: str, marker: str = "", back: bool = False, **more: Any) -> Path:
        """Write a request of use case 2 and its pictures; the marker goes into the front."""
        images = write_pictures(self.images, name, marker, back=back, selfie="processType" in more)
        return write(self.specs / f"{name}.yaml", upload(name, images, **more))

    def capture(self, name: str, **more: Any) -> Path:
        """Write a request of use case 1."""
        return write(self.specs / f"{name}.yaml", capture(name, **more))

    # -- running -----------------------------------------------------------------------------------------------

    def settings(self, **more: Any) -> Settings:
        given: dict[str, Any] = {
            "request_timeout": 5.0,
            "scan_interval": 3600.0,  # real seconds: a test scans by itself
            "agent_id": "tests",
        }
        return Settings(**settings(self.folder, self.sandbox.url, **given | self.switches | more))

    def source_of(self, settings: Settings) -> "FolderSource | GitSource | FakeGitSource":
        """The source; files count at once."""
        return source_of(settings, settle=0) if self.git is None else self.git

    @contextlib.asynccontextmanager
    async def opened(self, http: bool = False, watch: bool = False, **more: Any) -> AsyncIterator[Agent]:
        """An agent on this store that does nothing yet. `http` starts its server, which takes 0.2 s to end.

        Agents end in the reverse order of their start. Otherwise a patch of an earlier one would stay for other tests.
        """
        with contextlib.ExitStack() as patches:
            patches.enter_context(in_order())
            patches.enter_context(mock.patch.object(composition, "source_of", self.source_of))
            patches.enter_context(mock.patch.object(composition, "random", random.Random(7)))  # same jitter
            if not watch:  # tests scan by themselves
                patches.enter_context(mock.patch.object(agent_module, "watching", watch_nothing))
            if not http:
                patches.enter_context(mock.patch.object(service, "serve", serve_nothing))
            hurried = (self.switches | more).get("request_timeout")  # a test that names it is about it
            patches.enter_context(mock.patch.object(composition, "client_config", partial(_patient, hurried)))
            clock = self.clock if self.set_by is None else None
            host = partial(HostClock, self.clock, lambda: self.set_by or 0.0, self.boot)
            patches.enter_context(mock.patch.object(agent_module, "SystemClock", host))
            patches.enter_context(asking(self.clock))
            async with Agent.opened(self.settings(**more), clock=clock) as agent:
                reconciler, throttle, turns = agent.reconciler, agent._throttle, agent._assure.rate_limiter
                with (
                    self.clock.watch(lambda: throttle.probing - turns.waiting, loop=False),
                    self.clock.watch(lambda: len(reconciler._driven) + len(reconciler._committing)),
                    holding(self.clock, agent._result_poller, "poll", loop=False),
                    contextlib.ExitStack() as loops,
                ):
                    if agent._clock_corrector is not None:
                        loops.enter_context(holding(self.clock, agent._clock_corrector, "_run_once", "_request_date"))
                    if agent._revisions is not None:
                        loops.enter_context(holding(self.clock, agent._revisions, "sync"))
                    for deliverer in agent._http_service._dispatchers:
                        loops.enter_context(holding(self.clock, deliverer, "dispatch_once"))
                    yield agent

    async def settle(self, patience: float = 86_400.0, **more: Any) -> OnceResult:
        """`run --once`: until all is settled as far as it can be. Time passes by itself."""
        self.clock.release()
        async with self.opened(**more) as agent:
            task = asyncio.create_task(agent.run_once(patience))

            def scanning() -> int:  # or sweeping: time is held until it waits as well
                return not self.clock.waits(task) and not _draining(agent)

            with self.clock.watch(scanning):
                self.finished = await patiently(task, 30.0)
        return self.finished

    @contextlib.asynccontextmanager
    async def running(self, **more: Any) -> AsyncIterator[Agent]:
        """`run`: an agent at work until the block ends. It has done what it can do at once; then time is held."""
        self.clock.hold()
        async with self.opened(**more) as agent:
            up = asyncio.Event()

            def listening(url: str) -> None:
                self.url = url
                up.set()

            task = asyncio.create_task(agent.run(listening))
            try:
                await until(lambda: task.done() or up.is_set())
                await self.clock.rest()
                yield agent
            finally:
                with self.clock.watch(lambda: not _draining(agent), loop=False):
                    agent.stop()
                    self.clock.release()
                    await patiently(task, 30.0)
                    self.clock.hold()

    # -- reading -----------------------------------------------------------------------------------------------

    def findings(self) -> list[str]:
        """The findings of the audit."""
        with open_audit(self.settings()) as audit:
            return [finding.what for finding in verify(audit).findings]

    def reading(self) -> Reading:
        return open_reading(self.settings())

    def records(self) -> dict[str, Record]:
        """All records by name, as they are on disk."""
        with self.reading() as reading:
            return {record.name: record for record in reading.all()}

    def record(self, name: str) -> Record:
        return self.records()[name]

    def link(self, name: str) -> str | None:
        """The capture link that the agent would give to the end user now."""
        uid = self.record(name).uid
        with self.reading() as reading:
            return reading.link(uid)

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a query."""
        with self.reading() as reading:
            return [tuple(row) for row in reading.query(sql, values)]

    def history(self, name: str) -> list[str]:
        """The types of the events of a request, in order."""
        uid = self.record(name).uid
        return [row[0] for row in self.rows("SELECT type FROM events WHERE uid = ? ORDER BY seq", uid)]

    def dossiers(self, name: str) -> list[DossierEntry]:
        """The dossiers that were ever created for a request, oldest first."""
        prefix = f"aa-tests-{self.record(name).uid}-"
        return [entry for entry in self.ledger.dossiers.values() if (entry.reference or "").startswith(prefix)]

    def starts(self, name: str) -> int:
        """The number of starts of this request; a capture flow counts as one."""
        entries = self.dossiers(name)
        if self.record(name).desired.mode == "capture":
            return sum(entry.captures for entry in entries)
        return sum(process.starts for entry in entries for process in entry.processes)

    def intercept(self, method: str) -> list[dict[str, Any]]:
        """Collect the JSON bodies that arrive at this method of the sandbox's world from now on."""
        received: list[dict[str, Any]] = []
        part = self.sandbox.world.flows if method == "start" else self.sandbox.world
        original = getattr(part, method)

        def received_by(*arguments: Any) -> Any:
            received.append(arguments[-1])
            return original(*arguments)

        setattr(part, method, received_by)
        return received

    # -- what is true of every world ------------------------------------------------------------------------------

    def check(self, cut: bool = False) -> None:
        """Check the invariants I1, I2, I3 and I5 from outside, and that Assure saw no violation.

        `cut`: the store was lost or restored by hand. The audit must find the missing history and nothing else.
        """
        for name, record in self.records().items():
            assert not record.progressing, f"{name} goes on"
            held_or_done = record.hold is not None or record.phase is Phase.DONE or record.in_retention
            assert held_or_done or record.desired.suspend, f"{name} is stuck [I1]"
        for entry in self.ledger.dossiers.values():
            assert sum(process.starts for process in entry.processes) <= 1, "two starts [I2]"
        findings = self.findings()
        assert bool(findings) is cut, "[I5]"
        assert all("truncated" in what for what in findings), "[I5]"
        assert self.ledger.violations == []

    def check_nothing_left(self) -> None:
        """Check that all dossiers are deleted, and that no possible orphan exists [I3]."""
        assert self.sandbox.world.dossiers == {}
        for (reference,) in self.rows("SELECT reference FROM orphans WHERE closed_at IS NULL"):
            assert self.ledger.by_reference(reference) == []


def _patient(hurried: float | None, settings: Settings) -> Config:
    """The sandbox answers at its own pace, in real time; what the agent knows of REQUEST_TIMEOUT is virtual time."""
    return replace(client_config(settings), request_timeout=hurried or PATIENT, connect_timeout=PATIENT)


def _draining(agent: Agent) -> bool:
    """True while an agent that ends waits for calls to Assure: it needs time for nothing else.

    Without this, time would jump to the next deadline of a loop, such as a poll in 900 s, before the loop ends.
    """
    return agent.reconciler._stopping and bool(agent.reconciler._driven)


@contextlib.asynccontextmanager
async def _sandbox(config: SandboxConfig, clock: VirtualClock) -> AsyncIterator[SandboxServer]:
    """A sandbox on this clock; time is held while it sends an event."""
    sandbox = SandboxServer(config, clock=clock, sleep=clock.sleep, wait=clock.doze)
    async with sandbox:
        with clock.watch(lambda: sandbox.courier.sending, loop=False):
            yield sandbox


@contextlib.asynccontextmanager
async def small_world(folder: Path, config: SandboxConfig = CONFIG, **switches: Any) -> AsyncIterator[World]:
    """A world that begins and ends."""
    for name in ("specs", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    calls: list[str] = []
    async with VirtualClock() as clock, _sandbox(config, clock) as sandbox:
        counted = sandbox.ledger.called

        def called(operation: str) -> None:
            calls.append(str(operation))
            counted(operation)

        sandbox.ledger.called = called  # type: ignore[method-assign]
        with structlog.testing.capture_logs() as logs:
            yield World(folder, clock, sandbox, calls, logs, switches=switches)


async def crowd(world: World, count: int = 100) -> list[str]:
    """Create older dossiers of another application in the same account: they fill a list of the last 100."""
    theirs = [world.sandbox.world.create_dossier({})["dossierId"] for _ in range(count)]
    await world.clock.advance(100)
    return theirs
