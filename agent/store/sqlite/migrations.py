"""The numbered migrations of the state file. Each runs in its own transaction (sqlite-utils)."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from sqlite_utils import Database
from sqlite_utils.migrations import Migrations

from agent.core.errors import StoreNewer
from agent.store.sqlite.connection import Connection, open_writer, sqlite3, store_error

NAMES = ("0001_initial",)
migrations = Migrations("assure-agent")
_SCHEMA = Path(__file__).with_name("schema")


def _run(db: Any, file: str) -> None:
    statement = ""
    for line in (_SCHEMA / file).read_text().splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.execute(statement)
            statement = ""


for _name in NAMES:
    migrations(name=_name)(partial(_run, file=f"{_name}.sql"))  # type: ignore[type-var]


def create_if_missing(path: Path) -> bool:
    """Create the file if it is missing or empty. Returns True if it did. Readers see the complete file or none.

    The new file has no write-ahead log, and gets its name only when it is complete. Raises StoreError and leaves no
    file behind if the disk is full.
    """
    if path.exists() and path.stat().st_size:
        return False
    new = path.with_name(path.name + ".new")
    for left in (new, *_logs(new), *_logs(path)):  # a log without its database is useless
        left.unlink(missing_ok=True)
    try:
        with contextlib.closing(open_writer(new, "MEMORY")) as connection:
            migrate(connection)
        new.replace(path)
    except (sqlite3.DatabaseError, OSError) as error:
        raise store_error(path, error) from None
    finally:
        new.unlink(missing_ok=True)
    return True


def _logs(path: Path) -> list[Path]:
    return [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]


def migrate(connection: Connection) -> None:
    """Migrate the file to this version. Raises StoreNewer for a file of a newer version."""
    db = Database(connection)
    known = {migration.name for migration in migrations.pending(db)} | _applied(db)
    refuse_newer(connection)
    assert known == set(NAMES)
    migrations.apply(db)


def refuse_newer(connection: Connection) -> None:
    """Raise StoreNewer for a file of a newer version."""
    newer = _applied(Database(connection)) - set(NAMES)
    if newer:
        raise StoreNewer(
            f"The state file was written by a newer version of the agent (migration {min(newer)}).",
            "install that version or a later one",
        )


def _applied(db: Any) -> set[str]:
    return {migration.name for migration in migrations.applied(db)}
