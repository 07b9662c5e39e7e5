"""Checkpoints of the journal, in a file beside the database: what was written cannot be unwritten without a trace.

The journal is all events in the order of writing (`events.id`: 1, 2, 3, without a gap). Its digest is a fold over the
hashes of the events: `digest(n) = SHA-256(digest(n - 1) + hash(n))`, `digest(0) = ""`. Each hash holds its request's
chain, so one digest covers every chain head up to there. A checkpoint is one line of JSON: how many events there were,
the hash of the last of them, the digest; how many commands there were and the hash of the last of them, which covers
the others; and the hash of the line, which covers the line before.

To take one costs what was written since the last one: each event is read once in its life, in pages, and nothing at
all is read of what is settled. The database notes the last line in turn, so that a file that was cut or taken away is
missed. What this cannot show is a change of database *and* file, unless somebody keeps a copy: the agent logs each
line's hash, and `audit verify --checkpoints` takes a copy.
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

_LONGEST = 4096  # bytes of a line at the most, and more
_PAGE = 10_000  # events per query: the snapshot of a reader is not held for longer

CHECKPOINT = "checkpoint"  # the journal, as it was
RESTORE = "restore"  # a backup was restored: what the journal had after `event` is given up, as a person wanted
BREAK = "break"  # the agent found the journal shorter than, or other than, the last line; what is left is taken up


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
        """With the hash of its line."""
        said = [self.previous, self.number, self.kind, self.at, self.event, self.head, self.digest]
        said += [self.commands, self.commands_head]
        return replace(self, hash=hashlib.sha256(orjson.dumps(said)).hexdigest())


ORIGIN = Checkpoint(
    number=0, kind=CHECKPOINT, at="", event=0, head="", digest="", previous="", commands=0, commands_head=""
)


def extend_digest(digest: str, event_hash: str) -> str:
    """The digest of the journal with one event more."""
    return hashlib.sha256((digest + event_hash).encode()).hexdigest()


def checkpoint_path(store: Path) -> Path:
    """Where the checkpoints of this state file are."""
    return store.with_suffix(".checkpoints.jsonl")


class MalformedCheckpoint(StoreError):
    """A line that is no checkpoint: `line` counts from 1."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(f"Line {line} of {path.name} is no checkpoint.", "look with `assure-agent audit verify`")
        self.line = line


def lines(path: Path) -> Iterator[Checkpoint]:
    """The lines of a file; none when there is no file. Raises Garbled at a line that is no checkpoint.

    A last line without its end was being written when the agent ended; it counts as not written.
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
    """The last line, read from the end of the file; None when there is none, or it cannot be read (`verify` tells)."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST))
            whole = file.read().rpartition(b"\n")[0]
        return Checkpoint(**orjson.loads(whole.rpartition(b"\n")[2]))
    except (OSError, ValueError, TypeError):
        return None


def effective(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Those that speak of the journal as it should be now: without what a restore, or a break, gave up."""
    left: list[Checkpoint] = []
    for checkpoint in checkpoints:
        if checkpoint.kind != CHECKPOINT:
            while left and (left[-1].event > checkpoint.event or left[-1].commands > checkpoint.commands):
                left.pop()
        left.append(checkpoint)
    return left


class Checkpoints:
    """The file of an agent that holds the lock of the store. Blocking, and safe to call from any thread."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._path = checkpoint_path(store)
        self._lock = threading.Lock()
        self._last: Checkpoint | None = None

    def take(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a line when something was written since the last one; return what was added. Raises Garbled."""
        with self._lock, reader(self._store) as connection:
            added: list[Checkpoint] = []
            last = self._end(connection)
            if not matches_event(connection, last):
                last = self._append(self._rewind(connection, BREAK, at, last))
                added.append(last)
            commands = last_command(connection)
            event, head, digest = last.event, last.head, last.digest
            while page := _page(connection, event):
                for event, head in page:  # noqa: B007 - the last of them is meant
                    digest = extend_digest(digest, head)
            if event > last.event or commands[0] > last.commands:
                now = replace(
                    last, event=event, head=head, digest=digest, commands=commands[0], commands_head=commands[1]
                )
                added.append(self._append(_next(last, CHECKPOINT, at, now)))
            return tuple(added)

    def record_restore(self, at: float) -> Checkpoint:
        """Say that a person put an older copy of the database in place: what was written after it is given up."""
        with self._lock, reader(self._store) as connection:
            return self._append(self._rewind(connection, RESTORE, at, self._end(connection)))

    def _rewind(self, connection: Connection, kind: str, at: float, last: Checkpoint) -> Checkpoint:
        """A line that goes back to the newest one that the database still agrees with."""
        for line in reversed([ORIGIN, *effective(lines(self._path))]):
            if matches_event(connection, line):
                return _next(last, kind, at, line)
        raise AssertionError("the origin always holds")

    def _end(self, connection: Connection) -> Checkpoint:
        """The last line; when lines that the database noted are gone, what would have followed them, as a break."""
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
    """What the database knows of the file: the number of its last line, and its hash."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.CHECKPOINT,)).fetchone()
    if row is None:
        return None
    number, _, line_hash = str(row[0]).partition(" ")
    return (int(number), line_hash) if number.isdigit() else (0, "")


def matches_event(connection: Connection, line: Checkpoint) -> bool:
    """Are its last event and its last command still those that it saw? Cheap; whether all are, `verify` says."""
    found = connection.execute("SELECT hash FROM events WHERE id = ?", (line.event,)).fetchone()
    if line.event and (found is None or found[0] != line.head):
        return False
    if not line.commands:
        return True
    found = connection.execute("SELECT hash FROM commands WHERE number = ?", (line.commands,)).fetchone()
    return found is not None and found[0] == line.commands_head


def _next(last: Checkpoint, kind: str, at: float, covered: Checkpoint) -> Checkpoint:
    """The line after the last one, with what another one saw."""
    return replace(covered, number=last.number + 1, kind=kind, at=format_timestamp(at), previous=last.hash).with_hash()


def _page(connection: Connection, after: int) -> list[tuple[int, str]]:
    sql = "SELECT id, hash FROM events WHERE id > ? ORDER BY id LIMIT ?"
    return connection.execute(sql, (after, _PAGE)).fetchall()  # type: ignore[no-any-return]


def _drop_unfinished(path: Path) -> None:
    """A line that a crash left without its end was never noted by anybody."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LONGEST))
        tail = file.read()
        file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
