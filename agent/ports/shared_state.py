"""What other replicas and commands changed, in one read."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedState:
    """The state that all replicas of a store share. The defaults are those of an agent that is alone."""

    commands: int = 0  # the number of the last command
    resumes: int = 0  # the number of the last `resume`, if it is one of the last commands
    recovery: int = 0  # the number of the open recovery; 0: none
    replicas: int = 1  # the replicas that live
    starts: int | None = None  # the starts of today that count for the budget; None: none was taken yet


class SharedStore(Protocol):
    """A store that other replicas may use."""

    async def shared_state(self, day: float) -> SharedState:
        """The shared state. `day` is the time when today began."""
