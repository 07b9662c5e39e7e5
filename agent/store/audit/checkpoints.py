"""Checkpoints of the journal, in a file next to the database. They reveal every later change of written events.

The journal is all events in the order of writing (`events.id`: 1, 2, 3, without a gap). Its digest is a fold over the
hashes of the events: `digest(n) = SHA-256(digest(n - 1) + hash(n))`, `digest(0) = ""`. Each hash covers the chain of
its request, so one digest covers every chain up to that event.

A checkpoint is one line of JSON. It has the number of events, the hash of the last event, and the digest. It has the
number of commands and the hash of the last command, which covers the earlier ones. The hash of the line covers the line
before.

A checkpoint costs only what was written since the last one. The agent reads each event once, in pages. The database
notes the last line, so a truncated or missing file is found. A change of both the database and the file stays
undetected, unless the operator keeps a copy. The agent logs the hash of each line, and `audit verify --checkpoints`
reads a copy.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from agent.core.errors import StoreError
from agent.core.timestamps import format_timestamp

_LONGEST = 4096  # bytes; every line is shorter

CHECKPOINT = "checkpoint"  # the journal at this time
RESTORE = "restore"  # the operator restored a backup: the events after `event` are dropped
BREAK = "break"  # the agent found the journal truncated or changed, and continues after `event`


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One line. `event` counts the events that it covers, `head` is the hash of the last, `at` is ISO text.

    `commands` counts the commands of operators, and `commands_head` is the hash of the last.
    """

    number: int
    kind: str
    at: str
    event: int
    head: str
    digest: str
    previous: str
    commands: int
    commands_head: str
    hash: str = ""

    def with_hash(self) -> "Checkpoint":
        """The same checkpoint with the hash of its line."""
        covered = [self.previous, self.number, self.kind, self.at, self.event, self.head, self.digest]
        covered += [self.commands, self.commands_head]
        return replace(self, hash=hashlib.sha256(orjson.dumps(covered)).hexdigest())


ORIGIN = Checkpoint(
    number=0, kind=CHECKPOINT, at="", event=0, head="", digest="", previous="", commands=0, commands_head=""
)


def extend_digest(digest: str, event_hash: str) -> str:
    """The digest of the journal after one more event."""
    return hashlib.sha256((digest + event_hash).encode()).hexdigest()


def checkpoint_path(store: Path) -> Path:
    """The checkpoint file. `store`: the state file, or the path that the names of the local files begin with."""
    return store.with_suffix(".checkpoints.jsonl")


class MalformedCheckpoint(StoreError):
    """A line is not a valid checkpoint. `line` counts from 1."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"Line {line} of {path.name} is not a valid checkpoint.", "run `assure-agent audit verify`")
        self.line = line


def encoded(checkpoint: Checkpoint) -> bytes:
    """The text of a line, without its end."""
    return orjson.dumps(asdict(checkpoint))


def parsed(texts: Iterable[bytes | str], path: Path) -> Iterator[Checkpoint]:
    """The lines of these texts. `path` names them in errors. Raises MalformedCheckpoint for an invalid line."""
    for number, text in enumerate(texts, start=1):
        try:
            yield Checkpoint(**orjson.loads(text))
        except (ValueError, TypeError):
            raise MalformedCheckpoint(path, number) from None


def lines(path: Path) -> Iterator[Checkpoint]:
    """The lines of a file; none if the file is missing. Raises MalformedCheckpoint for an invalid line.

    An incomplete last line is ignored: the agent ended while it wrote that line.
    """
    if path.exists():
        with path.open("rb") as file:
            yield from parsed((line for line in file if line.endswith(b"\n")), path)


def last_line(path: Path) -> Checkpoint | None:
    """The last line, read from the end of the file; None if it is missing or invalid (`verify` reports that)."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST))
            whole = file.read().rpartition(b"\n")[0]
        return Checkpoint(**orjson.loads(whole.rpartition(b"\n")[2]))
    except (OSError, ValueError, TypeError):
        return None


def effective(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints that still apply: without those that a restore or a break dropped."""
    left: list[Checkpoint] = []
    for checkpoint in checkpoints:
        if checkpoint.kind != CHECKPOINT:
            while left and (left[-1].event > checkpoint.event or left[-1].commands > checkpoint.commands):
                left.pop()
        left.append(checkpoint)
    return left


def next_line(last: Checkpoint, kind: str, at: float, covered: Checkpoint) -> Checkpoint:
    """The line after the last one, with the content of another line."""
    return replace(covered, number=last.number + 1, kind=kind, at=format_timestamp(at), previous=last.hash).with_hash()


def drop_unfinished(path: Path) -> None:
    """Remove an incomplete last line. The database has never noted it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        tail = file.read()
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
