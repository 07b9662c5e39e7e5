"""The work of the only agent on a state file: every duty and every turn is its own."""

import math

from agent.core.errors import Impossible


class SoleWork:
    """Implements `agent.ports.Duties` and `MissingImages` without a table."""

    epoch = ""
    circuit = None
    lease_until = lease_remaining = math.inf

    async def take_duty(self, name: str, every: float) -> bool:
        """True: no other agent exists."""
        return True

    async def hold_turn(self, name: str) -> bool:
        """True: no other agent exists."""
        return True

    async def is_driven(self, uid: str) -> bool:
        """False: no other process has the records."""
        return False

    async def release_turn(self, name: str) -> None:
        """Nothing: no other agent could take it."""

    async def images_missing(self, uid: str, now: float) -> bool:
        """True: no other agent could find them."""
        return True

    async def images_found(self, uid: str) -> None:
        """Nothing: nothing was noted."""

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        """Never called: the budget of the only agent is in its memory."""
        raise Impossible("a state file has no shared budget")
