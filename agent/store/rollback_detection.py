"""Is the state file what it was when it was last written? What stands beside it tells: the key, and a high-water mark.

The mark holds the file's identity and the number of its last event. It is written after each commit, without an fsync
of its own: a crash of the agent loses nothing of it, and a crash of the machine may leave it behind the file, never
ahead. So a mark that is ahead, or of another identity, proves that the file is an older copy; there is no false alarm.
The last checkpoint beside the file is a second witness: more events than the file has prove an older copy as well.
What neither can see: a copy made in the last seconds before the machine itself crashed, and a folder that was put back
as a whole, mark, checkpoints and all; for these Assure is asked
(`agent/controller/recovery.py`). `assure-agent restore` marks what it restores.

A store that was lost is told from a first start by what is beside it: the key and the mark are made with the first
store. Each recovery gives the file a new identity, so that the copy it replaced is not taken for it later.
"""

import contextlib
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.core.errors import StoreDamaged
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, last_line
from agent.store.connection import Connection
from agent.store.identity_key import Keys

_LINE = re.compile(r"([0-9a-f]{16}) (\d{20})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReading:
    """What the high-water mark says: the identity of the file, and the number of its last event."""

    identity: str
    events: int


class HighWaterMark:
    """The high-water mark: a file of one line beside the state file, overwritten in place."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_suffix(".mark")  # a name that `cp agent.db*` leaves where it is
        self._handle: int | None = None
        self._identity = ""
        self._events = -1

    def read(self) -> MarkReading | None:
        """What it says; None when it is not there, or not readable."""
        try:
            match = _LINE.fullmatch(self.path.read_text("ascii"))
        except (OSError, UnicodeDecodeError):
            return None
        return None if match is None else MarkReading(identity=match[1], events=int(match[2]))

    def begin(self, identity: str, events: int) -> None:
        """Mark this file from here on; durable on return."""
        self._handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        self._identity = identity
        self._put(events)
        os.fsync(self._handle)

    def advance(self, connection: Connection) -> None:
        """A transaction was committed. A mark that cannot be written stays behind, which is safe."""
        events = last_event(connection)
        if events != self._events:
            with contextlib.suppress(OSError):
                self._put(events)

    def close(self) -> None:
        """Make it durable."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = None

    def _put(self, events: int) -> None:
        assert self._handle is not None
        os.pwrite(self._handle, f"{self._identity} {events:020d}\n".encode("ascii"), 0)
        self._events = events


def last_event(connection: Connection) -> int:
    """The number of the last event; 0 when there is none."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


def key_of(connection: Connection, path: Path) -> Keys:
    """The key under which this file was written; that of a backup is taken out of it, a first one is made.

    Raises StoreDamaged where it is another one: under it every request would look new, and be billed again.
    """
    kept, carried = _meta(connection, MetaKey.KEY), _meta(connection, MetaKey.BACKUP_KEY)
    used = connection.execute("SELECT 1 FROM requests LIMIT 1").fetchone() is not None
    keys = Keys.existing(path)
    if keys is None and carried is not None:
        keys = Keys.load_or_create(path, carried)
    if keys is None and used:
        raise StoreDamaged(
            f"The key file {path.with_name('agent.key')} is gone; without it every request would look new.",
            "put it back from where the state folder is backed up, or restore a backup made with `assure-agent backup`",
        )
    keys = keys or Keys.load_or_create(path)
    if kept is not None and used and kept != keys.fingerprint:
        raise StoreDamaged(
            f"The state file {path} was written under another key than {path.with_name('agent.key')}.",
            "put the key back that belongs to it, or set STATE_URL to a folder of its own",
        )
    return keys


def open_marked(connection: Connection, path: Path, fresh: bool, key_there: bool, keys: Keys) -> HighWaterMark:
    """The mark of this file. Where the file is not what it was, that goes on record as a recovery first.

    `fresh`: the file was just made; `key_there`: its key was there before.
    """
    mark = HighWaterMark(path)
    seen, identity, last = mark.read(), _meta(connection, MetaKey.IDENTITY), last_event(connection)
    backup_at = _meta(connection, MetaKey.BACKUP_AT)
    why = _rollback_cause(fresh, key_there, seen, identity, last, backup_at is not None)
    line = last_line(checkpoint_path(path))
    if why is None and _checkpoint_is_ahead(line, connection, last):
        why = "older"
    if why is not None or identity is None:
        identity = secrets.token_hex(8)
    mark.begin(identity, last)  # before the file says so: a crash between the two is no false alarm for a first start
    connection.execute("BEGIN IMMEDIATE")
    _put(connection, MetaKey.IDENTITY, identity)
    _put(connection, MetaKey.KEY, keys.fingerprint)
    connection.execute("DELETE FROM meta WHERE key IN (?, ?)", (MetaKey.BACKUP_AT, MetaKey.BACKUP_KEY))
    if why is not None:
        if line is not None:
            _put(connection, MetaKey.ABANDONED_CHECKPOINT, str(line.number))
        connection.execute("UPDATE recoveries SET closed_at = ? WHERE closed_at IS NULL", (time.time(),))
        connection.execute(
            "INSERT INTO recoveries (at, cause, known, kept, backup_at) VALUES (?, ?, ?, ?, ?)",
            (time.time(), why, seen.events if seen is not None else None, last, backup_at),
        )
    connection.execute("COMMIT")
    return mark


def detect_rollback(connection: Connection | None, path: Path) -> str | None:
    """Why this file is not what it was, as opening it would find; nothing is written. Without a connection: no file.

    What stands beside the file is read first: an agent that is at work meanwhile is ahead of it, and never behind.
    """
    seen, key_there, line = (
        HighWaterMark(path).read(),
        Keys.existing(path) is not None,
        last_line(checkpoint_path(path)),
    )
    if connection is None:
        return _rollback_cause(True, key_there, seen, None, 0, False)
    identity, last = _meta(connection, MetaKey.IDENTITY), last_event(connection)
    why = _rollback_cause(False, key_there, seen, identity, last, _meta(connection, MetaKey.BACKUP_AT) is not None)
    return why or ("older" if _checkpoint_is_ahead(line, connection, last) else None)


def _rollback_cause(
    fresh: bool, key_there: bool, mark: MarkReading | None, identity: str | None, last: int, backup: bool
) -> str | None:
    """Why the file is not what it was: lost, older, restored; None when it is."""
    if fresh:
        return "lost" if key_there or mark is not None else None
    if backup:
        return "restored"
    if last == 0 and (identity is None or (mark is None and not key_there)):
        return None  # no event was ever written, and a start that ended early left the file
    if mark is None or mark.identity != identity or mark.events > last:
        return "older"
    return None


def _checkpoint_is_ahead(line: Checkpoint | None, connection: Connection, last: int) -> bool:
    """True when the checkpoints cover more events than the file has, but for what a recovery gave up already."""
    if line is None or line.event <= last:
        return False
    return line.number > int(_meta(connection, MetaKey.ABANDONED_CHECKPOINT) or 0)


def _meta(connection: Connection, key: MetaKey) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _put(connection: Connection, key: MetaKey, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
