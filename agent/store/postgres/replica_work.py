"""The work of one replica among others: its claims, its duties, its starts, and the state that all replicas share."""

from dataclasses import replace

from agent.ports import SharedState
from agent.store.reading.common_reads import shared_state
from agent.store.reading.reads import answer_later
from agent.store.writing.store_writes import StoreWrites

from .circuit import COLUMNS, CircuitRow, circuit_state
from .driver import Connection
from .driving import Driving
from .duties import DutyTable
from .ownership import Ownership
from .persistence import Persistence
from .versions import versioned

_TAKE_START = versioned("SELECT * FROM take_start($1, $2, $3, $4, $5)")
_SHARED = versioned(f"""
WITH today AS (SELECT extract(epoch FROM date_trunc('day', clock_timestamp(), 'UTC'))::float8 AS day)
SELECT (SELECT count(*) FROM replicas WHERE kind = 'replica' AND NOT ended AND until > clock_timestamp()),
    CASE WHEN EXISTS (SELECT 1 FROM taken_starts AS t WHERE t.day = today.day) THEN budget_starts(today.day) END,
    {COLUMNS}
FROM today
""")  # noqa: S608 - constant


class ReplicaWork(Driving, DutyTable, StoreWrites):
    """The part of a store that exists because other replicas use the same database."""

    shared = True

    def __init__(self, server: Persistence, owner: Ownership) -> None:
        Driving.__init__(self, server, owner)
        DutyTable.__init__(self, server, owner)
        self.circuit = CircuitRow(owner)

    @property
    def running_since(self) -> float:
        """Since when replicas have run without a gap, in seconds since the epoch."""
        return self._owner.running_since

    @property
    def epoch(self) -> str:
        """The id of the life of this process."""
        return str(self._owner.epoch)

    @property
    def lease_until(self) -> float:
        """Until when this process may call Assure without a renewal of its lease, in seconds of boot time."""
        return self._owner.sure_until

    @property
    def lease_remaining(self) -> float:
        """Seconds until this process may no longer call Assure without a renewal of its lease."""
        return self._owner.remaining

    async def confirm_ownership(self) -> bool:
        """True if no other replica can have removed the lease now. Waits while the server is away."""
        return await self._owner.confirm()

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        """Take one start of the budget that all replicas share. Raises Fenced."""
        arguments = self._owner.epoch, uid, generation, day, limit

        async def ask(connection: Connection) -> tuple[bool, int] | None:
            granted, taken = await connection.fetchrow(_TAKE_START, *arguments)
            return None if granted is None else (granted, taken)

        return await self._owner.ask(ask)

    async def shared_state(self) -> SharedState:
        """The state that other replicas and commands changed."""
        state = await answer_later(shared_state(), self.query)
        replicas, starts, *circuit = await self._server.ask(lambda one: one.fetchrow(_SHARED))
        return replace(state, replicas=max(1, replicas), starts=starts, circuit=circuit_state(circuit))
