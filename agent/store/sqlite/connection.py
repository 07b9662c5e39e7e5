"""Connections to the state file. One connection writes; all others are read-only [I7].

Every module takes `sqlite3` from here, because a process must not use two copies of SQLite on one file. SQLite guards
the file with POSIX locks, and these belong to the process. A second copy of SQLite does not see the locks of the first.
It truncates the shared memory (`agent.db-shm`) that the first copy has mapped. Then the process dies of SIGBUS, or
continues with a database that lost its tables. Closing any other handle on one of the files drops the locks in the same
way (sqlite.org/howtocorrupt.html, sections 2.2 and 2.2.1). Ruff refuses the import elsewhere (TID251).
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
    """SQLite from pysqlite3 if it is newer than the system's: 3.51.3 fixed a corruption of WAL files."""
    if _bundled is not None and _bundled.sqlite_version_info > system_sqlite.sqlite_version_info:
        return _bundled  # type: ignore[no-any-return]
    return system_sqlite


sqlite3: Any = _newest()
Connection = Any  # sqlite3.Connection of the chosen module


_PAGE = 4096  # bytes, of shared memory
_MIN_FREE_BYTES = 128 * 1024  # bytes: the shared memory of SQLite grows by 32 KiB, and a write-ahead log has to begin


def refuse_sparse_shm(folder: Path) -> None:
    """Raise StoreError if opening the store might kill the process.

    SQLite maps `agent.db-shm`, and first writes one byte into each 4 KiB of it. On a file system with smaller blocks
    this leaves holes. Writing into a hole on a full disk is a SIGBUS.
    """
    found = os.statvfs(folder)
    left = found.f_frsize * found.f_bavail
    if found.f_frsize < _PAGE and left < _MIN_FREE_BYTES:
        raise StoreError(
            f"The state folder {folder} has too little free space: {left // 1024} KiB.",
            "free at least 10 MiB on its file system, or set STATE_URL to another one",
        )


def open_writer(path: Path, journal: str = "WAL") -> Connection:
    """The only writing connection: synchronous=FULL, mode 0600, with a write-ahead log unless `journal` differs."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = _connect(path, "rw")
    try:
        _refuse_foreign(path, connection)
        connection.execute(f"PRAGMA journal_mode={journal}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # an erased link must not stay in a freed page [I6]
    except sqlite3.DatabaseError as error:
        connection.close()
        raise store_error(path, error) from None
    return connection


def open_reader(path: Path) -> Connection:
    """A read-only connection."""
    connection = _connect(path, "ro")
    try:
        connection.execute("PRAGMA query_only=ON")
        _refuse_foreign(path, connection)
    except sqlite3.DatabaseError as error:
        connection.close()
        raise store_error(path, error) from None
    return connection


@contextlib.contextmanager
def reader(path: Path) -> Iterator[Connection]:
    """A read-only connection for the block. Raises StoreError if the file is unreadable."""
    connection = open_reader(path)
    try:
        with readable(path):
            yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Translate errors of SQLite. Any query may be the first that needs a damaged page, and raises StoreDamaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise store_error(path, error) from None
    except ValidationError:  # its text would quote the record
        raise store_error(path, ValueError("malformed record")) from None


def _connect(path: Path, mode: str) -> Connection:
    address = f"file:{quote(str(path))}?mode={mode}"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    except sqlite3.DatabaseError as error:
        raise store_error(path, error) from None


def _refuse_foreign(path: Path, connection: Connection) -> None:
    """Raise StoreDamaged for a database of another program."""
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and "_sqlite_migrations" not in tables:
        connection.close()
        raise StoreDamaged(
            f"The state file {path} is a database of another program.", "set STATE_URL to a file of its own"
        )


def is_damage(text: str) -> bool:
    """True if this error of SQLite means that the content of the file is damaged."""
    return any(words in text for words in ("not a database", "malformed", "Could not decode to UTF-8"))


def store_error(path: Path, error: Exception) -> StoreError:
    """Translate an error of SQLite."""
    text = str(error)
    if is_damage(text):
        return StoreDamaged(
            f"The state file {path} is not a SQLite database, or is damaged: {text}.",
            "restore the newest backup with `assure-agent restore`, or move the file away and let the agent read from "
            "Assure what still exists",
        )
    if "no such table" in text and path.is_file() and not path.stat().st_size:
        return StoreDamaged(
            f"The state file {path} is empty: its content is lost.",
            "restore the newest backup with `assure-agent restore`, or remove the file and let the agent read from "
            "Assure what still exists",
        )
    if "no such table" in text or "no such column" in text:
        return StoreError(
            f"The state file {path} was written by an earlier version of the agent: {text}.",
            "start this version of the agent once: it migrates the file",
        )
    return StoreError(
        f"The state file {path} cannot be used: {text}.", "check the permissions and the free space of its folder"
    )


def folder_error(folder: Path, error: OSError) -> StoreError:
    """The error for an unwritable state folder. The error of the operating system may name no path."""
    return StoreError(
        f"The state folder {folder} cannot be written: {error.strerror or type(error).__name__}.",
        "give the agent a writable folder with free space, or set STATE_URL",
    )


def refuse_damaged(path: Path, connection: Connection) -> None:
    """Read every page, at about 300 MB/s, and raise StoreDamaged for a damaged one."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise store_error(path, ValueError(f"malformed ({found.splitlines()[-1]})"))
