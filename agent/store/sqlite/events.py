"""The SQL that writes events."""

from agent.core.audit import Event
from agent.store.repository import chained
from agent.store.sqlite.connection import Connection

EVENT = "INSERT INTO events (uid, seq, at, type, changes, hash) VALUES (?, ?, ?, ?, ?, ?)"


def append_event(connection: Connection, uid: str, event: Event) -> None:
    """Add an event to the history of a request without a change of its record. The caller holds the transaction.

    A `StepWriter` that may remember the request has to forget it.
    """
    seq, head = connection.execute("SELECT seq, head FROM requests WHERE uid = ?", (uid,)).fetchone()
    row = chained(event, head, uid, seq + 1)
    connection.execute(EVENT, row)
    connection.execute("UPDATE requests SET seq = ?, head = ? WHERE uid = ?", (seq + 1, row[-1], uid))
