"""The inbox: ids of received events, so that a repeated event is recognized."""

from agent.core.reference import Reference
from agent.store.connection import Connection
from agent.store.group_commit import Writer
from agent.store.outbox import Query

_STARTED = "SELECT uid FROM requests INDEXED BY requests_waiting WHERE phase = 'result' AND dossier_id = ?1"


_STARTING = "SELECT uid FROM requests WHERE phase = 'verification' AND dossier_id = ?1"


_REFERRED = "SELECT uid FROM requests WHERE uid = ? AND reference = ? AND phase NOT IN ('deletion', 'done')"


class Inbox:
    """Receipts of Assure Events, and who they are about. Implements `agent.web.assure_events.Register`."""

    def __init__(self, query: Query, writer: Writer) -> None:
        self._query = query
        self._writer = writer

    def is_known(self, digest: str) -> bool:
        """Was an event with this id received before, as far as we remember?"""
        return bool(self._query("SELECT 1 FROM receipts WHERE digest = ?", (digest,)))

    async def remember_event(self, digest: str, at: float, forget: float) -> None:
        """Remember an event; forget those received before `forget`."""

        def work(connection: Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO receipts (digest, at) VALUES (?, ?)", (digest, at))
            connection.execute("DELETE FROM receipts WHERE at < ?", (forget,))

        await self._writer.write(work)

    def find_request(self, dossier_id: str | None, reference: str | None) -> str | None:
        """The uid of the open request that has this dossier or this external reference now."""
        if dossier_id is not None and (rows := self._query(f"{_STARTED} UNION ALL {_STARTING}", (dossier_id,))):
            return str(rows[0][0])
        parsed = Reference.parse(reference)
        rows = [] if parsed is None else self._query(_REFERRED, (parsed.uid, reference))
        return str(rows[0][0]) if rows else None
