"""Rollback detection: is the state file older than its last commit?

The witnesses are next to the state file: the key, the high-water mark and the checkpoints. The mark contains the
identity of the file and the number of its last event. The agent writes it after each commit, without an fsync. A crash
of the agent loses nothing of the mark. A crash of the machine may leave the mark behind the file, but never ahead of
it. So a mark that is ahead, or has another identity, proves that the file is an older copy. There is no false alarm.
More events in the last checkpoint than in the file prove the same.

Two cases stay undetected here. One is a copy from the last seconds before a crash of the machine. The other is a folder
that was replaced as a whole. For these, the agent compares its records with Assure (`agent/controller/recovery.py`).
`assure-agent restore` marks the file that it restores.

The key and the mark are created with the first store. If they exist without a store, the store was lost. Each recovery
gives the file a new identity, so that the replaced copy is not accepted later.
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
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import Connection

_LINE = re.compile(r"([0-9a-f]{16}) (\d{20})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReading:
    """The content of the high-water mark: the identity of the file, and the number of its last event."""

    identity: str
    events: int


class HighWaterMark:
    """The high-water mark: a file of one line next to the state file, overwritten in place."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_suffix(".mark")  # `cp agent.db*` does not match this name
        self._handle: int | None = None
        self._identity = ""
        self._events = -1

    def read(self) -> MarkReading | None:
        """The content; None if the file is missing or invalid."""
        try:
            match = _LINE.fullmatch(self.path.read_text("ascii"))
        except (OSError, UnicodeDecodeError):
            return None
        return None if match is None else MarkReading(identity=match[1], events=int(match[2]))

    def begin(self, identity: str, events: int) -> None:
        """Begin to mark a file. Durable on return."""
        self._handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        self._identity = identity
        self._put(events)
        os.fsync(self._handle)

    def advance(self, connection: Connection) -> None:
        """Update the mark after a commit. If that fails, the mark stays behind the file, which is safe."""
        events = last_event(connection)
        if events != self._events:
            with contextlib.suppress(OSError):
                self._put(events)

    def close(self) -> None:
        """Make the mark durable, and close it."""
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
    """The number of the last event; 0 without events."""
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()[0])


def carried_key(connection: Connection) -> str | None:
    """The key inside a backup, in hex."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.BACKUP_KEY,)).fetchone()
    return None if row is None else str(row[0])


def key_of(connection: Connection, path: Path) -> Keys:
    """The key of this file: the key file, the key inside a backup, or a new key for a new store.

    Raises StoreDamaged for another key: the agent would treat every request as new, and Assure would bill it again.
    """
    kept, carried = _meta(connection, MetaKey.KEY), _meta(connection, MetaKey.BACKUP_KEY)
    used = connection.execute("SELECT 1 FROM requests LIMIT 1").fetchone() is not None
    keys = Keys.existing(path)
    if keys is None and carried is not None:
        keys = Keys.load_or_create(path, carried)
    if keys is None and used:
        raise StoreDamaged(
            f"The key file {path.with_name('agent.key')} is missing: every request would be verified again.",
            "restore it from the backup of the state folder, or restore a backup made with `assure-agent backup`",
        )
    keys = keys or Keys.load_or_create(path)
    if kept is not None and used and kept != keys.fingerprint:
        raise StoreDamaged(
            f"The state file {path} was written under another key than {path.with_name('agent.key')}.",
            "restore the key of that file, or set STATE_URL to a separate folder",
        )
    return keys


def open_marked(connection: Connection, path: Path, fresh: bool, key_there: bool, keys: Keys) -> HighWaterMark:
    """Open the mark of this file. After a rollback, record a recovery first.

    `fresh`: this process created the file. `key_there`: its key already existed.
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
    mark.begin(
        identity, last
    )  # before the commit, so that a crash between the two raises no false alarm at a first start
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
    """The cause of the recovery that opening this file would begin. Writes nothing. Without a connection: no file.

    The files next to the state file are read first, so that commits of a running agent cause no false alarm.
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
    """The cause of a recovery (lost, older, restored), or None."""
    if fresh:
        return "lost" if key_there or mark is not None else None
    if backup:
        return "restored"
    if last == 0 and (identity is None or (mark is None and not key_there)):
        return None  # a first start ended before its first event
    if mark is None or mark.identity != identity or mark.events > last:
        return "older"
    return None


def _checkpoint_is_ahead(line: Checkpoint | None, connection: Connection, last: int) -> bool:
    """True if the checkpoints cover more events than the file. Checkpoints before a recovery do not count."""
    if line is None or line.event <= last:
        return False
    return line.number > int(_meta(connection, MetaKey.ABANDONED_CHECKPOINT) or 0)


def _meta(connection: Connection, key: MetaKey) -> Any:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else row[0]


def _put(connection: Connection, key: MetaKey, value: str) -> None:
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))
