"""The database, read-only: for commands, metrics, the API and the status page."""

import contextlib
from collections.abc import Iterator, Sequence
from math import nan
from typing import Any

from agent.platform.settings import Settings
from agent.store.reading.reading import Reading
from agent.store.reading.reads import answer
from agent.store.rollback_detection import Witnesses, rollback_cause

from .connect import Server
from .dialect import numbered
from .facade import Facade

_SIZE = """
SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
"""


class PostgresReading(Reading):
    """The database through a connection of its own that cannot write."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._facade = Facade(Server.parse(settings.state_url, settings.state_password_file))

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._facade.close()

    def query(self, sql: str, values: Sequence[Any] = ()) -> Sequence[Any]:
        """All rows. `values` has one for each `?`."""
        return self._facade.query(numbered(sql), *values)

    def stream(self, sql: str) -> Iterator[Any]:
        """The rows, one after the other, because there may be many."""
        return iter(self.query(sql))

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""

    def data_version(self) -> int:
        """A number that changes with each commit of another connection."""
        return int(self._value("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def check_integrity(self) -> None:
        """The server checks its pages itself, with checksums."""

    def migrations(self) -> set[str]:
        """The names of the applied migrations."""
        return set(self._column("SELECT name FROM migrations"))

    def engine_version(self) -> str:
        """The version of the server, such as 18.4, without the name of its package."""
        return str(self._value("SHOW server_version")).split()[0]

    def rollback(self) -> str | None:
        """The cause of the recovery that `run` would begin, because the store is an older copy. None: it is not."""
        settings = self._settings
        return answer(rollback_cause(Witnesses.read(settings.local_path, settings.key_file)), self.run)

    def store_bytes(self) -> float:
        """The size of the tables and their indexes, in bytes."""
        return float(self._value(_SIZE))

    def free_bytes(self) -> float:
        """NaN: the server does not report it."""
        return nan


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
        return Cursor(self._facade.query(numbered(sql), *values))


@contextlib.contextmanager
def connected(server: Server) -> Iterator[SyncConnection]:
    """A connection for the block."""
    facade = Facade(server)
    try:
        yield SyncConnection(facade)
    finally:
        facade.close()


def database_exists(settings: Settings) -> bool:
    """True if an agent has created the tables. Raises StoreError if the server cannot be used."""
    with connected(Server.parse(settings.state_url, settings.state_password_file)) as connection:
        return bool(connection.execute("SELECT to_regclass('meta') IS NOT NULL").fetchone()[0])


def owner(settings: Settings) -> int | None:
    """The process id of the agent that owns the database, or None."""
    with connected(Server.parse(settings.state_url, settings.state_password_file)) as connection:
        row = connection.execute("SELECT name FROM agents WHERE until > clock_timestamp()").fetchone()
    return None if row is None else int(row[0].rpartition(":")[2])
