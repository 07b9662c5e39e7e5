"""The commands of operators: a hash chain, and an event in the history of the request for each command [I5].

The hash of a command is HMAC-SHA256 under the key next to the store. It covers the previous hash and every column
except the answer, which `forget` erases. `meta` keeps the number of the last command, sealed with the same key, so that
a truncated chain is found at once. The checkpoints keep the number outside the database. A command about a request adds
an event with its hash, in the same transaction.
"""

from dataclasses import dataclass
from typing import Any

from agent.store.identity_key import Keys

COLUMNS = ("number", "id", "at", "verb", "uid", "sender")  # a hash covers these and the previous hash


@dataclass(frozen=True, slots=True)
class Note:
    """The number of the last command, and its seal."""

    number: int
    seal: str

    @classmethod
    def parse(cls, text: str | None) -> "Note | None":
        """The note in a text; None if it is missing or malformed. Before the first start: number 0, no seal."""
        if text is None:
            return None
        if text == "":
            return cls(0, "")
        parts = text.split(" ")
        if len(parts) != 2 or not parts[0].isdecimal():
            return None
        return cls(int(parts[0]), parts[1])


def command_hash(keys: Keys, previous: str, values: tuple[Any, ...]) -> str:
    """The hash of a command with these `COLUMNS`."""
    return keys.seal("command", previous, *values)


def note_seal(keys: Keys, number: int, head: str) -> str:
    """The seal of the note."""
    return keys.seal("commands", number, head)


def note_text(keys: Keys, number: int, head: str) -> str:
    """The note as it is stored: the number of the last command, and its seal."""
    return f"{number} {note_seal(keys, number, head)}"
