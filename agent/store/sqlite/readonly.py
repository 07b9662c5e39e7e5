"""The state file, read-only: for commands, metrics, the API and the status page."""

from pathlib import Path
from typing import Self

from agent.ports import MetaKey
from agent.store.sqlite.connection import open_reader, readable, refuse_damaged
from agent.store.sqlite.request_queries import RequestQueries
from agent.store.sqlite.rollback_detection import detect_rollback
from agent.store.sqlite.statistics import StatisticsQueries


class ReadOnlyStore(RequestQueries, StatisticsQueries):
    """The state file through a connection that cannot write. An agent may use the file. Use as a context manager."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, open_reader(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if error is not None:
            with readable(self.path):
                raise error

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""
        self.query("BEGIN")

    def data_version(self) -> int:
        """A number that changes with each commit of another connection. SQLite reads no row for it."""
        return int(self._value("PRAGMA data_version"))

    def last_event(self) -> int:
        """The id of the newest event, 0 without events."""
        return int(self._value("SELECT max(id) FROM events") or 0)

    def check_integrity(self) -> None:
        """Read every page. Raises StoreDamaged."""
        refuse_damaged(self.path, self._reader)

    def migrations(self) -> set[str]:
        """The names of the applied migrations."""
        return set(self._column("SELECT name FROM _sqlite_migrations WHERE migration_set = 'assure-agent'"))

    def account(self) -> str | None:
        """The Assure account of the file."""
        return self.recall(MetaKey.ACCOUNT)

    def recovery(self) -> tuple[str, bool, bool] | None:
        """The recovery in progress, or the one that `run` would begin: its cause, if Assure's lists were read, and if
        the operator approved. None without a recovery.

        Call it first in a snapshot: the files next to the state file must not be newer than the snapshot.
        """
        cause = detect_rollback(self._reader, self.path)
        if cause is not None:
            return cause, False, False
        sql = "SELECT cause, scanned_at IS NOT NULL, approved_at IS NOT NULL FROM recoveries WHERE closed_at IS NULL"
        row = self._row(sql)
        return None if row is None else (str(row[0]), bool(row[1]), bool(row[2]))

    def carried_key(self) -> str | None:
        """The key in hex, in a backup that no agent has opened yet."""
        return self.recall(MetaKey.BACKUP_KEY)
