"""Connections to the state file, and the lock beside it. One writer; readers never write [I7].

Whoever opens the state file in one process takes `sqlite3` from here. SQLite guards the file with POSIX locks, which
belong to the process: a second copy of SQLite in it does not see what the first one holds, believes to be alone, and
truncates the shared memory (`agent.db-shm`) that the first has mapped. Then the process dies of SIGBUS, or goes on with
a database whose tables are gone. To close any other handle on one of the files drops the locks in the same way
(sqlite.org/howtocorrupt.html, sections 2.2 and 2.2.1). Ruff refuses the import elsewhere (TID251).
"""

import contextlib
import os
import sqlite3 as system_sqlite  # noqa: TID251 - the one place
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from agent.core.errors import StoreDamaged, StoreError

try:
    import pysqlite3.dbapi2 as _bundled  # noqa: TID251 - the one place
except ImportError:
    _bundled = None


def _newest() -> ModuleType:
    """SQLite from pysqlite3 where it is newer than the system's: 3.51.3 mended a corruption of WAL files."""
    if _bundled is not None and _bundled.sqlite_version_info > system_sqlite.sqlite_version_info:
        return _bundled  # type: ignore[no-any-return]
    return system_sqlite


sqlite3: Any = _newest()
Connection = Any  # sqlite3.Connection of whichever module was taken


_PAGE = 4096  # bytes, of shared memory
_LEAST = 128 * 1024  # bytes: the shared memory of SQLite grows by 32 KiB, and a write-ahead log has to begin


def refuse_holes(folder: Path) -> None:
    """Raise StoreError where opening the store might end the process without a word.

    SQLite maps `agent.db-shm`, and writes one byte into each 4 KiB of it first. Where a file system has smaller blocks
    that leaves holes, and to write into one of these on a full disk is a SIGBUS. Elsewhere it is an error like any.
    """
    found = os.statvfs(folder)
    left = found.f_frsize * found.f_bavail
    if found.f_frsize < _PAGE and left < _LEAST:
        raise StoreError(
            f"There is no room in the state folder {folder}: {left // 1024} KiB are left.",
            "make room on its file system, 10 MiB to begin with; or set STATE_URL to another one",
        )


def open_writer(path: Path, journal: str = "WAL") -> Connection:
    """The one writing connection: synchronous=FULL, mode 0600, and a write-ahead log unless `journal` says else."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = _connect(path, "rw")
    try:
        _refuse_foreign(path, connection)
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # an erased link is erased from the file as well [I6]
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unusable(path, error) from None
    return connection


def open_reader(path: Path) -> Connection:
    """A connection that cannot write."""
    connection = _connect(path, "ro")
    try:
        connection.execute("PRAGMA query_only=ON")
        _refuse_foreign(path, connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise unusable(path, error) from None
    return connection


@contextlib.contextmanager
def reader(path: Path) -> Iterator[Connection]:
    """A connection that cannot write, while the block runs. Raises StoreError when the file turns out unreadable."""
    connection = open_reader(path)
    try:
        with readable(path):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """A damaged page is met by whichever query needs it first, so each may raise StoreDamaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from None
    except ValidationError:  # its text would quote the record
        raise unusable(path, ValueError("malformed record")) from None


def _connect(path: Path, mode: str) -> Connection:
    address = f"file:{quote(str(path))}?mode={mode}"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    except sqlite3.DatabaseError as error:
        raise unusable(path, error) from None


def _refuse_foreign(path: Path, connection: Connection) -> None:
    """A database of somebody else is left as it is."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "_sqlite_migrations" not in tables:
        connection.close()
        raise StoreDamaged(
            f"The state file {path} is a database of something else.", "set STATE_URL to a file of its own"
        )


def is_damage(text: str) -> bool:
    """Does SQLite say with this that the content of the file is wrong?"""
    return any(words in text for words in ("not a database", "malformed", "Could not decode to UTF-8"))


def unusable(path: Path, error: Exception) -> StoreError:
    """The error for a state file that SQLite will not take."""
    text = str(error)
    if is_damage(text):
        return StoreDamaged(
            f"The state file {path} is not a SQLite database, or is damaged: {text}.",
            "restore the newest backup with `assure-agent restore`; or move the file away: then the agent asks Assure "
            "what it still has",
        )
    if "no such table" in text and path.is_file() and not path.stat().st_size:
        return StoreDamaged(
            f"The state file {path} is empty: what was in it is lost.",
            "restore the newest backup with `assure-agent restore`; without one Assure is asked for what it still has",
        )
    if "no such table" in text or "no such column" in text:
        return StoreError(
            f"The state file {path} was written by an earlier version of the agent: {text}.",
            "start the agent of this version once: it brings the file up to date",
        )
    return StoreError(
        f"The state file {path} cannot be used: {text}.", "check the permissions and the free space of its folder"
    )


def unwritable(folder: Path, error: OSError) -> StoreError:
    """The error for a state folder in which no file can be made; a socket's own error names no path."""
    return StoreError(
        f"The state folder {folder} cannot be written: {error.strerror or type(error).__name__}.",
        "give the agent a folder it may write to, with room in it, or set STATE_URL",
    )


def refuse_damaged(path: Path, connection: Connection) -> None:
    """Look at every page once, at 300 MB a second or so: damage is found now and not when the page is needed."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise unusable(path, ValueError(f"malformed ({found.splitlines()[-1]})"))
