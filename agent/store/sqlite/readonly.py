"""The state file, read-only: for commands, metrics, the API and the status page."""

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.store.read_results import LivingProcess
from agent.store.reading.reading import Reading
from agent.store.reading.reads import answer
from agent.store.rollback_detection import Witnesses, rollback_cause
from agent.store.sqlite.connection import open_reader, readable, refuse_damaged, sqlite3, store_error
from agent.store.sqlite.lock import holder


class ReadOnlyStore(Reading):
    """The state file through a connection that cannot write."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = open_reader(path)
        self._read_lock = threading.Lock()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if error is not None:
            with readable(self.path):
                raise error

    def close(self) -> None:
        """Close the connection."""
        with self._read_lock:
            self._reader.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """All rows. `values` has one for each `?`."""
        try:
            with self._read_lock:
                return self._reader.execute(sql, values).fetchall()  # type: ignore[no-any-return]
        except sqlite3.Error as error:
            raise store_error(self.path, error) from None

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows, one after the other, because there may be many."""
        return self._reader.execute(sql)  # type: ignore[no-any-return]

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""
        self.query("BEGIN")

    def data_version(self) -> int:
        """A number that changes with each commit of another connection. SQLite reads no row for it."""
        return int(self._value("PRAGMA data_version"))

    def check_integrity(self) -> None:
        """Read every page. Raises StoreDamaged."""
        refuse_damaged(self.path, self._reader)

    def migrations(self) -> set[str]:
        """The names of the applied migrations."""
        return set(self._column("SELECT name FROM _sqlite_migrations WHERE migration_set = 'assure-agent'"))

    def engine_version(self) -> str:
        """The version of SQLite."""
        return str(sqlite3.sqlite_version)

    def processes(self) -> list[LivingProcess]:
        """The agent that has the lock of the file, if one runs."""
        pid = holder(self.path)
        return [] if pid is None else [LivingProcess(name=str(pid), kind="replica")]

    def oldest_snapshot(self) -> None:
        """None: a state file has no transactions of others."""

    def rollback(self) -> str | None:
        """The cause of the recovery that `run` would begin, because the file is an older copy. None: it is not."""
        return answer(rollback_cause(Witnesses.of_file(self.path)), self.run)

    def store_bytes(self) -> float:
        """The size of the state file and its write-ahead log, in bytes."""
        return sum(path.stat().st_size for path in self.path.parent.glob(self.path.name + "*"))

    def free_bytes(self) -> float | None:
        """The free bytes of the file system with the state file; None if it does not report its size."""
        found = os.statvfs(self.path.parent)
        return float(found.f_frsize * found.f_bavail) if found.f_blocks else None
