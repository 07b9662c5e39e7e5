"""The SQL of the commands of operators."""

from agent.core.audit import Event
from agent.ports import Command, MetaKey
from agent.store.identity_key import Keys
from agent.store.operator_commands import command_hash, note_text
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.events import append_event


def last_command(connection: Connection) -> tuple[int, str]:
    """The number and the hash of the last command; (0, "") without commands."""
    sql = "SELECT number, hash FROM commands ORDER BY number DESC LIMIT 1"
    row = connection.execute(sql).fetchone()
    return (row[0], row[1]) if row is not None else (0, "")


def record_command(connection: Connection, keys: Keys, command: Command, answer: str, at: float) -> None:
    """Write an executed command. The caller holds the transaction."""
    number, previous = last_command(connection)
    values = (number + 1, command.id, at, command.verb, command.uid, command.sender)
    head = command_hash(keys, previous, values)
    connection.execute(
        "INSERT INTO commands (number, id, at, verb, uid, sender, answer, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, answer, head),
    )
    _put(connection, keys, number + 1, head)
    if command.uid is not None:
        known = connection.execute("SELECT 1 FROM requests WHERE uid = ?", (command.uid,)).fetchone()
        if known is not None:
            append_event(connection, command.uid, Event(at=at, type="CommandApplied", changes={"command": head}))


def _put(connection: Connection, keys: Keys, number: int, head: str) -> None:
    values = (MetaKey.COMMANDS, note_text(keys, number, head))
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values)
