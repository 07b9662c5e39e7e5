"""Every boundary of every scenario: killed there, resumed from the files, compared with the run that was not killed.

Boundaries are before each commit, after it and before its effect, and after each call and before its answer is saved.
Killed means: nothing of the agent gets any further, and the next one opens the files as they were at that moment.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from random import Random

from verification.mutations import broken
from verification.parallel import each
from verification.report import Report
from verification.scenarios import SCENARIOS
from verification.simulation import AGENT, Stage
from verification.temp_stores import scratch
from verification.virtual_time import Stuck, play

_SETTINGS = {"scan_interval": 5.0, "poll_interval": 5.0}
_SHORT = ("upload, accepted", "capture, accepted", "answers lost", "changed, verified again")  # all of their boundaries
_PATIENCE = 4500.0  # virtual seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How one run of a scenario ended: at the end of the records, at the end of the ledger, and what was wrong."""

    records: Mapping[str, tuple[str, ...]]
    ledger: Mapping[str, int]
    boundaries: int
    wrong: tuple[str, ...]


def _records(stage: Stage) -> dict[str, tuple[str, ...]]:
    return {
        name: (record.phase, record.state, record.outcome or "-", str(record.generation))
        + ((record.hold.reason,) if record.hold else ())
        for name, record in stage.records().items()
    }


def _ledger(stage: Stage) -> dict[str, int]:
    """Starts by uid and generation of uploads, dossiers that are left, and everything that the contract forbids."""
    counts: Counter[str] = Counter()
    for dossier in stage.world.ledger.report()["dossiers"]:
        generation = dossier["externalReference"].rpartition("-")[0].removeprefix(f"aa-{AGENT}-")
        counts["left behind"] += dossier["deletedAt"] is None
        if not dossier["captures"]:
            counts[f"starts of {generation}"] += sum(process["starts"] for process in dossier["processes"])
    counts["violations"] = len(stage.world.ledger.violations)
    return dict(+counts)  # without those that are nought


def lived(name: str, seed: int, fatal: Collection[int]) -> Life:
    """One run, killed at these boundaries."""
    scenario = SCENARIOS[name]

    async def run(stage: Stage) -> None:
        stage.faults.add(scenario.trouble)
        async with asyncio.timeout(_PATIENCE), stage.living():
            await scenario.script(stage)
            await stage.calm()

    with scratch() as folder:
        stage = Stage(folder, seed, fatal=fatal, settings={**_SETTINGS, **scenario.settings})
        trouble: list[str] = []
        try:
            play(run(stage))
        except (Exception, Stuck) as error:
            trouble.append(f"I1 it never ends ({type(error).__name__}: {error})")
        found = [*stage.found, *stage.violations(settled=True)]
        trouble += [str(one) for one in found]
        records = _records(stage) if stage.state.exists() else {}
        return Life(records=records, ledger=_ledger(stage), boundaries=len(stage.gate.boundaries), wrong=tuple(trouble))


def compared(name: str, seed: int, reference: Life, fatal: Collection[int]) -> list[str]:
    """What is wrong with a killed run, or different from the run that was not."""
    life = lived(name, seed, fatal)
    where = f"{name}, killed at {', '.join(map(str, sorted(fatal)))}"
    wrong = [f"{where}: {one}" for one in life.wrong]
    if SCENARIOS[name].same:
        if life.records != reference.records:
            wrong.append(f"{where}: records {life.records}, not {reference.records}")
        if life.ledger != reference.ledger:
            wrong.append(f"{where}: ledger {life.ledger}, not {reference.ledger}")
    return wrong


Run = tuple[str, int, Life, tuple[int, ...], str | None]


def _run(run: Run) -> list[str]:
    name, seed, reference, fatal, mutation = run
    with broken(mutation):
        return compared(name, seed, reference, fatal)


def runs_of(name: str, boundaries: int, chance: Random, *, long: bool) -> list[tuple[int, ...]]:
    """Where to kill: at each boundary, or at some of them; and at sampled pairs."""
    whole = long or name in _SHORT
    singles = range(boundaries) if whole else sorted(chance.sample(range(boundaries), min(4, boundaries)))
    pairs = 60 if long else 3
    return [*((one,) for one in singles), *(tuple(sorted(chance.sample(range(boundaries), 2))) for _ in range(pairs))]


def crash(
    seed: int, *, long: bool = False, jobs: int = 1, mutation: str | None = None, only: Iterable[str] = ()
) -> Report:
    """All scenarios."""
    report = Report("make crash" + (" (long)" if long else ""), seed)
    report.rows.append(("scenario", "boundaries", "killed at one", "at two", "wrong"))
    chance = Random(seed)
    total = [0, 0, 0]
    for name in list(only) or list(SCENARIOS):
        reference = lived(name, seed, ())
        report.wrong += [f"{name}, not killed: {one}" for one in reference.wrong]
        fatal = runs_of(name, reference.boundaries, chance, long=long)
        wrong: list[str] = []
        runs = [(name, seed, reference, at, mutation) for at in fatal]
        for done, found in enumerate(each(_run, runs, jobs), start=1):
            wrong += found
            if found and mutation is not None:  # it was noticed, and more is not asked
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
