"""Rollback detection: is the store older than its last commit?

The witnesses are files on this machine, next to the state file or in STATE_DIR: the key, the high-water mark and the
checkpoints. The mark contains the identity of the store and the number of its last event. The agent writes it after
each commit, without an fsync. A crash of the agent loses nothing of the mark. A crash of the machine may leave the mark
behind the store, but never ahead of it. So a mark that is ahead, or has another identity, proves that the store is an
older copy. There is no false alarm. More events in the last checkpoint than in the store prove the same.

Two cases stay undetected here. One is a copy from the last seconds before a crash of the machine. The other is a folder
that was replaced as a whole. For these, the agent compares its records with Assure (`agent/controller/recovery.py`).
`assure-agent restore` marks the file that it restores.

The key and the mark are created with the first store. If they exist without a store, the store was lost. Each recovery
gives the store a new identity, so that the replaced copy is not accepted later.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, checkpoint_path, last_line
from agent.store.identity_key import Keys
from agent.store.reading.common_reads import recall
from agent.store.reading.reads import Read, value

LAST_EVENT = "SELECT coalesce(max(id), 0) FROM events"
_LINE = re.compile(r"([0-9a-f]{16}) (\d{20})(?: ([0-9a-f]{64}|-{64}) ([0-9a-f-]{36}))?\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkReading:
    """The content of the high-water mark: the identity of the store, and the number of its last event."""

    identity: str
    events: int
    head: str | None = None  # the hash of that event, on a database
    epoch: str | None = None  # the life that wrote it, on a database


class HighWaterMark:
    """The high-water mark: a file of one line, overwritten in place."""

    def __init__(self, store: Path) -> None:
        self.path = store.with_suffix(".mark")  # `cp agent.db*` does not match this name
        self._handle: int | None = None
        self._identity = ""
        self._events = -1
        self._epoch = ""

    def read(self) -> MarkReading | None:
        """The content; None if the file is missing or invalid."""
        try:
            match = _LINE.fullmatch(self.path.read_text("ascii"))
        except (OSError, UnicodeDecodeError):
            return None
        if match is None:
            return None
        head = "" if match[3] and match[3].startswith("-") else match[3]
        return MarkReading(identity=match[1], events=int(match[2]), head=head, epoch=match[4])

    def begin(self, identity: str, events: int, head: str = "", epoch: str = "") -> None:
        """Begin to mark a store. Durable on return. The mark of a database has `head` and `epoch`: of its life."""
        self._handle = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        self._identity, self._epoch = identity, epoch
        self._put(events, head)
        os.fsync(self._handle)

    def advance(self, events: int, head: str = "") -> None:
        """Update the mark after a commit. If that fails, the mark stays behind the store, which is safe."""
        if events != self._events:
            with contextlib.suppress(OSError):
                self._put(events, head)

    def close(self) -> None:
        """Make the mark durable, and close it."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._handle)
            os.close(self._handle)
            self._handle = None

    def _put(self, events: int, head: str) -> None:
        assert self._handle is not None
        life = f" {head:->64} {self._epoch}" if self._epoch else ""
        os.pwrite(self._handle, f"{self._identity} {events:020d}{life}\n".encode("ascii"), 0)
        self._events = events


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnesses:
    """The files of this machine that show if the store is older than its last commit."""

    mark: MarkReading | None
    key_exists: bool
    checkpoint: Checkpoint | None  # the last one
    shared: bool = False  # other replicas write to the store

    @classmethod
    def of_file(cls, state: Path) -> "Witnesses":
        """The files next to this state file."""
        key_exists = Keys.existing(state) is not None
        last = last_line(checkpoint_path(state))
        return cls(mark=HighWaterMark(state).read(), key_exists=key_exists, checkpoint=last)

    @classmethod
    def of_replica(cls, files: Path, key_file: Path | None) -> "Witnesses":
        """The files of a replica of a database. `files`: the path that the names of its local files begin with.

        A replica that is new on this machine has no mark, which proves nothing. KEY_FILE proves nothing either, because
        it exists before the first start.
        """
        key_exists = Keys.existing(files, key_file) is not None and key_file is None
        last = last_line(checkpoint_path(files))
        return cls(mark=HighWaterMark(files).read(), key_exists=key_exists, checkpoint=last, shared=True)


def last_event() -> Read[int]:
    """The number of the last event; 0 without events."""
    return int((yield from value(LAST_EVENT)))


def lost_cause(seen: Witnesses) -> str | None:
    """`lost` if there is no store although there was one."""
    return "lost" if seen.key_exists or seen.mark is not None or seen.checkpoint is not None else None


def rollback_cause(seen: Witnesses) -> Read[str | None]:
    """The cause of the recovery that opening this store would begin: older, restored, or None. Writes nothing.

    Read the witnesses first, so that commits of a running agent cause no false alarm.

    If other replicas commit as well, a missing mark is not evidence, and one from before a recovery is over.
    """
    identity, last = (yield from recall(MetaKey.IDENTITY)), (yield from last_event())
    if (yield from recall(MetaKey.BACKUP_AT)) is not None:
        return "restored"
    if last == 0 and (identity is None or (seen.mark is None and not seen.key_exists)):
        return None  # a first start ended before its first event
    if seen.shared:
        earlier = (yield from recall(MetaKey.IDENTITIES)) or ""
        if seen.mark is None and last and identity is None:
            return "older"
        if seen.mark is None or seen.mark.identity in earlier.split():
            return None
        if seen.mark.head and seen.mark.events <= last:
            found = yield from value("SELECT hash FROM events WHERE id = ?", seen.mark.events)
            if found != seen.mark.head:
                return "older"
    if seen.mark is None or seen.mark.identity != identity or seen.mark.events > last:
        return "older"
    line = seen.checkpoint
    if line is None or line.event <= last:
        return None
    abandoned = yield from recall(MetaKey.ABANDONED_CHECKPOINT)  # checkpoints before a recovery do not count
    return "older" if line.number > int(abandoned or 0) else None
