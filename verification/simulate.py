"""Many simulated lives of an agent: seeded requests, people, faults, outages and kills, and then a calm end.

In each life, the invariants (`invariants`) must hold at every kill and at the end. A seed that fails is reduced to a
minimal plan, and its history is printed.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from time import perf_counter
from typing import Any

from agent.core.record import Record
from agent.sandbox import SandboxConfig
from agent.sandbox.faults.rules import Kind
from agent.store.sqlite.connection import open_reader
from verification.builders.request_files import (
    IDENTITY_CARD,
    capture_spec,
    request_file,
    upload_spec,
    write_atomically,
    write_pictures,
)
from verification.in_process_events import SECRET
from verification.life_plan import Edit, LifePlan, Request, draw_plan
from verification.mutations import mutated
from verification.parallel import run_parallel
from verification.replicas.failover import run_failover
from verification.replicas.plan import ReplicaPlan, draw_replicas
from verification.replicas.simulation import new_simulation
from verification.report import Report, progress
from verification.shrink import shrink
from verification.simulation import Simulation
from verification.temp_stores import temporary_folder
from verification.virtual_time import START, Deadlock, run_virtual

_SETTINGS = {"scan_interval": 20.0, "poll_interval": 10.0}
_CLAIMS_KEY = "0123456789abcdef" * 4  # of no real account
_ANSWER_INTERVAL = 60.0  # seconds between two checks of the operator for holds
_PATIENCE = 48 * 3600.0  # virtual seconds
_LONG_DOWN = 4 * 3600.0  # seconds: half a night
_HELD_FOR_TROUBLE = ("refused-by-assure", "unexpected-answer")


@dataclass(slots=True)
class LifeReport:
    """The report of one life."""

    seed: int
    requests: int
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    history: list[str] = field(default_factory=list)


class _Requesters:
    """The authors of the request files of a plan."""

    def __init__(self, stage: Simulation, plan: LifePlan) -> None:
        self._stage = stage
        self._plan = plan
        self._files: dict[str, dict[str, Any]] = {}  # name -> spec, of all files ever written
        self._notes: dict[str, dict[str, str]] = {}  # name -> annotations
        self._written: set[str] = set()
        self.present: set[str] = set()

    async def work(self) -> None:
        """Write and edit the files of the plan, in order."""
        moves: list[tuple[float, Callable[[], None]]] = []
        for one in self._plan.requests:
            moves.append((one.at, lambda one=one: self._appears(one)))  # type: ignore[misc]
            moves += [(one.at + edit.at, lambda one=one, edit=edit: self._edits(one, edit)) for edit in one.edits]  # type: ignore[misc]
        for at, move in sorted(moves, key=lambda pair: pair[0]):
            await asyncio.sleep(max(0.0, START + at - self._stage.clock.now()))
            move()

    async def answer(self) -> None:
        """Resolve held requests by edits of their files."""
        answers = {one.name: one.answer for one in self._plan.requests}
        while True:
            await asyncio.sleep(_ANSWER_INTERVAL)
            if self._stage.crash_points.dead:
                continue
            for name, record in self._stage.records().items():
                said = answers.get(name, "nothing")
                if record.hold is not None and said != "nothing" and name in self.present:
                    self._note(name, "resolve", f"{said}@{record.hold.id}")

    def _appears(self, one: Request) -> None:
        spec = _spec(self._stage, one)
        self._files[one.name], self._notes[one.name] = spec, {}
        self._write(one.name)

    def _edits(self, one: Request, edit: Edit) -> None:
        spec, name = self._files[one.name], one.name
        match edit.content:
            case "remove":
                self.present.discard(name)
                (self._stage.specs / f"{name}.yaml").unlink(missing_ok=True)
                return
            case "change" if "upload" in spec:
                front = spec["upload"]["images"]["front"]
                spec["processType"] = "document"
                spec["upload"]["images"] = {"front": front, "back": front}
            case "change":
                spec["capture"]["language"] = "no"
            case "suspend" | "resume":
                spec["suspend"] = edit.content == "suspend"
            case "rerun":
                self._notes[name]["assure-agent/rerun"] = f"at-{int(edit.at)}"
            case "retention":
                spec["retention"] = "120s"
            case "deadline":
                spec["deadline"] = "400s"
        self._write(name)

    def _note(self, name: str, key: str, value: str) -> None:
        if self._notes[name].get(f"assure-agent/{key}") != value:
            self._notes[name][f"assure-agent/{key}"] = value
            self._write(name)

    def _write(self, name: str) -> None:
        self.present.add(name)
        text = request_file(name, self._files[name], annotations=self._notes[name])
        write_atomically(self._stage.specs / f"{name}.yaml", text)


def _spec(stage: Simulation, one: Request) -> dict[str, Any]:
    more: dict[str, Any] = {"deadline": f"{one.deadline:.0f}s", "retention": f"{one.retention:.0f}s"}
    if one.keep:
        more["result"] = {"keep": "claims"}
    if one.capture:
        return capture_spec(one.outcome, **more)
    if one.selfie:
        more["processType"] = "documentSelfie"
    if one.by_name:
        more["document_type"] = {"country": "NLD", "type": "identityCard" if one.two_pages else "passport"}
    elif one.two_pages:
        more["document_id"] = IDENTITY_CARD
    marker = f"sandbox-outcome={one.outcome} sandbox-delay={one.delay:.0f}s {one.name}"
    if one.read_back:
        more["read_back"] = True
    back = one.two_pages and one.back
    return upload_spec(write_pictures(stage.images, one.name, marker, back=back, selfie=one.selfie), **more)


def run_life(plan: LifePlan, replicas: ReplicaPlan | None = None) -> LifeReport:
    """Run one life by its plan: one agent on a state file, or several on a database."""
    report = LifeReport(plan.seed, len(plan.requests))
    with temporary_folder() as folder:
        repeated = "refuse" if replicas is None else replicas.repeated_starts
        config = SandboxConfig(verification_delay=(2.0, 20.0), repeated_starts=repeated, **dict(plan.sandbox))
        settings = {**_SETTINGS, "claims_key": _CLAIMS_KEY, **dict(plan.settings)}
        if plan.events:
            settings["events_secret"] = SECRET
        given: dict[str, Any] = {"fatal": plan.kills, "config": config, "settings": settings}
        stage = new_simulation(folder, plan.seed, replicas, **given)
        people = _Requesters(stage, plan)
        try:
            run_virtual(_life(stage, plan, people), stage.new_loop)
        except (Exception, Deadlock) as error:
            report.wrong.append(f"I1 the life never settles ({type(error).__name__} {error}): {_moving(stage)}")
        _report(report, stage, people)
    return report


async def _life(stage: Simulation, plan: LifePlan, people: _Requesters) -> None:
    chance = Random(f"down/{plan.seed}")
    stage.faults.add(plan.rules)
    slow = any(rule.kind is Kind.LATENCY for rule in plan.rules)  # a killed agent does not wait for its calls
    stage.severed, stage.late = plan.severed, plan.severed > 0 or slow
    stage.failing = plan.failing
    stage.network_down = lambda: _run_plan(plan.outages, stage)
    stage.disk_full = lambda: _run_plan(plan.full, stage)
    stage.set_clocks(plan.jumps)
    async with asyncio.timeout(_PATIENCE), stage.running(lambda: _down(chance)):
        answering = asyncio.create_task(people.answer())
        await people.work()
        await asyncio.sleep(max(0.0, START + plan.calm_at - stage.clock.now()))
        stage.faults.clear()
        stage.severed = stage.failing = 0.0
        stage.calm()
        await asyncio.sleep(2 * _ANSWER_INTERVAL)
        await stage.until(lambda: people.present <= stage.records().keys() and not stage.moving(), every=60.0)
        answering.cancel()
        await stage.until(lambda: not stage.moving(), every=60.0)
        await stage.settle()
        await stage.until(lambda: not stage.moving(), every=60.0)


def _down(chance: Random) -> float:
    """Draw the seconds until the next start of the agent."""
    return _LONG_DOWN if chance.random() < 0.1 else chance.choice((0.1, 5.0, 90.0))


def _run_plan(spans: tuple[tuple[float, float], ...], stage: Simulation) -> bool:
    return any(begin <= stage.clock.now() - START < end for begin, end in spans)


def _moving(stage: Simulation) -> str:
    with contextlib.suppress(Exception):
        return ", ".join(f"{name} {one.phase}" for name, one in stage.records().items() if one.progressing)[:300]
    return "no records"


def _report(report: LifeReport, stage: Simulation, people: _Requesters) -> None:
    records = stage.records()
    report.wrong += [str(one) for one in (*stage.violations_at_kills, *stage.violations(settled=True))]
    report.wrong += [f"I1 lost: {name}" for name in sorted(people.present - records.keys())]
    report.counts.update(_outcomes(records))
    report.counts.update(stage.misfortunes())
    report.counts["calls"] = sum(stage.world.ledger.calls.values())
    report.counts.update(f"event {entry.state}" for entry in stage.world.ledger.events)
    report.counts["virtual seconds"] = int(stage.clock.now() - START)
    if report.wrong:
        report.history = [*stage.log[-150:], *_events(stage)]


def _outcomes(records: dict[str, Record]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for record in records.values():
        counts[f"outcome {record.outcome}" if record.outcome else "no outcome"] += 1
        if record.hold is not None:
            counts["held for trouble" if record.hold.reason in _HELD_FOR_TROUBLE else "held by a question"] += 1
    return counts


def _events(stage: Simulation) -> list[str]:
    with contextlib.closing(open_reader(stage.state)) as connection:
        rows = connection.execute("SELECT at, uid, type, changes FROM events ORDER BY at, id").fetchall()
    return [f"{at - START:10.2f}  {uid[:6]} {kind} {changes[:160]}" for at, uid, kind, changes in rows[-120:]]


Run = tuple[int, int, int, str | None]


def _run(run: Run) -> LifeReport:
    seed, requests, machines, mutation = run
    plan = draw_plan(seed, requests)
    with mutated(mutation):
        return run_life(plan, draw_replicas(seed, machines, plan.calm_at) if machines > 1 else None)


def size(seed: int) -> int:
    """The number of requests of a seed. Most lives are small, some fill more than Assure's list of 100 dossiers."""
    return Random(f"size/{seed}").choice((10, 40, 80, 130, 240))


def simulate(
    seed: int,
    *,
    lives: int,
    jobs: int = 1,
    mutation: str | None = None,
    requests: int | None = None,
    machines: int = 1,
) -> Report:
    """Simulate `lives` seeds from this one on. With several machines, their agents share a database."""
    report = Report(f"make simulate: {lives} lives", f"{seed} to {seed + lives - 1}")
    began, counts, simulated = perf_counter(), Counter[str](), 0
    plans = [(number, requests or size(number), machines, mutation) for number in range(seed, seed + lives)]
    for reports in run_parallel(_run, plans, jobs):
        counts += reports.counts
        simulated += reports.requests
        progress(f"{simulated} requests, {simulated / (perf_counter() - began):.0f}/s")
        if reports.wrong and not report.wrong:
            report.wrong = [
                f"seed {reports.seed} with {reports.requests} requests: {one}" for one in reports.wrong[:10]
            ]
            report.notes += _smaller(reports, machines, mutation)
        elif reports.wrong:
            report.wrong.append(f"seed {reports.seed}: {reports.wrong[0]} (and {len(reports.wrong) - 1} more)")
    if machines > 1:
        counts += _fail_over(report, range(seed, seed + lives), jobs)
    seconds = perf_counter() - began
    report.rows = [("what", "count"), ("requests", f"{simulated:,}")]
    report.rows += [(name, f"{count:,}") for name, count in sorted(counts.items())]
    report.rows += [("seconds", f"{seconds:.0f}"), ("requests a second", f"{simulated / seconds:.0f}")]
    return report


def _fail_over(report: Report, seeds: range, jobs: int) -> Counter[str]:
    """Run a failover for each seed, and add its violations to the report."""
    total: Counter[str] = Counter()
    for seed, (wrong, counts) in zip(seeds, run_parallel(run_failover, seeds, jobs), strict=True):
        total += counts
        report.wrong += [f"failover {seed}: {one}" for one in wrong[:10]]
    return total


def _smaller(report: LifeReport, machines: int, mutation: str | None) -> list[str]:
    """The smallest plan that still fails, and its history. The misfortunes of machines stay as they are."""
    plan = draw_plan(report.seed, report.requests)
    replicas = draw_replicas(report.seed, machines, plan.calm_at) if machines > 1 else None
    with mutated(mutation):
        plan = shrink(plan, lambda plan: bool(run_life(plan, replicas).wrong))
        again = run_life(plan, replicas)
    lines = [f"the shortest history of seed {report.seed}:", *(f"  {one}" for one in plan.requests)]
    lines += [f"  {one}" for one in plan.rules] + [f"  killed at {plan.kills}, away at {plan.outages}"]
    lines += [] if replicas is None else [f"  {replicas}"]
    lines += [f"  disk full at {plan.full}, clock set at {plan.jumps}, events: {plan.events}"]
    return [*lines, *(f"  {one}" for one in again.history), *(f"  => {one}" for one in again.wrong)]
