"""The commands of operators: a hash chain, and an event in the history of the request for each command [I5].

The hash of a command is HMAC-SHA256 under the key next to the store. It covers the previous hash and every column
except the answer, which `forget` erases. `meta` keeps the number of the last command, sealed with the same key, so that
a truncated chain is found at once. The checkpoints keep the number outside the database. A command about a request adds
an event with its hash, in the same transaction.
"""

from dataclasses import dataclass
from typing import Any

from agent.core.audit import Event
from agent.ports import Command, MetaKey
from agent.store.connection import Connection
from agent.store.identity_key import Keys
from agent.store.repository import append_event

COLUMNS = ("number", "id", "at", "verb", "uid", "sender")  # a hash covers these and the previous hash


@dataclass(frozen=True, slots=True)
class Note:
    """The number of the last command, and its seal."""

    number: int
    seal: str

    @classmethod
    def read(cls, connection: Connection) -> "Note | None":
        """Read the note; None if it is missing or malformed. Before the first start: number 0, no seal."""
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.COMMANDS,)).fetchone()
        if row is None:
            return None
        if row[0] == "":
            return cls(0, "")
        parts = str(row[0]).split(" ")
        if len(parts) != 2 or not parts[0].isdecimal():
            return None
        return cls(int(parts[0]), parts[1])


def command_hash(keys: Keys, previous: str, values: tuple[Any, ...]) -> str:
    """The hash of a command with these `COLUMNS`."""
    return keys.seal("command", previous, *values)


def note_seal(keys: Keys, number: int, head: str) -> str:
    """The seal of the note."""
    return keys.seal("commands", number, head)


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


def seal_empty_chain(connection: Connection, keys: Keys) -> None:
    """Seal the note of a store without commands, at its first start."""
    note = Note.read(connection)
    if note is not None and not note.seal and last_command(connection)[0] == 0:
        _put(connection, keys, 0, "")


def _put(connection: Connection, keys: Keys, number: int, head: str) -> None:
    value = f"{number} {note_seal(keys, number, head)}"
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (MetaKey.COMMANDS, value))
