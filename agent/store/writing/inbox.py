"""The inbox: receipts of Assure Events, so that the agent recognizes a repeated event."""

from agent.core.reference import Reference
from agent.ports import Receipt
from agent.store.reading.reads import Query, Rows
from agent.store.writing.statements import Engine, Statement

_STARTED = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'result' AND dossier_id = ?"
_STARTING = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'verification' AND dossier_id = ?"
_STARTED_OR_STARTING = f"{_STARTED} UNION ALL {_STARTING}"
_REFERRED = "SELECT uid FROM requests WHERE uid = ? AND reference = ? AND phase NOT IN ('deletion', 'done')"


def receipt_statements(receipt: Receipt) -> tuple[Statement, ...]:
    """Record a receipt, and forget older ones."""
    return (
        Statement.once(
            "INSERT INTO receipts (digest, at) VALUES (?, ?) ON CONFLICT DO NOTHING", receipt.digest, receipt.at
        ),
        Statement.once("DELETE FROM receipts WHERE at < ?", receipt.forget_before),
    )


class ReceiptTable:
    """The receipts of Assure Events, and the requests of the events. Implements `agent.ports.Inbox`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def is_known(self, digest: str) -> bool:
        """True if the store has a receipt of an event with this id."""
        return bool(await self._engine.query(Query("SELECT 1 FROM receipts WHERE digest = ?", (digest,))))

    async def remember_event(self, receipt: Receipt) -> None:
        """Record the receipt of an event that no step belongs to."""
        await self._engine.execute(*receipt_statements(receipt))

    async def find_request(self, dossier_id: str | None, reference: str | None) -> str | None:
        """The uid of the open request that has this dossier or this external reference now."""
        rows: Rows = ()
        if dossier_id is not None:
            rows = await self._engine.query(Query(_STARTED_OR_STARTING, (dossier_id, dossier_id)))
        if not rows and (parsed := Reference.parse(reference)) is not None:
            rows = await self._engine.query(Query(_REFERRED, (parsed.uid, reference)))
        return str(rows[0][0]) if rows else None
