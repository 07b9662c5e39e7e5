"""Several agents on one database and the whole sandbox in one process, under a virtual clock.

The engine for PostgreSQL is the agent's own. A model of the server replaces the pool of connections. Each machine has
a virtual boot clock and a virtual timer of the kernel. There are no checkpoints. `verification/simulation.py` has the
other replacements.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from agent.assure.client import AssureClient
from agent.assure.http import send_deadline as deadline_module
from agent.assure.http.send_deadline import SendDeadline
from agent.core.errors import StoreError
from agent.daemon import agent, composition, shared_watch
from agent.daemon.agent import Agent
from agent.platform.clock import SystemClock
from agent.platform.settings import Settings
from agent.sandbox import SandboxConfig
from agent.source.choice import source_of
from agent.store.postgres import ownership
from agent.store.postgres import store as store_module
from agent.store.sqlite.store import NEEDED_IMAGES
from agent.web import service
from verification.builders.settings import settings as settings_of
from verification.null_services import serve_nothing, watch_nothing
from verification.replacements import VirtualScheduler
from verification.replicas.connections import ModelPool, Network
from verification.replicas.machine import (
    NoCheckpoints,
    ProcessCrashPoints,
    ReplicaEventEndpoint,
    StoppingDeadline,
    VirtualKernelTimer,
    boot_clock,
)
from verification.replicas.plan import ReplicaPlan, draw_stop
from verification.replicas.process import Process, ProcessLoop, current_process, outside
from verification.replicas.shared_work import ReplicatedDatabase
from verification.simulation import AGENT, URL, Simulation, silence_log
from verification.virtual_time import START

_OF_COMMITS = 0.1  # of the stops, because there are many more commits than calls that change something
_WATCH = 5.0  # seconds between two reads of what other replicas changed: each second takes most of the time of a run
_ENDING = 60.0  # seconds for an agent to end


class ReplicaSimulation(Simulation):
    """One folder of requests, one Assure, one database, and several machines with one agent after the other."""

    new_loop = ProcessLoop

    def __init__(
        self,
        folder: Path,
        seed: int,
        plan: ReplicaPlan,
        *,
        fatal: Collection[int] = (),
        config: SandboxConfig | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(folder, seed, fatal=fatal, config=config, settings=settings)
        self.plan = plan
        self.machines = range(plan.machines)
        self.database = ReplicatedDatabase(self.state, self.clock)
        self.chance = Random(f"replicas/{seed}")
        self.network = Network(self.database, self.chance)
        self.processes: dict[int, Process] = {}  # the current life of each machine
        self._counts: Counter[str] = Counter()
        self._calm = False
        self._agents: dict[int, Agent] = {}
        self.network.away = lambda: any(begin <= self._passed() < end for begin, end in plan.away)
        self.network.lost = lambda: 0.0 if self._calm else plan.lost
        self._event_endpoint: ReplicaEventEndpoint = ReplicaEventEndpoint(self.chance)

    @contextlib.asynccontextmanager
    async def running(self, down: Callable[[], float] = lambda: 1.0) -> AsyncIterator[None]:
        """Keep an agent running on each machine while the block runs. A dead one is replaced after `down` seconds."""
        ended = asyncio.Event()

        async def one_after_the_other(machine: int) -> None:
            while not ended.is_set():
                await self._live(machine, ended)
                if not ended.is_set():
                    await self.clock.wait(ended, down())

        courier = asyncio.create_task(self._event_sender().run())
        self._schedule()
        with self._replacements():
            self._supervisor = asyncio.create_task(_all(map(one_after_the_other, self.machines)))
            try:
                yield
            finally:
                ended.set()
                await self._supervisor
                courier.cancel()
                await asyncio.gather(courier, *self.network.in_flight, return_exceptions=True)
                self.database.connection.close()

    def set_clocks(self, jumps: Sequence[tuple[float, float]]) -> None:
        """Nothing: replicas have the time of the server. The clocks of their hosts differ by the plan."""

    def calm(self) -> None:
        """Let no more processes stop, and no answers get lost."""
        self._calm = True

    def misfortunes(self) -> Counter[str]:
        """How many there were, by kind."""
        return self._counts

    def _passed(self) -> float:
        return self.clock.now() - START

    def _schedule(self) -> None:
        loop = asyncio.get_running_loop()
        for at, machine in self.plan.kills:
            loop.call_later(at, self.kill, machine)
        for at, machine in self.plan.endings:
            loop.call_later(at, self._counted, "ended by SIGTERM", self.terminate, machine)
        for (begin, end), machine in self.plan.stops:
            loop.call_later(begin, self.stop, machine, end - begin)

    def _counted(self, kind: str, act: Callable[[int], None], machine: int) -> None:
        self._counts[kind] += 1
        act(machine)

    async def _live(self, machine: int, ended: asyncio.Event) -> None:
        """Run one agent until it is killed, gets SIGTERM, or `ended` is set."""
        self.lives += 1
        process = self.processes[machine] = self._process(machine)
        self._agents.pop(machine, None)
        with process.current():
            life = asyncio.create_task(self._run_agent(machine))
        ends = [asyncio.create_task(event.wait()) for event in (process.ended, ended)]
        await asyncio.wait([life, *ends], return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        if not process.dead:
            process.proceed()
            self.terminate(machine)
            await asyncio.wait([life], timeout=_ENDING)
        self._event_endpoint.close_endpoint(process)
        await process.end_tasks()
        if process.dead:
            self.violations_at_kills += self.violations(settled=False)
        elif life.done() and not life.cancelled() and (error := life.exception()):
            if not isinstance(error, StoreError):
                raise error
            self.log_event(f"{process.name} ended: {error}")

    def _process(self, machine: int) -> Process:
        points = ProcessCrashPoints(self.crash_points)
        offset, rate = self.chance.uniform(0.0, 1e6), self.chance.uniform(0.92, 1.08)
        process = Process(f"{machine}/{self.lives}", points, self.clock.now, offset, rate)
        points.killed = partial(self._process_killed, process)
        return process

    def _process_killed(self, process: Process) -> None:
        points = self.crash_points.boundaries
        how = "ended by its timer" if process.stopped else "killed"
        self._counts[how] += 1
        self.log_event(f"{process.name} {how} after {points[-1] if points else 'nothing'}")
        process.ended.set()

    def stop(self, machine: int, seconds: float) -> None:
        """SIGSTOP for some seconds."""
        if (process := self.processes.get(machine)) is not None and not (process.dead or process.stopped):
            self.log_event(f"{process.name} stopped for {seconds:.1f} s")
            self._counts["stops"] += 1
            process.stop()
            outside().run(asyncio.get_running_loop().call_later, seconds, process.proceed)

    def kill(self, machine: int) -> None:
        """SIGKILL."""
        if (process := self.processes.get(machine)) is not None:
            process.crash_points.kill()

    def _harmful_point(self, process: Process, weight: float = 1.0) -> None:
        """The process is at a point where a stop can do harm."""
        if not self._calm and self.chance.random() < weight * self.plan.pausing:
            self.stop(_machine(process), draw_stop(self.chance))

    def terminate(self, machine: int) -> None:
        """SIGTERM."""
        if (running := self._agents.get(machine)) is not None:
            with self.processes[machine].current():
                running.stop()

    def recovering(self) -> bool:
        """True while a recovery is open."""
        return self._count("SELECT count(*) FROM recoveries WHERE closed_at IS NULL") > 0

    async def command(self, verb: str) -> None:
        """Send a command of the operator to any agent that runs."""
        machine = next(one for one, process in self.processes.items() if not process.dead and one in self._agents)
        with self.processes[machine].current():
            given = {"id": f"{verb}-{self.lives:08}", "verb": verb}
            answer = await asyncio.create_task(self._agents[machine]._control.execute(given, "operator"))
        self.log_event(f"{verb}: {answer['message']}")

    async def _run_agent(self, machine: int) -> None:
        state = self.folder / f"machine-{machine}"
        others = {
            "state_url": "postgresql://agent@127.0.0.1:1/agent",
            "state_dir": state,
            "key_file": self.folder / "state" / "agent.key",
            **self._settings,
        }
        if "claims_key" in others:
            others["keys_dir"] = self.folder / "keys"
        known = settings_of(self.folder, URL, agent_id=AGENT, **others)
        async with Agent.opened(Settings(**known)) as running:
            self._agents[machine] = running
            await running.run()

    # -- replacements ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _replacements(self) -> Iterator[None]:
        exchanged: dict[str, Any] = {
            "SystemClock": self._clock_of_host,
            "AssureClient": self._client,
            "source_of": partial(source_of, settle=0, checkout=False),
            "Scheduler": VirtualScheduler,
            "random": self.chance,
            "watching": watch_nothing,
            "serve_control_socket": serve_nothing,
            "KernelTimer": VirtualKernelTimer,
        }
        of_store: dict[str, Any] = {
            "open_pool": self._open_pool,
            "migrate_by": mock.AsyncMock(),
            "refuse_unverified_requests": mock.AsyncMock(),
            "Checkpoints": NoCheckpoints,
            "numbered": lambda sql: sql,
            "_NEEDED": NEEDED_IMAGES,
        }
        silence_log()
        with contextlib.ExitStack() as patches:
            for name, instead in exchanged.items():
                module = composition if name in vars(composition) else agent
                patches.enter_context(mock.patch.object(module, name, instead))
            for name, instead in of_store.items():
                patches.enter_context(mock.patch.object(store_module, name, instead))
            for module in (ownership, deadline_module):
                patches.enter_context(mock.patch.object(module, "boot_clock", boot_clock))
            patches.enter_context(mock.patch.object(shared_watch, "_INTERVAL", _WATCH))
            patches.enter_context(mock.patch.object(service, "serve", self._event_endpoint.serving))
            yield

    async def _open_pool(self, *_: object) -> ModelPool:
        process = current_process()
        return ModelPool(self.network, process, partial(self._harmful_point, process, _OF_COMMITS))

    def _clock_of_host(self) -> SystemClock:
        process = current_process()
        machine = _machine(process)
        return SystemClock(lambda: self.clock.now() + self.plan.ahead[machine], process.boot_time, process.name)

    def _client(self, *arguments: Any, send_deadline: SendDeadline, **others: Any) -> AssureClient:
        process = current_process()
        deadline = StoppingDeadline(send_deadline, partial(self._harmful_point, process))
        transport = self._transport(process.crash_points, self.chance, deadline)
        known = {**others, "transport": transport, "send_deadline": send_deadline}
        return AssureClient(*arguments, **known)


def new_simulation(folder: Path, seed: int, replicas: ReplicaPlan | None, **given: Any) -> Simulation:
    """A simulation of one agent on a state file, or of several on a database."""
    return Simulation(folder, seed, **given) if replicas is None else ReplicaSimulation(folder, seed, replicas, **given)


def _machine(process: Process) -> int:
    return int(process.name.partition("/")[0])


async def _all(lives: Iterable[Coroutine[None, None, None]]) -> None:
    await asyncio.gather(*lives)
