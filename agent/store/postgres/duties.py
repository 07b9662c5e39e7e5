"""The duties and turns of a replica, and the images that it did not find."""

from .driver import Connection
from .ownership import Ownership
from .persistence import Persistence
from .versions import versioned

_TAKE = versioned("SELECT take_duty($1, $2, $3)")
_HOLD = versioned("SELECT hold_turn($1, $2)")
_RELEASE = versioned("SELECT release_turn($1, $2)")
_MISSING = versioned("SELECT note_missing_image($1, $2, $3, $4, $5)")
_FOUND = versioned("SELECT found_images($1, $2)")
_FREE = 0.9  # of the interval, after which a duty is free: the timers of two replicas differ
_SEARCHES, _SECONDS = 3, 60.0  # until an image counts as missing


class DutyTable:
    """Implements `agent.ports.Duties` and `MissingImages`. Each call is one statement, which may be repeated."""

    def __init__(self, server: Persistence, owner: Ownership) -> None:
        self._server = server
        self._owner = owner
        self._noted: set[str] = set()  # uids with a note of this replica

    async def take_duty(self, name: str, every: float) -> bool:
        """Take periodic work. After a lost answer, the work waits for the next interval."""
        return await self._ask(_TAKE, name, _FREE * every)

    async def hold_turn(self, name: str) -> bool:
        """Take or keep a turn."""
        return await self._ask(_HOLD, name)

    async def release_turn(self, name: str) -> None:
        """Give a turn back."""
        await self._server.ask(lambda one: one.fetchval(_RELEASE, self._owner.epoch, name))

    async def images_missing(self, uid: str, now: float) -> bool:
        """Note that this replica does not find an image of this request."""
        self._noted.add(uid)
        return await self._ask(_MISSING, uid, now, _SEARCHES, _SECONDS)

    async def images_found(self, uid: str) -> None:
        """Forget all notes about this request, if this replica made one."""
        if uid in self._noted:
            await self._server.ask(lambda one: one.fetchval(_FOUND, self._owner.epoch, uid))
            self._noted.discard(uid)

    async def _ask(self, sql: str, *values: object) -> bool:
        """The answer of a function, which is null while this replica is fenced."""

        async def ask(connection: Connection) -> bool | None:
            answer: bool | None = await connection.fetchval(sql, self._owner.epoch, *values)
            return answer

        return await self._owner.ask(ask)
