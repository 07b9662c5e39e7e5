"""What replicas share, for the only agent of a state file."""

from agent.core.errors import Impossible
from agent.ports import SharedState


class SoleWork:
    """Implements `agent.ports.Duties` and `SharedStore`: the only agent has every duty, and shares nothing."""

    async def take_duty(self, name: str, now: float, every: float) -> bool:
        """True: the caller's timer alone decides."""
        return True

    async def hold_turn(self, name: str) -> bool:
        """True."""
        return True

    async def release_turn(self, name: str) -> None:
        """Nothing: no other agent can have it."""

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        """Never called: the budget of the only agent is in its memory."""
        raise Impossible("a state file has no shared budget")

    async def shared_state(self, day: float) -> SharedState:
        """Nothing is shared."""
        return SharedState()
