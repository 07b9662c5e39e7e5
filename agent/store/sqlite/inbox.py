"""The inbox: receipts of Assure Events, so that the agent recognizes a repeated event."""

from agent.core.reference import Reference
from agent.ports import Receipt
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.group_commit import Writer
from agent.store.sqlite.outbox import Query

_STARTED = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'result' AND dossier_id = ?1"
_STARTING = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'verification' AND dossier_id = ?1"
_REFERRED = "SELECT uid FROM requests WHERE uid = ? AND reference = ? AND phase NOT IN ('deletion', 'done')"


def record_receipt(connection: Connection, receipt: Receipt) -> None:
    """Record a receipt and forget older ones; the caller holds the transaction."""
    connection.execute("INSERT OR IGNORE INTO receipts (digest, at) VALUES (?, ?)", (receipt.digest, receipt.at))
    connection.execute("DELETE FROM receipts WHERE at < ?", (receipt.forget_before,))


class SqliteInbox:
    """The receipts of Assure Events, and the requests of the events. Implements `agent.ports.Inbox`."""

    def __init__(self, query: Query, writer: Writer) -> None:
        self._query = query
        self._writer = writer

    async def is_known(self, digest: str) -> bool:
        """True if the store has a receipt of an event with this id."""
        return bool(self._query("SELECT 1 FROM receipts WHERE digest = ?", (digest,)))

    async def remember_event(self, receipt: Receipt) -> None:
        """Record the receipt of an event that no step belongs to."""
        await self._writer.write(lambda connection: record_receipt(connection, receipt))

    async def find_request(self, dossier_id: str | None, reference: str | None) -> str | None:
        """The uid of the open request that has this dossier or this external reference now."""
        if dossier_id is not None and (rows := self._query(f"{_STARTED} UNION ALL {_STARTING}", (dossier_id,))):
            return str(rows[0][0])
        parsed = Reference.parse(reference)
        rows = [] if parsed is None else self._query(_REFERRED, (parsed.uid, reference))
        return str(rows[0][0]) if rows else None
