"""The recoveries of a store that was lost, is an older copy, or was restored."""

from collections.abc import Iterable, Sequence

from agent.core.record import HoldReason
from agent.core.rules.recovery import NOT_SEARCHED
from agent.ports import Recovery
from agent.store.reading.common_reads import OPEN, texts
from agent.store.reading.reads import Query
from agent.store.repository import load
from agent.store.writing.statements import Engine, Statement

_OPEN = "SELECT at, cause, scanned_at, approved_at FROM recoveries WHERE closed_at IS NULL"
_HELD = "SELECT record FROM requests WHERE hold_reason = ?"
_BEGIN = """
INSERT INTO recoveries (id, at, cause, kept)
SELECT (SELECT coalesce(max(id), 0) + 1 FROM recoveries), ?, 'older', (SELECT coalesce(max(id), 0) FROM events)
WHERE NOT EXISTS (SELECT 1 FROM recoveries WHERE closed_at IS NULL)
"""


class RecoveryTable:
    """Implements `agent.ports.Recoveries`."""

    def __init__(self, engine: Engine, fresh: bool) -> None:
        self._engine = engine
        self.fresh = fresh  # this process created the store

    async def open(self) -> Recovery | None:
        """The recovery in progress."""
        rows = await self._engine.query(Query(_OPEN))
        return (
            Recovery(at=rows[0][0], cause=rows[0][1], scanned_at=rows[0][2], approved_at=rows[0][3]) if rows else None
        )

    async def possibly_stale(self) -> list[str]:
        """The uids of all requests that are not done: any of them may be older than the state at Assure."""
        return [row[0] for row in await self._engine.query(Query(f"SELECT uid FROM {OPEN}"))]  # noqa: S608 - constant

    async def held_history_lost(self, unsearched: bool = False) -> list[str]:
        """The uids of requests with the hold `history-lost`. `unsearched`: only those not yet searched at Assure."""
        rows = await self._engine.query(Query(_HELD, (HoldReason.HISTORY_LOST,)))
        held = [load(text) for (text,) in rows]
        return [one.uid for one in held if not unsearched or (one.hold and one.hold.evidence == NOT_SEARCHED)]

    async def record_search(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Record that the agent read Assure's lists. `unclaimed`: dossiers without a request, by id and reference."""
        rows = [(dossier_id, reference, at) for dossier_id, reference in dict(unclaimed).items()]
        await self._engine.execute(
            Statement.once("UPDATE recoveries SET scanned_at = ? WHERE closed_at IS NULL", at),
            Statement.once("DELETE FROM unclaimed_dossiers"),
            Statement("INSERT INTO unclaimed_dossiers VALUES (?, ?, ?)", rows),
        )

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """Record an empty dossier of an earlier attempt as an orphan. The agent deletes it."""
        sql = "INSERT INTO orphans (reference, uid, since, dossier_id) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
        await self._engine.execute(Statement.once(sql, reference, uid, at, dossier_id))

    async def last_scan_at(self) -> float | None:
        """When the agent last read the lists in an earlier recovery."""
        at: float | None = (await self._engine.query(Query("SELECT max(scanned_at) FROM recoveries")))[0][0]
        return at

    async def previously_unclaimed(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that an earlier recovery found and left unchanged."""
        sql = "SELECT dossier_id FROM unclaimed_dossiers WHERE dossier_id IN (SELECT value FROM json_each(?))"
        return {row[0] for row in await self._engine.query(Query(sql, (texts(dossiers),)))} if dossiers else set()

    async def begin(self, at: float) -> None:
        """Begin a recovery, with the cause `older`: the store turned out to be stale while in use."""
        await self._engine.execute(Statement.once(_BEGIN, at))

    async def approve(self, at: float) -> None:
        """Record the operator's approval."""
        sql = "UPDATE recoveries SET approved_at = ? WHERE closed_at IS NULL"
        await self._engine.execute(Statement.once(sql, at))

    async def close(self, at: float) -> None:
        """End the recovery."""
        await self._engine.execute(Statement.once("UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL", at))
