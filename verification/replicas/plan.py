"""The misfortunes of several machines in one simulated life, drawn from a seed."""

from dataclasses import dataclass
from random import Random
from typing import Literal

RepeatedStarts = Literal["refuse", "accept"]
Span = tuple[float, float]
"""The begin and the end, in seconds after the begin of the life."""

_STOPS = (0.5, 14.0, 20.0, 100.0, 400.0)  # seconds; a lease has 15
_REPEATED = (85.0, 130.0)  # seconds: a start is repeated after 91 s
_AWAY = (1.0, 10.0, 30.0, 600.0)  # seconds
_AHEAD = (0.0, 0.0, 0.2, -90.0, 7200.0, -30000.0)  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaPlan:
    """Times in seconds after the begin of the life. They end with the faults of the `LifePlan`."""

    machines: int
    kills: tuple[tuple[float, int], ...]  # the time and the machine, for SIGKILL
    endings: tuple[tuple[float, int], ...]  # for SIGTERM
    stops: tuple[tuple[Span, int], ...]  # between SIGSTOP and SIGCONT
    pausing: float  # the probability of a stop between the check of the lease and the first byte
    away: tuple[Span, ...]  # the server of the database
    lost: float  # the probability that an answer of the server gets lost
    ahead: tuple[float, ...]  # seconds by which the clock of each host is ahead
    repeated_starts: RepeatedStarts  # accept: Assure bills a second start


def undisturbed(machines: int) -> ReplicaPlan:
    """Machines and a database without misfortunes."""
    return ReplicaPlan(
        machines=machines,
        kills=(),
        endings=(),
        stops=(),
        pausing=0.0,
        away=(),
        lost=0.0,
        ahead=(0.0,) * machines,
        repeated_starts="refuse",
    )


def draw_replicas(seed: int, machines: int, calm_at: float) -> ReplicaPlan:
    """Draw the misfortunes of this seed."""
    chance = Random(f"replicas/{seed}/plan")

    def times(most: int) -> list[tuple[float, int]]:
        count = chance.choice((0, 1, most))
        return sorted((chance.uniform(0.0, calm_at), chance.randrange(machines)) for _ in range(count))

    stops = [((at, at + chance.choice(_STOPS)), machine) for at, machine in times(6)]
    away = [(at, at + chance.choice(_AWAY)) for at, _ in times(2)]
    return ReplicaPlan(
        machines=machines,
        kills=tuple(times(6)),
        endings=tuple(times(3)),
        stops=tuple(stops),
        pausing=chance.choice((0.0, 0.01, 0.05)),
        away=tuple(away),
        lost=chance.choice((0.0, 0.01, 0.05)),
        ahead=tuple(chance.choice(_AHEAD) for _ in range(machines)),
        repeated_starts=chance.choice(("refuse", "accept")),
    )


def draw_stop(chance: Random) -> float:
    """Draw the seconds of a stop after the check of the lease. In half of them, another replica repeats the call."""
    return chance.choice((1.0, 20.0, 400.0, *(chance.uniform(*_REPEATED) for _ in range(3))))
