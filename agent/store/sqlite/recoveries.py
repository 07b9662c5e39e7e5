"""The recoveries of a store that was lost, is an older copy, or was restored, in SQLite."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from agent.core.record import HoldReason
from agent.core.rules.recovery import NOT_SEARCHED
from agent.ports import Recovery
from agent.store.sqlite.group_commit import Writer
from agent.store.sqlite.queries import OPEN


class SqliteRecoveries:
    """Implements `agent.ports.Recoveries`."""

    def __init__(self, query: Callable[..., list[Any]], writer: Writer, fresh: bool) -> None:
        self._query = query
        self._writer = writer
        self.fresh = fresh  # this process created the store

    async def open(self) -> Recovery | None:
        """The recovery in progress."""
        rows = self._query("SELECT at, cause, scanned_at, approved_at FROM recoveries WHERE closed_at IS NULL")
        return (
            Recovery(at=rows[0][0], cause=rows[0][1], scanned_at=rows[0][2], approved_at=rows[0][3]) if rows else None
        )

    async def possibly_stale(self) -> list[str]:
        """The uids of all requests that are not done: any of them may be older than the state at Assure."""
        return [row[0] for row in self._query(f"SELECT uid FROM {OPEN}")]  # noqa: S608 - constant

    async def held_history_lost(self, unsearched: bool = False) -> list[str]:
        """The uids of requests with the hold `history-lost`. `unsearched`: only those not yet searched at Assure."""
        sql = "SELECT uid FROM requests WHERE hold_reason = ?"
        if not unsearched:
            return [row[0] for row in self._query(sql, (HoldReason.HISTORY_LOST,))]
        sql += " AND json_extract(record, '$.hold.evidence') = ?"
        return [row[0] for row in self._query(sql, (HoldReason.HISTORY_LOST, NOT_SEARCHED))]

    async def record_search(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Record that the agent read Assure's lists. `unclaimed`: dossiers without a request, by id and reference."""
        rows = [(dossier_id, reference, at) for dossier_id, reference in unclaimed]

        def work(connection: Any) -> None:
            connection.execute("UPDATE recoveries SET scanned_at = ? WHERE closed_at IS NULL", (at,))
            connection.execute("DELETE FROM unclaimed_dossiers")
            connection.executemany("INSERT OR REPLACE INTO unclaimed_dossiers VALUES (?, ?, ?)", rows)

        await self._writer.write(work)

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """Record an empty dossier of an earlier attempt as an orphan. The agent deletes it."""
        sql = "INSERT OR IGNORE INTO orphans (reference, uid, since, dossier_id) VALUES (?, ?, ?, ?)"
        await self._writer.write(lambda connection: connection.execute(sql, (reference, uid, at, dossier_id)))

    async def last_scan_at(self) -> float | None:
        """When the agent last read the lists in an earlier recovery."""
        at: float | None = self._query("SELECT max(scanned_at) FROM recoveries")[0][0]
        return at

    async def previously_unclaimed(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that an earlier recovery found and left unchanged."""
        sql = "SELECT dossier_id FROM unclaimed_dossiers WHERE dossier_id IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self._query(sql, (orjson.dumps(dossiers).decode(),))} if dossiers else set()

    async def begin(self, at: float) -> None:
        """Begin a recovery, with the cause `older`: the store turned out to be stale while in use."""
        sql = """
            INSERT INTO recoveries (at, cause, kept)
            SELECT ?, 'older', coalesce(max(id), 0) FROM events
        """
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))

    async def approve(self, at: float) -> None:
        """Record the operator's approval."""
        sql = "UPDATE recoveries SET approved_at = ? WHERE closed_at IS NULL"
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))

    async def close(self, at: float) -> None:
        """End the recovery."""
        sql = "UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL"
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))
