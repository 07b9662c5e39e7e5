"""The state of the circuit breaker that all replicas on one store share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

TimeSpan = tuple[float, float]
"""The begin and the end, in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedCircuit:
    """An open circuit. `since` and `probe_at` in seconds since the epoch; `interval` between two probes in seconds."""

    cause: str
    since: float
    interval: float
    probe_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitState:
    """Why the replicas send no calls to Assure."""

    opened: SharedCircuit | None = None
    paused: TimeSpan | None = None  # by Retry-After
    trusted: TimeSpan | None = None  # the operator confirmed that the missing dossiers were deleted
    missing: Mapping[str, int] = field(default_factory=dict)  # dossier ("": none) -> unexpected 404s


class CircuitTable(Protocol):
    """The shared state in the store. Every change raises Fenced after the end of the life of this replica."""

    async def open(self, circuit: SharedCircuit, urgent: bool) -> None:
        """Open the circuit. An `urgent` cause replaces another one."""

    async def reschedule(self, circuit: SharedCircuit) -> None:
        """Set the interval and the next probe of this circuit. No effect on another one, or after it was closed."""

    async def close(self, circuit: SharedCircuit) -> None:
        """Close this circuit, and forget the missing dossiers. Another one stays open."""

    async def take_probe(self, circuit: SharedCircuit, now: float, next_at: float) -> bool:
        """Take the due probe. False: another replica took it, or the circuit is another one now."""

    async def pause(self, span: TimeSpan) -> None:
        """Pause all calls, unless they are paused for longer."""

    async def trust(self, span: TimeSpan) -> None:
        """Trust missing dossiers, and close a circuit that they opened."""

    async def count_missing(self, dossier: str, most: int) -> Mapping[str, int]:
        """Count an unexpected 404 of a dossier, up to `most`. Returns the counts of all replicas."""

    async def found(self) -> None:
        """A dossier exists: forget the missing ones."""
