"""Work that one replica does at a time. There is no leader: each piece of work has its own row in the store."""

from typing import Protocol


class Duties(Protocol):
    """The duties of a replica. With a state file, the only agent has all of them."""

    async def take_duty(self, name: str, now: float, every: float) -> bool:
        """True if no replica took this duty in the last `every` seconds. Then this replica does it now.

        `now` is the agent's time. A time before the last duty means that the clock was set back.
        """

    async def hold_turn(self, name: str) -> bool:
        """True if this replica has this turn, from now until its life ends or `release_turn`."""

    async def release_turn(self, name: str) -> None:
        """Let another replica have this turn."""
