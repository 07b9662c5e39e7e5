"""Every boundary of every scenario: the agent is killed there, resumes, and is compared with a run without kills.

Boundaries are before each commit, after it and before its effect, and after each call and before its answer is saved. A
killed agent has no further effect. The next agent opens the files as they were at that moment.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from verification.mutations import mutated
from verification.parallel import run_parallel
from verification.replicas.plan import undisturbed
from verification.replicas.simulation import new_simulation
from verification.report import Report
from verification.scenarios import SCENARIOS
from verification.simulation import AGENT, Simulation
from verification.temp_stores import temporary_folder
from verification.virtual_time import Deadlock, run_virtual

_SETTINGS = {"scan_interval": 5.0, "poll_interval": 5.0}
# The short form kills at all boundaries of these scenarios.
_SHORT = ("upload, accepted", "capture, accepted", "answers lost", "changed, verified again")
_PATIENCE = 4500.0  # virtual seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeResult:
    """The end of one run of a scenario: the records, the ledger, and the violations."""

    records: Mapping[str, tuple[str, ...]]
    ledger: Mapping[str, int]
    boundaries: int
    wrong: tuple[str, ...]


def _records(stage: Simulation) -> dict[str, tuple[str, ...]]:
    return {
        name: (record.phase, record.state, record.outcome or "-", str(record.generation))
        + ((record.hold.reason,) if record.hold else ())
        for name, record in stage.records().items()
    }


def _ledger(stage: Simulation) -> dict[str, int]:
    """Starts by uid and generation of uploads, dossiers that are left, and breaches of the contract."""
    counts: Counter[str] = Counter()
    for dossier in stage.world.ledger.report()["dossiers"]:
        generation = dossier["externalReference"].rpartition("-")[0].removeprefix(f"aa-{AGENT}-")
        counts["not deleted"] += dossier["deletedAt"] is None
        if not dossier["captures"]:
            counts[f"starts of {generation}"] += sum(process["starts"] for process in dossier["processes"])
    counts["violations"] = len(stage.world.ledger.violations)
    return dict(+counts)  # without zero counts


def run_life(name: str, seed: int, fatal: Collection[int], machines: int = 1) -> LifeResult:
    """Run one life. At each of these boundaries the agent is killed that reached it.

    With several machines, their agents share a database, and another one continues.
    """
    scenario = SCENARIOS[name]

    async def run(stage: Simulation) -> None:
        stage.faults.add(scenario.trouble)
        async with asyncio.timeout(_PATIENCE), stage.running():
            await scenario.script(stage)
            await stage.settle()

    with temporary_folder() as folder:
        given: dict[str, Any] = {"fatal": fatal, "settings": {**_SETTINGS, **scenario.settings}}
        stage = new_simulation(folder, seed, undisturbed(machines) if machines > 1 else None, **given)
        trouble: list[str] = []
        try:
            run_virtual(run(stage), stage.new_loop)
        except (Exception, Deadlock) as error:
            trouble.append(f"I1 the run never ends ({type(error).__name__}: {error})")
        found = [*stage.violations_at_kills, *stage.violations(settled=True)]
        trouble += [str(one) for one in found]
        records = _records(stage) if stage.state.exists() else {}
        return LifeResult(
            records=records, ledger=_ledger(stage), boundaries=len(stage.crash_points.boundaries), wrong=tuple(trouble)
        )


def compare(name: str, seed: int, reference: LifeResult, fatal: Collection[int], machines: int = 1) -> list[str]:
    """The violations of a killed run, and its differences from the run without kills."""
    life = run_life(name, seed, fatal, machines)
    where = f"{name}, killed at {', '.join(map(str, sorted(fatal)))}"
    wrong = [f"{where}: {one}" for one in life.wrong]
    if SCENARIOS[name].same:
        if life.records != reference.records:
            wrong.append(f"{where}: records {life.records}, not {reference.records}")
        if life.ledger != reference.ledger:
            wrong.append(f"{where}: ledger {life.ledger}, not {reference.ledger}")
    return wrong


Run = tuple[str, int, LifeResult, tuple[int, ...], int, str | None]


def _run(run: Run) -> list[str]:
    name, seed, reference, fatal, machines, mutation = run
    with mutated(mutation):
        return compare(name, seed, reference, fatal, machines)


def run_all(name: str, boundaries: int, chance: Random, *, long: bool) -> list[tuple[int, ...]]:
    """Choose the boundaries for kills: each or some single ones, and sampled pairs."""
    whole = long or name in _SHORT
    singles = range(boundaries) if whole else sorted(chance.sample(range(boundaries), min(4, boundaries)))
    pairs = 60 if long else 3
    return [*((one,) for one in singles), *(tuple(sorted(chance.sample(range(boundaries), 2))) for _ in range(pairs))]


def crash(
    seed: int,
    *,
    long: bool = False,
    jobs: int = 1,
    mutation: str | None = None,
    only: Iterable[str] = (),
    machines: int = 1,
) -> Report:
    """Run all scenarios."""
    report = Report("make crash" + (" (long)" if long else ""), seed)
    report.rows.append(("scenario", "boundaries", "killed at one", "at two", "wrong"))
    chance = Random(seed)
    total = [0, 0, 0]
    for name in list(only) or list(SCENARIOS):
        reference = run_life(name, seed, (), machines)
        report.wrong += [f"{name}, not killed: {one}" for one in reference.wrong]
        fatal = run_all(name, reference.boundaries, chance, long=long)
        wrong: list[str] = []
        runs = [(name, seed, reference, at, machines, mutation) for at in fatal]
        for done, found in enumerate(run_parallel(_run, runs, jobs), start=1):
            wrong += found
            if found and mutation is not None:  # the mutation was detected, and that is enough
                fatal = fatal[:done]
                break
        report.wrong += wrong
        singles = sum(len(at) == 1 for at in fatal)
        report.rows.append((name, str(reference.boundaries), str(singles), str(len(fatal) - singles), str(len(wrong))))
        if wrong and mutation is not None:
            break
        total = [total[0] + reference.boundaries, total[1] + singles, total[2] + len(fatal) - singles]
    report.rows.append(("all", *map(str, total), str(len(report.wrong))))
    return report
