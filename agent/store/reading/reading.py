"""The store, read-only: for commands, metrics, the API and the status page. Every engine implements it."""

from abc import abstractmethod
from typing import Self

from agent.ports import MetaKey
from agent.store.read_results import LivingProcess
from agent.store.reading.request_queries import RequestQueries
from agent.store.reading.statistics import StatisticsQueries

_RECOVERY = """
SELECT cause, scanned_at IS NOT NULL, approved_at IS NOT NULL FROM recoveries WHERE closed_at IS NULL
"""


class Reading(RequestQueries, StatisticsQueries):
    """The store through a connection of its own that cannot write. An agent may use the store. A context manager."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(self, _: object, error: BaseException | None, __: object) -> None: ...

    @abstractmethod
    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""

    @abstractmethod
    def data_version(self) -> int:
        """A number that changes with each commit of another connection. It costs no read of a row."""

    @abstractmethod
    def check_integrity(self) -> None:
        """Read every page. Raises StoreDamaged."""

    @abstractmethod
    def migrations(self) -> set[str]:
        """The names of the applied migrations."""

    @abstractmethod
    def engine_version(self) -> str:
        """The version of SQLite, or of the PostgreSQL server."""

    @abstractmethod
    def rollback(self) -> str | None:
        """The cause of the recovery that `run` would begin, because the store is an older copy. None: it is not."""

    @abstractmethod
    def processes(self) -> list[LivingProcess]:
        """The processes that write to the store now: replicas first, the oldest first. A state file has one at most."""

    def last_event(self) -> int:
        """The id of the newest event, 0 without events."""
        return int(self._value("SELECT max(id) FROM events") or 0)

    def account(self) -> str | None:
        """The Assure account of the store."""
        return self.recall(MetaKey.ACCOUNT)

    def recovery(self) -> tuple[str, bool, bool] | None:
        """The recovery in progress, or the one that `run` would begin: its cause, if Assure's lists were read, and if
        the operator approved. None without a recovery.

        Call it first in a snapshot: the files next to the store must not be newer than the snapshot.
        """
        if (cause := self.rollback()) is not None:
            return cause, False, False
        row = self._row(_RECOVERY)
        return None if row is None else (str(row[0]), bool(row[1]), bool(row[2]))

    def carried_key(self) -> str | None:
        """The key in hex, in a backup that no agent has opened yet."""
        return self.recall(MetaKey.BACKUP_KEY)
