"""The outbox: notifications that the sinks have not received yet."""

from collections.abc import Sequence

from agent.core.notifications import Notice, NoticeType
from agent.ports import Delivery
from agent.store.reading.reads import Query
from agent.store.writing.statements import Engine, Statement, marks

_PENDING = """
SELECT d.id, d.event, d.uid, r.name, r.mode, d.type, d.generation, d.at, d.outcome, d.reason, d.hold_id
FROM deliveries AS d JOIN requests AS r USING (uid) WHERE d.sink = ? AND d.id > ? ORDER BY d.id LIMIT ?
"""
_EXCESS = """
DELETE FROM deliveries WHERE sink = ?
AND id <= (SELECT id FROM deliveries WHERE sink = ? ORDER BY id DESC LIMIT 1 OFFSET ?)
"""


class NotificationTable:
    """The pending notifications. Implements `agent.ports.Outbox`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
            for row in await self._engine.query(Query(_PENDING, (sink, after, limit)))
        ]

    async def acknowledge(self, ids: Sequence[int]) -> None:
        """Remove the delivered notifications."""
        rows = [(number,) for number in ids]
        await self._engine.execute(Statement("DELETE FROM deliveries WHERE id = ?", rows))

    async def trim(self, sink: str, most: int) -> int:
        """Keep the newest `most` of this sink. Returns the number of dropped ones."""
        return (await self._engine.execute(Statement.once(_EXCESS, sink, sink, most)))[0]

    async def keep_only(self, sinks: Sequence[str]) -> int:
        """Drop the notifications of all other sinks. Returns their number."""
        sql = f"DELETE FROM deliveries WHERE sink NOT IN ({marks(sinks)})" if sinks else "DELETE FROM deliveries"  # noqa: S608 - marks
        return (await self._engine.execute(Statement.once(sql, *sinks)))[0]
