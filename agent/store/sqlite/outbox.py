"""The outbox: notifications that the sinks have not received yet."""

from collections.abc import Callable, Sequence
from typing import Any

from agent.core.notifications import Notice, NoticeType
from agent.ports import Delivery
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.group_commit import Writer

Query = Callable[[str, Sequence[Any]], list[Any]]

_PENDING = """
SELECT d.id, d.event, d.uid, r.name, r.mode, d.type, d.generation, d.at, d.outcome, d.reason, d.hold_id
FROM deliveries AS d JOIN requests AS r USING (uid) WHERE d.sink = ? AND d.id > ? ORDER BY d.id LIMIT ?
"""
_EXCESS = """
DELETE FROM deliveries WHERE sink = ?1
AND id <= (SELECT id FROM deliveries WHERE sink = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)
"""


class SqliteOutbox:
    """The pending notifications. Implements `agent.ports.Outbox`."""

    def __init__(self, query: Query, writer: Writer) -> None:
        self._query = query
        self._writer = writer

    async def pending(self, sink: str, after: int, limit: int) -> list[Delivery]:
        """The notifications of this sink after the delivery `after`, oldest first, with the current names."""
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
            for row in self._query(_PENDING, (sink, after, limit))
        ]

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Remove the delivered notifications."""
        rows = [(number,) for number in ids]
        await self._writer.write(lambda connection: connection.executemany("DELETE FROM deliveries WHERE id = ?", rows))

    async def trim(self, sink: str, most: int) -> int:
        """Keep the newest `most` of this sink. Returns the number of dropped ones."""
        return await self._deleted(_EXCESS, (sink, most))

    async def keep_only(self, sinks: Sequence[str]) -> int:
        """Drop the notifications of all other sinks. Returns their number."""
        marks = ", ".join("?" * len(sinks))
        return await self._deleted(f"DELETE FROM deliveries WHERE sink NOT IN ({marks})", sinks)  # noqa: S608 - marks

    async def _deleted(self, sql: str, values: Sequence[Any]) -> int:
        counted = 0

        def work(connection: Connection) -> None:
            nonlocal counted
            counted = connection.execute(sql, values).rowcount

        await self._writer.write(work)
        return counted
