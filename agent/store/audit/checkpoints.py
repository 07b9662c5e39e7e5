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
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import orjson

from agent.core.errors import StoreError
from agent.core.timestamps import format_timestamp
from agent.platform.files import fsync_folder
from agent.ports import MetaKey
from agent.store.connection import Connection, reader
from agent.store.operator_commands import last_command

_LONGEST = 4096  # bytes; every line is shorter
_PAGE = 10_000  # events per query, so that no snapshot of a reader lasts long

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
    """The checkpoint file of this state file."""
    return store.with_suffix(".checkpoints.jsonl")


class MalformedCheckpoint(StoreError):
    """A line is not a valid checkpoint. `line` counts from 1."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"Line {line} of {path.name} is not a valid checkpoint.", "run `assure-agent audit verify`")
        self.line = line


def lines(path: Path) -> Iterator[Checkpoint]:
    """The lines of a file; none if the file is missing. Raises MalformedCheckpoint for an invalid line.

    An incomplete last line is ignored: the agent ended while it wrote that line.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                try:
                    yield Checkpoint(**orjson.loads(line))
                except (ValueError, TypeError):
                    raise MalformedCheckpoint(path, number) from None


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


class Checkpoints:
    """The checkpoint file, for the agent that holds the lock of the store. Blocking. Any thread may call it."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = checkpoint_path(store)
        self._lock = threading.Lock()
        self._last: Checkpoint | None = None

    def take(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a line if the journal grew since the last one. Returns the added lines. Raises MalformedCheckpoint."""
        with self._lock, reader(self._store) as connection:
            added: list[Checkpoint] = []
            last = self._end(connection)
            if not matches_event(connection, last):
                last = self._append(self._rewind(connection, BREAK, at, last))
                added.append(last)
            commands = last_command(connection)
            event, head, digest = last.event, last.head, last.digest
            while page := _page(connection, event):
                for event, head in page:  # noqa: B007 - the last event is used below
                    digest = extend_digest(digest, head)
            if event > last.event or commands[0] > last.commands:
                now = replace(
                    last, event=event, head=head, digest=digest, commands=commands[0], commands_head=commands[1]
                )
                added.append(self._append(_next(last, CHECKPOINT, at, now)))
            return tuple(added)

    def record_restore(self, at: float) -> Checkpoint:
        """Add a line for a restore by the operator: the events after the restored ones are dropped."""
        with self._lock, reader(self._store) as connection:
            return self._append(self._rewind(connection, RESTORE, at, self._end(connection)))

    def _rewind(self, connection: Connection, kind: str, at: float, last: Checkpoint) -> Checkpoint:
        """A line that goes back to the newest checkpoint that matches the database."""
        for line in reversed([ORIGIN, *effective(lines(self._path))]):
            if matches_event(connection, line):
                return _next(last, kind, at, line)
        raise AssertionError("the origin matches every database")

    def _end(self, connection: Connection) -> Checkpoint:
        """The last line. If lines that the database noted are missing, a line that makes the next one a break."""
        if self._last is None:
            _drop_unfinished(self._path)
            last, noted = ORIGIN, note(connection)
            known = noted is None
            for last in lines(self._path):
                known = known or (last.number, last.hash) == noted
            if noted is not None and not known:
                last = replace(ORIGIN, number=max(noted[0], last.number), event=-1, hash=noted[1])
            self._last = last
        return self._last

    def _append(self, line: Checkpoint) -> Checkpoint:
        new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, orjson.dumps(asdict(line)) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            fsync_folder(self._path.parent)
        self._last = line
        return line


def note(connection: Connection) -> tuple[int, str] | None:
    """The note in the database about the file: the number and the hash of its last line."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.CHECKPOINT,)).fetchone()
    if row is None:
        return None
    number, _, line_hash = str(row[0]).partition(" ")
    return (int(number), line_hash) if number.isdigit() else (0, "")


def matches_event(connection: Connection, line: Checkpoint) -> bool:
    """True if the last event and the last command of a checkpoint are unchanged. `verify` checks all of them."""
    found = connection.execute("SELECT hash FROM events WHERE id = ?", (line.event,)).fetchone()
    if line.event and (found is None or found[0] != line.head):
        return False
    if not line.commands:
        return True
    found = connection.execute("SELECT hash FROM commands WHERE number = ?", (line.commands,)).fetchone()
    return found is not None and found[0] == line.commands_head


def _next(last: Checkpoint, kind: str, at: float, covered: Checkpoint) -> Checkpoint:
    """The line after the last one, with the content of another line."""
    return replace(covered, number=last.number + 1, kind=kind, at=format_timestamp(at), previous=last.hash).with_hash()


def _page(connection: Connection, after: int) -> list[tuple[int, str]]:
    sql = "SELECT id, hash FROM events WHERE id > ? ORDER BY id LIMIT ?"
    return connection.execute(sql, (after, _PAGE)).fetchall()  # type: ignore[no-any-return]


def _drop_unfinished(path: Path) -> None:
    """Remove an incomplete last line. The database has never noted it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        tail = file.read()
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
