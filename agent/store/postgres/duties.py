"""The duties of a replica: periodic work, and turns that last as long as its life."""

from .ownership import Ownership
from .persistence import Persistence

_TAKE = "SELECT take_duty($1, $2, $3, $4)"
_HOLD = "SELECT hold_turn($1, $2)"
_RELEASE = "DELETE FROM duties WHERE name = $2 AND epoch = $1"


class PostgresDuties:
    """Implements `agent.ports.Duties`. A fenced replica has no duty."""

    def __init__(self, server: Persistence, owner: Ownership) -> None:
        self._server = server
        self._owner = owner

    async def take_duty(self, name: str, now: float, every: float) -> bool:
        """True if no replica took this duty in the last `every` seconds."""
        arguments = self._owner.epoch, name, now, every
        return bool(await self._server.ask(lambda one: one.fetchval(_TAKE, *arguments)))

    async def hold_turn(self, name: str) -> bool:
        """True if this replica has this turn, from now until its life ends or `release_turn`."""
        return bool(await self._server.ask(lambda one: one.fetchval(_HOLD, self._owner.epoch, name)))

    async def release_turn(self, name: str) -> None:
        """Let another replica have this turn."""
        await self._server.ask(lambda one: one.execute(_RELEASE, self._owner.epoch, name))
