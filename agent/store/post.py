"""What comes in and what goes out besides Assure: receipts of Assure Events, and the outbox of the sinks."""

from collections.abc import Callable, Sequence
from typing import Any

from agent.core.notice import Notice, NoticeType
from agent.ports import Delivery
from agent.store.connection import Connection
from agent.store.writer import Writer

Query = Callable[[str, Sequence[Any]], list[Any]]

_STARTED = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'result' AND dossier_id = ?1"
_STARTING = "SELECT uid FROM requests WHERE phase = 'verification' AND dossier_id = ?1"
_REFERRED = "SELECT uid FROM requests WHERE uid = ? AND reference = ? AND phase NOT IN ('deletion', 'done')"
_OWED = """
SELECT d.id, d.event, d.uid, r.name, r.mode, d.type, d.generation, d.at, d.outcome, d.reason, d.hold_id
FROM deliveries AS d JOIN requests AS r USING (uid) WHERE d.sink = ? AND d.id > ? ORDER BY d.id LIMIT ?
"""
_SURPLUS = """
DELETE FROM deliveries WHERE sink = ?1
AND id <= (SELECT id FROM deliveries WHERE sink = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
"""


class Inbox:
    """Receipts of Assure Events, and who they are about. Implements `agent.events.Register`."""

    def __init__(self, query: Query, writer: Writer) -> None:
        self._query = query
        self._writer = writer

    def seen(self, digest: str) -> bool:
        """Was an event with this id received before, as far as we remember?"""
        return bool(self._query("SELECT 1 FROM receipts WHERE digest = ?", (digest,)))

    async def keep(self, digest: str, at: float, forget: float) -> None:
        """Remember an event; forget those received before `forget`."""

        def work(connection: Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO receipts (digest, at) VALUES (?, ?)", (digest, at))
            connection.execute("DELETE FROM receipts WHERE at < ?", (forget,))

        await self._writer.write(work)

    def addressed(self, dossier_id: str | None, reference: str | None) -> str | None:
        """The uid of the open request that has this dossier or this external reference now."""
        if dossier_id is not None and (rows := self._query(f"{_STARTED} UNION ALL {_STARTING}", (dossier_id,))):
            return str(rows[0][0])
        # aa-AGENT-UID-GENERATION-ATTEMPT (design §5); the agent's id has no dash
        parts = (reference or "").rsplit("-", 2)[0].split("-", 2)
        rows = self._query(_REFERRED, (parts[2], reference)) if len(parts) == 3 else []
        return str(rows[0][0]) if rows else None


class Outbox:
    """What is still to be told to the sinks. Implements `agent.deliver.Outbox`."""

    def __init__(self, query: Query, writer: Writer) -> None:
        self._query = query
        self._writer = writer

    def owed(self, sink: str, after: int, limit: int) -> list[Delivery]:
        """What this sink is owed, oldest first, beyond the delivery `after`; with the name as it is now."""
        return [
            Delivery(
                id=row[0],
                event=row[1],
                uid=row[2],
                name=row[3],
                mode=row[4],
                notice=Notice(
                    type=NoticeType(row[5]),
                    generation=row[6],
                    at=row[7],
                    outcome=row[8],
                    reason=row[9],
                    hold_id=row[10],
                ),
            )
            for row in self._query(_OWED, (sink, after, limit))
        ]

    async def taken(self, ids: Sequence[int]) -> None:
        """The sink has them; they are owed no more."""
        rows = [(number,) for number in ids]
        await self._writer.write(lambda connection: connection.executemany("DELETE FROM deliveries WHERE id = ?", rows))

    async def trim(self, sink: str, most: int) -> int:
        """Keep the newest `most` of this sink; returns how many older ones were dropped."""
        return await self._deleted(_SURPLUS, (sink, most))

    async def only(self, sinks: Sequence[str]) -> int:
        """Drop what is owed to any other sink; returns how many were dropped."""
        marks = ", ".join("?" * len(sinks))
        return await self._deleted(f"DELETE FROM deliveries WHERE sink NOT IN ({marks})", sinks)  # noqa: S608 - marks

    async def _deleted(self, sql: str, values: Sequence[Any]) -> int:
        counted = 0

        def work(connection: Connection) -> None:
            nonlocal counted
            counted = connection.execute(sql, values).rowcount

        await self._writer.write(work)
        return counted
