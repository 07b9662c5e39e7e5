"""The checkpoints of a database: one chain for all replicas, in a table, and a copy in a file of each replica.

The file is a witness that a restored database does not replace. A replica adds to it what others added to the table. If
the file continues the table, the database is older, and the replica adds these lines to the table again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agent.platform.settings import Settings
from agent.store.audit.checkpoint_file import CheckpointTaken, LinesInFile
from agent.store.audit.checkpoints import (
    ORIGIN,
    Checkpoint,
    checkpoint_path,
    drop_unfinished,
    encoded,
    last_line,
    lines,
    parsed,
)

from .facade import facade_of
from .ownership import Ownership
from .versions import versioned

LINES = "SELECT line FROM checkpoints ORDER BY number"
NAMED = Path("checkpoints")  # in errors
_FROM = "SELECT line FROM checkpoints WHERE number >= $1 ORDER BY number"
_LAST = "SELECT line FROM checkpoints ORDER BY number DESC LIMIT 1"
_ONE = "SELECT line FROM checkpoints WHERE number = $1"
_APPEND = versioned("SELECT append_checkpoint($1, $2, $3)")


class LinesInTable:
    """The table of checkpoints, for one replica."""

    def __init__(self, settings: Settings, owner: Ownership) -> None:
        self._settings = settings
        self._owner = owner
        self._path = checkpoint_path(settings.local_path)
        self._file = LinesInFile(settings.local_path)

    def read(self) -> Iterator[Checkpoint]:
        """All lines."""
        yield from self._stored(LINES)

    def last(self, noted: tuple[int, str] | None) -> tuple[Checkpoint, bool]:
        """The last line, or ORIGIN, and True if the noted line is one of them."""
        self._compare_with_file()
        last = next(self._stored(_LAST), ORIGIN)
        if noted is None:
            return last, True
        return last, any(line.hash == noted[1] for line in self._stored(_ONE, noted[0]))

    def append(self, line: Checkpoint) -> None:
        """Add a line, durably. Raises Fenced, and CheckpointTaken."""
        self._add_to_table(line)
        self._add_to_file([line])

    def _compare_with_file(self) -> None:
        """Add the lines that one of the two has more, unless they differ: then `audit verify` reports it."""
        drop_unfinished(self._path)
        kept = last_line(self._path) or ORIGIN
        stored = list(self._stored(_FROM, max(1, kept.number)))
        if kept is ORIGIN or (stored and stored[0] == kept):
            self._add_to_file(stored[kept is not ORIGIN :])
        elif not stored:
            last = next(self._stored(_LAST), ORIGIN)
            more = [line for line in lines(self._path) if line.number > last.number]
            if more and more[0].previous == last.hash:
                for line in more:
                    self._add_to_table(line)

    def _add_to_table(self, line: Checkpoint) -> None:
        arguments = self._owner.epoch, line.number, encoded(line).decode()
        added = facade_of(self._settings).write(_APPEND, *arguments)
        if added is None:
            raise self._owner.fenced()
        if not added:
            raise CheckpointTaken(line.number)

    def _add_to_file(self, added: list[Checkpoint]) -> None:
        """The table is what counts: a full disk of this machine does not stop the checkpoints."""
        with contextlib.suppress(OSError):
            for line in added:
                self._file.append(line)

    def _stored(self, sql: str, *values: object) -> Iterator[Checkpoint]:
        yield from parsed((line for (line,) in facade_of(self._settings).query(sql, *values)), NAMED)
