"""What replicas share, for the only agent of a state file."""

import math


class SoleDuties:
    """Implements `agent.ports.Duties`: the only agent has every duty."""

    epoch = ""
    lease_remaining = math.inf

    async def take_duty(self, name: str, now: float, every: float) -> bool:
        """True: the caller's timer alone decides."""
        return True

    async def hold_turn(self, name: str) -> bool:
        """True."""
        return True

    async def is_driven(self, uid: str) -> bool:
        """False: no other process has the records."""
        return False

    async def release_turn(self, name: str) -> None:
        """Nothing: no other agent can have it."""
