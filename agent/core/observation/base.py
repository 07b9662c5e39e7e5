"""The base of all observations."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The base of all observations."""

    at: float
    chance: float = 0.5
