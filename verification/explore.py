"""The exploration of the state machine from several starts, with a report (`verification/exploration.py`)."""

from collections import Counter
from dataclasses import replace
from time import perf_counter

from agent.core.assure_types import Status
from agent.core.machine import TABLE
from agent.core.policy import Policy
from agent.core.record import Desired, Phase
from verification.builders.records import DUTCH_PASSPORT, capture, upload
from verification.choices import Timings
from verification.exploration import Exploration, Start
from verification.mutations import mutated
from verification.query_coverage import QueryCoverage
from verification.report import Report
from verification.state_identity import HOLD_TTL

_POLICY = Policy(
    poll_fallback=5.0,
    hold_ttl=HOLD_TTL,
    image_recheck_interval=10.0,
    late_read_window=60.0,
    late_read_limit=1,
    max_start_interval=60.0,
)
_PACES = Timings(
    calls=(0.05,),
    answers=(2.0,),
    delays=(0.0, 29.0),
    whiles=(8.0,),
    retry_after=(None, 20.0),
    people=(1, 2),
    verdicts=(Status.ACCEPTED, Status.FAILED),
)


def _start(*, name: str, desired: Desired, policy: Policy = _POLICY, paces: Timings = _PACES) -> Start:
    return Start(name=name, desired=desired, policy=policy, paces=paces)


STARTS = (
    _start(name="upload", desired=upload()),
    _start(name="upload, no back, read back", desired=upload(back=False, read_back=True, retention=60.0)),
    _start(name="capture", desired=capture(), policy=replace(_POLICY, poll_fallback=20.0)),
    _start(
        name="type by name, budget",
        desired=upload(document_type=DUTCH_PASSPORT),
        policy=replace(_POLICY, budgeted=True),
    ),
    _start(name="upload, short deadline", desired=upload(deadline=30.0), policy=replace(_POLICY, poll_fallback=10.0)),
    _start(
        name="capture, short deadline, no end user",
        desired=capture(deadline=30.0),
        policy=replace(_POLICY, poll_fallback=10.0),
        paces=replace(_PACES, people=(0, 1)),
    ),
)


def explore(*, adversities: int = 1, long: bool = False, mutation: str | None = None, limit: int = 3_000_000) -> Report:
    """Explore all starts."""
    report = Report(f"make explore: every history with at most {adversities} adversities", "none: nothing is drawn")
    report.rows.append(("start", "states", "moves", "longest", "records", "seconds"))
    edges: Counter[tuple[Phase, str, Phase]] = Counter()
    with mutated(mutation), QueryCoverage() as selection:
        for start in STARTS:
            began = perf_counter()
            found = Exploration(start, adversities, selection).run(limit)
            edges += found.edges
            report.wrong += found.wrong
            counts = (found.states, found.moves, found.depth, found.records)
            seconds = perf_counter() - began
            report.rows.append((start.name, *(f"{count:,}" for count in counts), f"{seconds:.0f}"))
            if found.states >= limit:
                report.notes.append(f"{start.name}: not finished, stopped at {limit:,} states")
            if found.wrong:
                break
    declared = {
        (phase, seen.__name__, to)
        for phase, rows in TABLE.items()
        for seen, row in rows.items()
        for to in row.to or (phase,)
    }
    report.notes.append(f"edges of the table taken: {len(declared & set(edges))} of {len(declared)}")
    report.notes.append("not taken: " + ", ".join(sorted(f"{a}-{name}->{b}" for a, name, b in declared - set(edges))))
    return report
