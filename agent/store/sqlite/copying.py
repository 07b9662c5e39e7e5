"""The state file as a side of `store copy`."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.core.errors import StoreError
from agent.platform.files import fsync_file, fsync_folder
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store.audit.checkpoints import Checkpoint, lines
from agent.store.copy.local_files import give_to_owner
from agent.store.copy.sides import DROP_EMPTY_NOTE, ROWS, Row, select
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import (
    Connection,
    folder_error,
    open_reader,
    open_writer,
    readable,
    refuse_damaged,
)
from agent.store.sqlite.lock import StoreLock
from agent.store.sqlite.migrations import migrate, refuse_newer
from agent.store.writing.statements import REMEMBER

_FORM = "moved-%Y%m%dT%H%M%S.%fZ.db"  # the name of a source after its copy, by the time in UTC


class SqliteSide:
    """A state file that is read in one snapshot."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self.path = path
        self.name = f"state file {path}"
        self._connection = connection

    async def checkpoints(self, path: Path) -> list[Checkpoint]:
        """The checkpoints, from their file."""
        return list(lines(path))

    def unlock(self, keys: Keys) -> None:
        """Nothing: a state file contains capture links as they are, and erases them without a trace."""

    async def columns(self, table: str) -> list[str]:
        """The names of the columns of a table, in the order of the alphabet."""
        return sorted(row[1] for row in self._connection.execute(f"PRAGMA table_info({table})"))

    async def rows(self, table: str, columns: Sequence[str]) -> AsyncIterator[list[Row]]:
        """All rows of a table in their order, in pages. A time in `meta` becomes a text.

        A refusal may quote a NUL, which PostgreSQL does not have.
        """
        async for page in self.pages(select(table, columns)):
            if table == "meta":
                yield [tuple(value if isinstance(value, str) else repr(value) for value in row) for row in page]
            elif table == "refusals":
                yield [tuple(_without_nul(value) if isinstance(value, str) else value for value in row) for row in page]
            else:
                yield page

    async def pages(self, sql: str) -> AsyncIterator[list[Any]]:
        """The rows of a query, in pages."""
        with readable(self.path):
            cursor = self._connection.execute(sql)
            while page := cursor.fetchmany(ROWS):
                yield page


class SqliteSource(SqliteSide):
    """The state file that is copied, under its lock."""

    async def set_aside(self, target: str) -> str | None:
        """Mark the file, erase its capture links, and rename it. Raises StoreError while another program reads it."""
        self._connection.close()
        with readable(self.path), contextlib.closing(open_writer(self.path)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute(REMEMBER, (MetaKey.MOVED_TO, target))
            writer.execute("DELETE FROM links")
            writer.execute("COMMIT")
        if any(self.path.with_name(self.path.name + end).exists() for end in ("-wal", "-shm")):
            # A file without its log would be an older one.
            raise StoreError(
                f"Another program reads the state file {self.path}, so it cannot be renamed.",
                "end that program, and repeat the command: only this step is left",
            )
        kept = self.path.with_name(f"{datetime.now(UTC):{_FORM}}")
        self.path.rename(kept)
        fsync_folder(kept.parent)
        return str(kept)


class SqliteTarget(SqliteSide):
    """The state file that becomes the copy. It gets its name when it is complete."""

    def __init__(self, path: Path, partial: Path, connection: Connection) -> None:
        super().__init__(path, connection)
        self._partial = partial

    async def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Add rows to a table."""
        sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names of the schema
        with readable(self.path):
            self._connection.executemany(sql, rows)

    async def insert_checkpoints(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Nothing: they are carried into the file next to the copy."""

    async def commit(self) -> None:
        """Give the file its name. A crash before that leaves no state file."""
        with readable(self.path):
            self._connection.execute("COMMIT")
            self._connection.close()
        if self._partial != self.path:
            fsync_file(self._partial)
            self._partial.rename(self.path)
            fsync_folder(self.path.parent)
            give_to_owner(self.path.parent, self.path, self.path.with_name(self.path.name + ".lock"))
        self._connection = open_writer(self.path)

    async def finish(self) -> None:
        """Remove the mark of an unfinished copy: an agent may start on it."""
        with readable(self.path):
            self._connection.execute("DELETE FROM meta WHERE key = ?", (MetaKey.COPY_OF,))
            if self._connection.in_transaction:  # nothing was left to commit before
                self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextlib.asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[SqliteSide]:
    """A state file for a comparison. Raises StoreError if there is none, or it is of another version."""
    path = settings.state_path
    with contextlib.closing(_snapshot(path)) as connection:
        yield SqliteSide(path, connection)


@contextlib.asynccontextmanager
async def source(settings: Settings) -> AsyncIterator[SqliteSource]:
    """A state file that is copied. Raises StoreLocked while an agent runs on it."""
    path = settings.state_path
    _refuse_missing(path)
    lock = StoreLock(path)
    try:
        lock.hold()
        with contextlib.closing(_snapshot(path)) as connection:
            refuse_damaged(path, connection)
            yield SqliteSource(path, connection)
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def target(settings: Settings) -> AsyncIterator[SqliteTarget]:
    """A state file that does not exist, or an unfinished copy. Raises StoreLocked while an agent runs on it."""
    path = settings.state_path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = StoreLock(path)
    except OSError as error:
        raise folder_error(path.parent, error) from None
    partial = path if path.exists() else path.with_name(f".{path.name}.copy")
    try:
        if partial == path:
            lock.hold()
        else:
            partial.unlink(missing_ok=True)  # of a copy that was killed
        side = SqliteTarget(path, partial, open_writer(partial, "WAL" if partial == path else "MEMORY"))
        try:
            migrate(side._connection)
            side._connection.execute("BEGIN IMMEDIATE")
            side._connection.execute(DROP_EMPTY_NOTE)
            yield side
        finally:
            side.close()
    finally:
        if partial != path:
            partial.unlink(missing_ok=True)
        lock.release()


def moved(path: Path) -> list[Path]:
    """The state files that `store copy` set aside in this folder, oldest first."""
    return sorted(path.parent.glob("moved-*.db"))


def refuse_moved(path: Path) -> None:
    """Raise StoreError if the state file became a database: a new file would follow the same requests."""
    kept = [] if path.exists() else moved(path)
    if kept:
        with contextlib.closing(open_reader(kept[-1])) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.MOVED_TO,)).fetchone()
        raise StoreError(
            f"The state file {path} was copied to {row[0] if row else 'a database'}, and is kept as {kept[-1]}.",
            "set STATE_URL to the store that took its place",
        )


def _without_nul(text: str) -> str:
    return text.replace("\0", "\ufffd")


def _snapshot(path: Path) -> Connection:
    _refuse_missing(path)
    connection = open_reader(path)
    try:
        refuse_newer(connection)
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM meta").fetchone()  # a snapshot begins with the first read
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise StoreError(f"There is no state file at {path}.", "check the URL of the source")
