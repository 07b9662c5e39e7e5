"""The commands of people as a chain of their own, each also in the history of the request that it is about [I5].

The hash of a command is HMAC-SHA256 under the key beside the store, over the hash before and every column but the
answer, which is erased when its request is forgotten. `meta` keeps the number of the last command, sealed by the same
key, so that a tail that was cut off is missed at once; the checkpoints keep it outside of the database. A command about
a request adds an event with its hash, in the same transaction.

Commands of before there was a chain are chained as they are found when the store is opened for the first time.
"""

from dataclasses import dataclass
from typing import Any

from agent.core.audit import Event
from agent.ports import Command
from agent.store.connection import Connection
from agent.store.identity_key import Keys
from agent.store.repository import append

NOTE = "commands"  # the key of `meta`: the number of the last command, how many were taken over, and the seal; or empty
COLUMNS = ("number", "id", "at", "verb", "uid", "sender")  # what a hash covers, beside the hash before
_CHAINED = "UPDATE commands SET number = ?, hash = ? WHERE id = ?"
_EARLIER = "SELECT id, at, verb, uid, sender FROM commands WHERE number IS NULL ORDER BY at, id"


@dataclass(frozen=True, slots=True)
class Note:
    """What the store keeps of its commands: the number of the last, and how many of them are older than the chain."""

    number: int
    earlier: int
    seal: str

    @classmethod
    def read(cls, connection: Connection) -> "Note | None":
        """As it is kept; None when it is not there, or cannot be read. Nothing is chained yet: numbers 0, no seal."""
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (NOTE,)).fetchone()
        if row is None:
            return None
        if row[0] == "":
            return cls(0, 0, "")
        parts = str(row[0]).split(" ")
        if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
            return None
        return cls(int(parts[0]), int(parts[1]), parts[2])


def command_hash(keys: Keys, previous: str, values: tuple[Any, ...]) -> str:
    """The hash of a command with these `COLUMNS`."""
    return keys.seal("command", previous, *values)


def note_seal(keys: Keys, number: int, earlier: int, head: str) -> str:
    """The seal of the note."""
    return keys.seal("commands", number, earlier, head)


def last_command(connection: Connection) -> tuple[int, str]:
    """The number and the hash of the last command of the chain; (0, "") when there is none."""
    sql = "SELECT number, hash FROM commands WHERE number IS NOT NULL ORDER BY number DESC LIMIT 1"
    row = connection.execute(sql).fetchone()
    return (row[0], row[1]) if row is not None else (0, "")


def enter(connection: Connection, keys: Keys, command: Command, answer: str, at: float) -> None:
    """Write a command that was obeyed; the caller holds the transaction."""
    number, previous = last_command(connection)
    note = Note.read(connection)
    values = (number + 1, command.id, at, command.verb, command.uid, command.sender)
    head = command_hash(keys, previous, values)
    connection.execute(
        "INSERT INTO commands (number, id, at, verb, uid, sender, answer, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, answer, head),
    )
    _put(connection, keys, number + 1, note.earlier if note is not None else 0, head)
    if command.uid is not None:
        known = connection.execute("SELECT 1 FROM requests WHERE uid = ?", (command.uid,)).fetchone()
        if known is not None:
            append(connection, command.uid, Event(at=at, type="CommandObeyed", changes={"command": head}))


def take_over(connection: Connection, keys: Keys) -> None:
    """Chain the commands of before there was a chain: once, when a store is opened for the first time since."""
    note = Note.read(connection)
    if note is None or note.seal or last_command(connection)[0]:
        return
    number, head = 0, ""
    connection.execute("BEGIN IMMEDIATE")
    for number, values in enumerate(connection.execute(_EARLIER).fetchall(), start=1):
        head = command_hash(keys, head, (number, *values))
        connection.execute(_CHAINED, (number, head, values[0]))
    _put(connection, keys, number, number, head)
    connection.execute("COMMIT")


def _put(connection: Connection, keys: Keys, number: int, earlier: int, head: str) -> None:
    value = f"{number} {earlier} {note_seal(keys, number, earlier, head)}"
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (NOTE, value))
