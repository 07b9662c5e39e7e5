"""The plan of one simulated life: requests, acts of people, faults, outages and kills, drawn from a seed.

A plan consists of tuples of small parts. `shrink` can reduce a failing plan part by part.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from agent.sandbox.faults.rules import Kind, Rule

_OUTCOMES = ("accepted", "rejected", "inconclusive", "failed")
_WISHES = ("accepted", "accepted", "rejected", "failed", "canceled", "abandoned")
_OF_EVENTS = (Kind.DROP, Kind.DOUBLE, Kind.REORDER)
_KINDS = [one for one in Kind if one not in (*_OF_EVENTS, Kind.GATEWAY)]  # GATEWAY refuses: its request is held
_OPERATIONS = (
    *("*", "token", "createDossier", "createProcess", "createArtifact", "setImages", "startVerification"),
    *("getProcess", "getDossier", "getDossiers", "getAllProcess", "deleteDossier"),
)
_LONG_AFTER = 900.0  # seconds within which the people of a plan act


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """An edit of a request's file, and its time (seconds after the creation of the file)."""

    at: float
    content: str  # remove | restore | change | suspend | resume | rerun | retention | deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request file."""

    name: str
    at: float
    capture: bool
    outcome: str
    delay: float = 2.0  # of the verification, seconds
    selfie: bool = False
    two_pages: bool = False
    back: bool = True
    by_name: bool = False  # document type by name instead of its id
    read_back: bool = False
    deadline: float = 86_400.0
    retention: float = 0.0
    keep: bool = False  # store the claims of an accepted result
    answer: str = "abandon"  # the decision on a hold: retry | abandon | nothing
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LifePlan:
    """One life. `kills`: numbers of boundaries. `outages`: pairs of start and end. Faults end at `calm_at`."""

    seed: int
    requests: tuple[Request, ...]
    rules: tuple[Rule, ...]
    kills: tuple[int, ...]
    outages: tuple[tuple[float, float], ...]
    full: tuple[tuple[float, float], ...]  # start and end of each time with a full disk
    jumps: tuple[tuple[float, float], ...]  # the time of each change of the agent's clock, and its seconds
    events: bool  # true: Assure sends an event when a process is complete
    severed: float  # the probability that a call arrives late and its answer never
    failing: float  # the probability that the connection of a call fails
    calm_at: float
    sandbox: tuple[tuple[str, Any], ...]
    settings: tuple[tuple[str, Any], ...]


def draw_plan(seed: int, requests: int) -> LifePlan:
    """Draw the plan of this seed."""
    chance, later = Random(f"plan/{seed}"), Random(f"plan/{seed}/later")
    removable = max(3, requests // 5) - 1  # more removals would wait for approval
    drawn_requests = []
    for number in range(requests):
        one = _request(chance, number, removable > 0)
        removable -= any(edit.content == "remove" for edit in one.edits)
        one = replace(one, keep=later.random() < 0.3)
        hurried = later.random() < 0.1  # its result comes shortly before the deadline, and perhaps in an outage
        drawn_requests.append(replace(one, deadline=300.0, delay=200.0) if hurried else one)
    return LifePlan(
        seed=seed,
        requests=tuple(drawn_requests),
        rules=(*_rules(chance), *_event_rules(later)),
        kills=tuple(sorted(chance.randrange(28 * requests) for _ in range(chance.choice((0, 1, 2, 4, 8))))),
        outages=tuple(_outage(chance) for _ in range(chance.choice((0, 0, 1, 2)))),
        full=tuple(_interval(later, (1.0, 60.0)) for _ in range(later.choice((0, 0, 0, 1)))),
        jumps=tuple(_jump(later) for _ in range(later.choice((0, 0, 1, 2)))),
        events=later.random() < 0.5,
        severed=chance.choice((0.0, 0.0, 0.02, 0.1)),
        failing=Random(f"plan/{seed}/failing").choice((0.0, 0.02, 0.1)),
        calm_at=chance.choice((300.0, 1200.0)),
        sandbox=(
            ("capture_process", chance.choice(("at-start", "at-open"))),
            ("dossier_order", chance.choice(("newest-first", "oldest-first"))),
            ("read_lag", chance.choice((0.0, 0.0, 1.0, 3.0))),
            ("token_lifetime", chance.choice((1.0, 20.0, 600.0))),
            ("capture_delay", chance.choice((0.5, 2.0, 30.0))),
        ),
        settings=(
            ("concurrency", chance.choice((2, 16, 64))),
            ("max_starts_per_day", chance.choice((0, 0, 3 * requests))),
            ("images_after_upload", later.choice(("keep", "delete"))),
        ),
    )


def _request(chance: Random, number: int, removable: bool) -> Request:
    capture = chance.random() < 0.25
    outcome = chance.choice(_WISHES if capture else _OUTCOMES)
    slow = chance.random() < 0.05
    late = outcome == "abandoned" or slow
    return Request(
        name=f"r-{number}",
        at=chance.choice((0.0, 0.0, 0.0, chance.uniform(0, 120), chance.uniform(0, _LONG_AFTER))),
        capture=capture,
        outcome=outcome,
        delay=900.0 if slow else chance.choice((0.0, 2.0, 20.0, 86.0)),
        selfie=chance.random() < 0.2,
        two_pages=chance.random() < 0.2,
        back=chance.random() < 0.9,
        by_name=chance.random() < 0.15,
        read_back=chance.random() < 0.1,
        deadline=chance.choice((90.0, 300.0)) if late else 86_400.0,
        retention=chance.choice((0.0, 0.0, 0.0, 60.0, 600.0)),
        answer=chance.choice(("abandon", "retry", "nothing")),
        edits=_edits(chance, removable) if chance.random() < 0.15 else (),
    )


def _edits(chance: Random, removable: bool) -> tuple[Edit, ...]:
    kinds = ["change", "suspend", "resume", "rerun", "retention", "deadline"]
    kinds += ["remove", "restore"] if removable else []
    times = sorted(chance.uniform(0, _LONG_AFTER) for _ in range(chance.choice((1, 1, 2, 3))))
    return tuple(Edit(at=at, content=chance.choice(kinds)) for at in times)


def _rules(chance: Random) -> tuple[Rule, ...]:
    """Faults on up to a third of the calls, some in bursts, some for one operation only."""
    level = chance.choice((0.0, 0.02, 0.1, 0.25))
    kinds = chance.sample(_KINDS, chance.randrange(1, len(_KINDS) + 1))
    rules = [_rule(chance, kind, level / len(kinds)) for kind in kinds] if level else []
    for _ in range(chance.choice((0, 0, 1, 3))):  # for a burst
        kind = chance.choice([one for one in _KINDS if one is not Kind.LAGGING_READS])
        operation = chance.choice(_OPERATIONS)
        rules.append(_rule(chance, kind, None, operation, nth=chance.randrange(1, 60), count=chance.randrange(1, 20)))
    return tuple(rules)


def _rule(chance: Random, kind: Kind, rate: float | None, operation: str = "*", **more: Any) -> Rule:
    acts = None
    if kind in (Kind.INTERNAL, Kind.BAD_GATEWAY, Kind.UNAVAILABLE, Kind.GATEWAY_TIMEOUT, Kind.HANG):
        acts = chance.random() < 0.5
    seconds = {Kind.LATENCY: (0.5, 5.0, 29.5), Kind.LAGGING_READS: (1.0, 4.0)}.get(kind, (1.0, 5.0, 20.0))
    return Rule(
        operation=operation,
        kind=kind,
        rate=rate,
        acts=acts,
        seconds=chance.choice(seconds),
        retry_after=chance.choice(("none", "seconds", "http-date")),
        status=chance.choice((200, 200, 201, 404, 400, 503)) if kind in (Kind.FOREIGN, Kind.HTML) else 200,
        **more,
    )


def _event_rules(chance: Random) -> tuple[Rule, ...]:
    """Faults of events: dropped, doubled, late, or overtaken by the next event."""
    kinds = chance.sample((*_OF_EVENTS, Kind.LATENCY), chance.choice((0, 1, 2, 4)))
    return tuple(_rule(chance, kind, chance.choice((0.1, 0.4)), "event") for kind in kinds)


def _outage(chance: Random) -> tuple[float, float]:
    """Draw an outage. The longest takes half of the night."""
    return _interval(chance, (5.0, 60.0, 400.0, 4 * 3600.0))


def _interval(chance: Random, lengths: tuple[float, ...]) -> tuple[float, float]:
    begin = chance.uniform(0, 600)
    return begin, begin + chance.choice(lengths)


def _jump(chance: Random) -> tuple[float, float]:
    hours = chance.choice((-960.0, -25.0, -1.0, -0.01, 0.01, 1.0, 25.0, 960.0))
    return chance.uniform(0, 600), 3600.0 * hours
