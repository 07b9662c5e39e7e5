"""The recovery of a store that was lost, is an older copy, or was restored: what is on record of it."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import orjson

from agent.core.record import HoldReason
from agent.core.rules.recovery import NOT_SEARCHED
from agent.ports import Recovery
from agent.store.group_commit import Writer


class SqliteRecoveries:
    """Implements `agent.ports.Recoveries` on the store's reader and writer."""

    def __init__(self, query: Callable[..., list[Any]], writer: Writer, fresh: bool) -> None:
        self._query = query
        self._writer = writer
        self.fresh = fresh  # the store was made just now

    def open(self) -> Recovery | None:
        """The recovery that goes on, or None: all is as usual."""
        rows = self._query("SELECT at, cause, scanned_at, approved_at FROM recoveries WHERE closed_at IS NULL")
        return (
            Recovery(at=rows[0][0], cause=rows[0][1], scanned_at=rows[0][2], approved_at=rows[0][3]) if rows else None
        )

    def possibly_stale(self) -> list[str]:
        """The uids of what is not done: all of it may be behind what happened."""
        return [
            row[0] for row in self._query("SELECT uid FROM requests INDEXED BY requests_open WHERE phase <> 'done'")
        ]

    def held_history_lost(self, unsearched: bool = False) -> list[str]:
        """The uids of those that are held because nothing is known of their past; only those not looked for yet."""
        sql = "SELECT uid FROM requests WHERE hold_reason = ?"
        if not unsearched:
            return [row[0] for row in self._query(sql, (HoldReason.HISTORY_LOST,))]
        sql += " AND json_extract(record, '$.hold.evidence') = ?"
        return [row[0] for row in self._query(sql, (HoldReason.HISTORY_LOST, NOT_SEARCHED))]

    async def record_search(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Assure was asked; `unclaimed` are dossiers that no request explains: id and reference."""
        rows = [(dossier_id, reference, at) for dossier_id, reference in unclaimed]

        def work(connection: Any) -> None:
            connection.execute("UPDATE recoveries SET scanned_at = ? WHERE closed_at IS NULL", (at,))
            connection.execute("DELETE FROM unclaimed_dossiers")
            connection.executemany("INSERT OR REPLACE INTO unclaimed_dossiers VALUES (?, ?, ?)", rows)

        await self._writer.write(work)

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """An empty dossier of an earlier attempt: its deletion is intended from here on."""
        sql = "INSERT OR IGNORE INTO orphans (reference, uid, since, dossier_id) VALUES (?, ?, ?, ?)"
        await self._writer.write(lambda connection: connection.execute(sql, (reference, uid, at, dossier_id)))

    def last_scan_at(self) -> float | None:
        """When Assure was last asked in an earlier recovery; None: never."""
        at: float | None = self._query("SELECT max(scanned_at) FROM recoveries")[0][0]
        return at

    def previously_unclaimed(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that an earlier recovery saw and left alone."""
        sql = "SELECT dossier_id FROM unclaimed_dossiers WHERE dossier_id IN (SELECT value FROM json_each(?))"
        return {row[0] for row in self._query(sql, (orjson.dumps(dossiers).decode(),))} if dossiers else set()

    async def begin(self, at: float) -> None:
        """The store was found to be behind while it was in use: a recovery as for an older copy."""
        sql = """
            INSERT INTO recoveries (at, cause, kept)
            SELECT ?, 'older', coalesce(max(id), 0) FROM events
        """
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))

    async def approve(self, at: float) -> None:
        """A person says to go on."""
        sql = "UPDATE recoveries SET approved_at = ? WHERE closed_at IS NULL"
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))

    async def close(self, at: float) -> None:
        """All is as usual again."""
        sql = "UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL"
        await self._writer.write(lambda connection: connection.execute(sql, (at,)))
