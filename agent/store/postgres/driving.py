"""The claims of a replica: which requests it processes, so that no other replica does."""

from collections.abc import Collection

from agent.core.record import Record
from agent.store.repository import load

from .driver import Connection
from .ownership import Ownership
from .persistence import Persistence
from .versions import versioned

_CLAIM = versioned("SELECT * FROM claim_due($1, $2, $3, $4, $5, $6, $7, $8)")
_RELEASE = versioned("SELECT release($1, $2)")
_IS_DRIVEN = versioned("SELECT NOT is_free($1)")
_NEXT_DUE = versioned("SELECT next_due($1, $2, $3)")
ClaimedRow = tuple[str | None, str, int, str, str | None]


class Driving:
    """The claims of this replica. A repetition after a lost answer changes nothing."""

    def __init__(self, server: Persistence, owner: Ownership) -> None:
        self._server = server
        self._owner = owner

    def _row_claimed(self, record: Record, seq: int, head: str, salt: str | None) -> None:
        """A record was claimed. Its row has this number of events, last hash and salt."""

    async def claim(
        self,
        now: float,
        limit: int,
        busy: Collection[str],
        started_only: bool = False,
        working: Collection[str] = (),
        wanted: Collection[str] = (),
        decided: bool = False,
    ) -> list[Record]:
        """Claim due records, as `agent.ports.DueRecords` says. With `decided`, those whose deadline has expired.

        Raises Fenced.
        """
        arguments = now, limit, [*working], [*busy], [*wanted], started_only, decided

        async def ask(connection: Connection) -> list[ClaimedRow] | None:
            rows: list[ClaimedRow] = await connection.fetch(_CLAIM, self._owner.epoch, *arguments)
            return None if len(rows) == 1 and rows[0][0] is None else rows

        records = []
        for _, text, seq, head, salt in await self._owner.ask(ask):
            records.append(load(text))
            self._row_claimed(records[-1], seq, head, salt)
        return records

    async def overdue(
        self, now: float, limit: int, busy: Collection[str], working: Collection[str] = ()
    ) -> list[Record]:
        """Claim at most `limit` records that are not busy, and whose deadline has expired before their outcome."""
        return await self.claim(now, limit, busy, working=working, decided=True)

    async def release(self, working: Collection[str]) -> None:
        """Release all claims but these. A fenced replica has none."""
        await self._server.ask(lambda one: one.fetchval(_RELEASE, self._owner.epoch, [*working]))

    async def is_driven(self, uid: str) -> bool:
        """True if a replica that lives has claimed the record."""
        return bool(await self._server.ask(lambda one: one.fetchval(_IS_DRIVEN, uid)))

    async def next_due(self, busy: Collection[str], started_only: bool = False) -> float | None:
        """When the next record is due that is free and not busy."""
        arguments = self._owner.epoch, [*busy], started_only
        due: float | None = await self._server.ask(lambda one: one.fetchval(_NEXT_DUE, *arguments))
        return due
