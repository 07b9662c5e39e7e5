"""The database, read-only: for commands, metrics, the API and the status page."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from agent.core.errors import StoreDamaged
from agent.platform.settings import Settings
from agent.store.identity_key import Keys
from agent.store.read_results import RunningAgent
from agent.store.reading.reading import Reading
from agent.store.reading.reads import answer
from agent.store.rollback_detection import Witnesses, rollback_cause

from .dialect import numbered, sent
from .facade import Facade, facade_of
from .ownership import OWNER, agent_named
from .sealed_links import LinkSeal
from .snapshot import Snapshot

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""
# The transactions that have ended: a standby knows them as well, and each role may read them.
_VERSION = "SELECT hashtextextended(pg_current_snapshot()::text, 0)"
_IDENTITY = """
SELECT (SELECT oid FROM pg_database WHERE datname = current_database())::bigint, to_regclass('meta')::oid::bigint
"""


class PostgresReading(Reading):
    """The database, in transactions that cannot write."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._facade = facade_of(settings)
        self._snapshot: Snapshot | None = None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, ValidationError):  # its text would quote the record
            raise StoreDamaged(
                f"The database {self._facade} is damaged: malformed record.", "restore a backup of the database"
            ) from None

    def close(self) -> None:
        """End the snapshot."""
        if self._snapshot is not None:
            self._facade.end(self._snapshot)
            self._snapshot = None

    def query(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """All rows. `values` has one for each `?`."""
        return self._facade.query(numbered(sql), *sent(values), snapshot=self._snapshot)

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows, one after the other, because there may be many."""
        if self._snapshot is not None:
            yield from self._facade.stream(numbered(sql), self._snapshot)
            return
        snapshot = self._facade.begin()
        try:
            yield from self._facade.stream(numbered(sql), snapshot)
        finally:
            self._facade.end(snapshot)

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""
        self._snapshot = self._facade.begin()

    def data_version(self) -> int:
        """A number that changes soon after each commit of another connection. The server reads no row for it."""
        return int(self._value(_VERSION))

    def check_integrity(self) -> None:
        """The server checks its pages itself, with checksums."""

    def migrations(self) -> set[str]:
        """The names of the applied migrations."""
        return set(self._column("SELECT name FROM migrations"))

    def engine_version(self) -> str:
        """The version of the server, such as 18.4, without the name of its package."""
        return str(self._value("SELECT current_setting('server_version')")).split()[0]

    def rollback(self) -> str | None:
        """The cause of the recovery that `run` would begin, because the store is an older copy. None: it is not."""
        settings = self._settings
        return answer(rollback_cause(Witnesses.read(settings.local_path, settings.key_file), shared=True), self.run)

    @cached_property
    def _links(self) -> LinkSeal | None:
        keys = Keys.existing(self._settings.local_path, self._settings.key_file)
        return None if keys is None else LinkSeal(keys)

    def _opened_link(self, uid: str, stored: str) -> str | None:
        return None if self._links is None else self._links.open(uid, stored)

    def store_bytes(self) -> float:
        """The size of the tables and their indexes, in bytes."""
        return float(self._value(_SIZE))

    def free_bytes(self) -> None:
        """None: the server does not report it."""


class Cursor:
    """The rows of a query, as a DB-API cursor gives them."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def fetchone(self) -> Any:
        """The next row, or None."""
        return next(self._rows, None)

    def fetchall(self) -> list[Any]:
        """The other rows."""
        return list(self._rows)


class SyncConnection:
    """A connection that reads, from any thread, with the shared SQL."""

    def __init__(self, facade: Facade) -> None:
        self._facade = facade

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Cursor:
        """The rows of a query. `values` has one for each `?`."""
        return Cursor(self._facade.query(numbered(sql), *sent(values)))


@contextlib.contextmanager
def connected(settings: Settings) -> Iterator[SyncConnection]:
    """A connection for the block."""
    yield SyncConnection(facade_of(settings))


def identity(settings: Settings) -> tuple[int, int] | None:
    """The numbers of the database and of a table; None before an agent has created the tables.

    Raises StoreError if the server cannot be used.
    """
    database, table = facade_of(settings).query(_IDENTITY)[0]
    return None if table is None else (database, table)


def owner(settings: Settings) -> RunningAgent | None:
    """The agent that owns the database. Raises StoreError."""
    if identity(settings) is None:
        return None
    rows = facade_of(settings).query(OWNER)
    return agent_named(*rows[0]) if rows else None
