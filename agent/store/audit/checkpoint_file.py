"""The checkpoints of a store, as the agent continues them, and the notes about them in the database."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from agent.core.errors import StoreError
from agent.platform.files import fsync_folder
from agent.ports import MetaKey
from agent.store.audit.checkpoints import (
    BREAK,
    CHECKPOINT,
    ORIGIN,
    RESTORE,
    Checkpoint,
    checkpoint_path,
    drop_unfinished,
    effective,
    encoded,
    extend_digest,
    lines,
    next_line,
)

_PAGE = 10_000  # events per query, so that no snapshot of a reader lasts long

Connection = Any  # of an engine: `execute(sql, values)` with `fetchone` and `fetchall`
_LAST_COMMAND = "SELECT number, hash FROM commands ORDER BY number DESC LIMIT 1"


class CheckpointTaken(StoreError):
    """Another replica has added a checkpoint with this number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Another replica has added checkpoint {number}.", "nothing: the next checkpoint follows it")


class CheckpointLines(Protocol):
    """The place of the checkpoints of a store."""

    def read(self) -> Iterator[Checkpoint]:
        """All lines. Raises MalformedCheckpoint."""

    def last(self, noted: tuple[int, str] | None) -> tuple[Checkpoint, bool]:
        """The last line, or ORIGIN, and True if the noted line is one of them. Raises MalformedCheckpoint."""

    def append(self, line: Checkpoint) -> None:
        """Add a line, durably. Raises CheckpointTaken."""


class LinesInFile:
    """The checkpoint file next to a state file."""

    def __init__(self, store: Path) -> None:
        self._path = checkpoint_path(store)

    def read(self) -> Iterator[Checkpoint]:
        """All lines. Removes an incomplete last one, which the database has never noted."""
        drop_unfinished(self._path)
        yield from lines(self._path)

    def last(self, noted: tuple[int, str] | None) -> tuple[Checkpoint, bool]:
        """The last line, or ORIGIN, and True if the noted line is one of them."""
        last, known = ORIGIN, noted is None
        for last in self.read():
            known = known or (last.number, last.hash) == noted
        return last, known

    def append(self, line: Checkpoint) -> None:
        """Add a line, durably."""
        new = not self._path.exists()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, encoded(line) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        if new:
            fsync_folder(self._path.parent)


class Checkpoints:
    """The checkpoints, for an agent that may write. Blocking. Any thread may call it."""

    def __init__(
        self, kept: CheckpointLines, connected: Callable[[], AbstractContextManager[Connection]], shared: bool = False
    ) -> None:
        """`connected` opens a connection to the store for a block. `shared`: other agents add lines as well."""
        self._kept = kept
        self._connected = connected
        self._shared = shared
        self._lock = threading.Lock()
        self._last: Checkpoint | None = None

    def take(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a line if the journal grew since the last one. Returns the added lines. Raises MalformedCheckpoint."""
        added: list[Checkpoint] = []
        with self._lock, self._connected() as connection, contextlib.suppress(CheckpointTaken):
            last = self._end(connection)
            if not matches_event(connection, last):
                last = self._append(self._rewind(connection, BREAK, at, last))
                added.append(last)
            commands = connection.execute(_LAST_COMMAND).fetchone() or (0, "")
            event, head, digest = last.event, last.head, last.digest
            while page := _page(connection, event):
                for event, head in page:  # noqa: B007 - the last event is used below
                    digest = extend_digest(digest, head)
            if event > last.event or commands[0] > last.commands:
                now = replace(
                    last, event=event, head=head, digest=digest, commands=commands[0], commands_head=commands[1]
                )
                added.append(self._append(next_line(last, CHECKPOINT, at, now)))
        return tuple(added)

    def record_restore(self, at: float) -> Checkpoint:
        """Add a line for a restore by the operator: the events after the restored ones are dropped."""
        with self._lock, self._connected() as connection:
            return self._append(self._rewind(connection, RESTORE, at, self._end(connection)))

    def _rewind(self, connection: Connection, kind: str, at: float, last: Checkpoint) -> Checkpoint:
        """A line that goes back to the newest checkpoint that matches the database."""
        for line in reversed([ORIGIN, *effective(self._kept.read())]):
            if matches_event(connection, line):
                return next_line(last, kind, at, line)
        raise AssertionError("the origin matches every database")

    def _end(self, connection: Connection) -> Checkpoint:
        """The last line. If lines that the database noted are missing, a line that makes the next one a break."""
        if self._last is None or self._shared:
            noted = note(connection)
            last, known = self._kept.last(noted)
            if noted is not None and not known:
                last = replace(ORIGIN, number=max(noted[0], last.number), event=-1, hash=noted[1])
            self._last = last
        return self._last

    def _append(self, line: Checkpoint) -> Checkpoint:
        self._kept.append(line)
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


def _page(connection: Connection, after: int) -> list[tuple[int, str]]:
    sql = "SELECT id, hash FROM events WHERE id > ? ORDER BY id LIMIT ?"
    return connection.execute(sql, (after, _PAGE)).fetchall()  # type: ignore[no-any-return]
