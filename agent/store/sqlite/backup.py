"""Backups: a consistent copy of the store without capture links [I6], and its restore.

A backup reads one snapshot through a read-only connection, so an agent may continue meanwhile. It is copied table by
table, so that a capture link never reaches the disk of the backup, not even as a deleted row. A backup contains the
key, so one file is enough for a restore. The agent that opens a restored backup takes the key out of it, and records
the restore. The backup is written to a temporary file, checked, and renamed, so its name never shows a partial file.
"""

import contextlib
import math
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.core.errors import StoreDamaged, StoreError
from agent.platform.files import fsync_file, fsync_folder
from agent.ports import MetaKey
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import Connection, open_reader, refuse_damaged, sqlite3, store_error
from agent.store.sqlite.lock import StoreLock
from agent.store.sqlite.migrations import refuse_newer
from agent.store.sqlite.replaced_files import FORM

_SECRET = ("links",)  # tables that a backup does not copy
_FORM = "agent-%Y%m%dT%H%M%SZ.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup."""

    path: Path
    at: float | None  # None: a plain copy of a state file
    requests: int
    events: int


def back_up(state: Path, place: Path, now: float | None = None) -> Backup:
    """Make a backup at `place`. If that is a folder, the name of the file contains the time.

    Raises StoreError if the file exists or cannot be written, and StoreDamaged if the store is damaged.
    """
    keys = Keys.existing(state)
    if keys is None or not state.exists():
        raise StoreError(f"There is no store at {state}.", "check ASSURE_AGENT_STATE_URL")
    now = time.time() if now is None else now
    path = place / f"{datetime.fromtimestamp(now, UTC):{_FORM}}" if place.is_dir() else place
    if path.exists():
        raise StoreError(f"The file {path} already exists.", "choose another path, or a folder")
    try:
        with _temporary_file(path) as partial:
            _copy(state, partial, {MetaKey.BACKUP_AT: str(now), MetaKey.BACKUP_KEY: keys.carried})
            backup = inspect_backup(partial)
            partial.rename(path)
            fsync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"The backup {path} cannot be written: {error.strerror}.", "check its folder") from None
    except sqlite3.DatabaseError as error:
        raise store_error(state, error) from None
    return Backup(path=path, at=backup.at, requests=backup.requests, events=backup.events)


def inspect_backup(path: Path) -> Backup:
    """Check a backup and count its rows. Raises StoreDamaged, StoreNewer or StoreError if it is not a valid store."""
    if not path.is_file():
        raise StoreError(f"There is no file at {path}.", "give the path of a backup")
    connection = open_reader(path)
    try:
        refuse_newer(connection)
        refuse_damaged(path, connection)
        loose = connection.execute(_UNREFERENCED).fetchone()[0]
        if loose:
            raise StoreDamaged(
                f"The history of {loose} requests in {path} does not end at their last event.",
                f"list them with `assure-agent audit verify --state-url sqlite:///{path}`, or use an earlier backup",
            )
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (MetaKey.BACKUP_AT,)).fetchone()
        counts = connection.execute("SELECT (SELECT count(*) FROM requests), (SELECT count(*) FROM events)").fetchone()
        return Backup(path=path, at=float(row[0]) if row else None, requests=counts[0], events=counts[1])
    except sqlite3.DatabaseError as error:
        raise store_error(path, error) from None
    finally:
        connection.close()


_UNREFERENCED = """
SELECT count(*) FROM requests LEFT JOIN events ON events.uid = requests.uid AND events.seq = requests.seq
WHERE events.hash IS NOT requests.head
"""


def restore(backup: Path, state: Path) -> tuple[Backup, Path | None]:
    """Replace the state file with a backup or a plain copy. The replaced file is kept under another name.

    Returns the restored backup, and the path of the replaced file. Raises StoreLocked while an agent runs.
    """
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = StoreLock(state)
    try:
        if state.exists():
            lock.hold(linked=True)
        found = inspect_backup(backup)
        _same_key(backup, state)
        with _temporary_file(state) as partial:
            made_at = found.at if found.at is not None else backup.stat().st_mtime
            _copy(backup, partial, {MetaKey.BACKUP_AT: str(made_at)})
            _give_to_agent(state, partial, state.with_name(state.name + ".lock"))
            kept = _set_aside(state)
            partial.rename(state)
            fsync_folder(state.parent)
    except OSError as error:
        raise StoreError(f"The state file {state} cannot be replaced: {error.strerror}.", "check its folder") from None
    except sqlite3.DatabaseError as error:
        raise store_error(state, error) from None
    finally:
        lock.release()
    return found, kept


def prune(folder: Path, keep: int, now: float) -> None:
    """Remove all but the newest backups of this folder. Backups with a time in the future stay."""
    for _, path in sorted(_made_in(folder, now))[:-keep]:
        path.unlink(missing_ok=True)


def last_in(folder: Path, now: float = math.inf) -> float | None:
    """The time of the newest backup of this folder, by its name, up to `now`."""
    return max((at for at, _ in _made_in(folder, now)), default=None)


def _made_in(folder: Path, now: float) -> Iterator[tuple[float, Path]]:
    """The backups of a folder. A time in the future comes from a wrong clock, so such a backup is not the newest."""
    for path in folder.iterdir():
        with contextlib.suppress(ValueError):
            at = datetime.strptime(path.name, _FORM).replace(tzinfo=UTC).timestamp()
            if at <= now:
                yield at, path


def _same_key(backup: Path, state: Path) -> None:
    """Raise StoreDamaged for a backup of another key: the agent would treat all its requests as new."""
    keys = Keys.existing(state)
    connection = open_reader(backup)
    try:
        sql = "SELECT key, value FROM meta WHERE key IN (?, ?)"
        kept = dict(connection.execute(sql, (MetaKey.KEY, MetaKey.BACKUP_KEY)).fetchall())
    finally:
        connection.close()
    if keys is None and MetaKey.BACKUP_KEY not in kept:
        raise StoreDamaged(
            f"The file {backup} contains no key, and {state.with_name('agent.key')} does not exist.",
            "restore the key file first; a backup made with `assure-agent backup` contains it",
        )
    if keys is not None and kept.get(MetaKey.KEY, keys.fingerprint) != keys.fingerprint:
        raise StoreDamaged(
            f"The file {backup} was written under another key than {state.with_name('agent.key')}.",
            "set STATE_URL to a separate folder, or restore the key of that file",
        )


def _give_to_agent(state: Path, *made: Path) -> None:
    """Root restores for an agent with a user of its own, who could not open files of root."""
    owner = (state if state.exists() else state.parent).stat().st_uid
    if os.geteuid() == 0 != owner:
        for path in made:
            os.chown(path, owner, -1)


def _set_aside(state: Path) -> Path | None:
    """Rename the state file and its log. The log goes first, because SQLite must never apply it to another file."""
    aside = state.with_name(f"{datetime.now(UTC):{FORM}}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            state.with_name(state.name + suffix).rename(aside.with_name(aside.name + suffix))
    with contextlib.suppress(FileNotFoundError):
        os.link(state, aside)
    return aside if aside.exists() else None


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """An empty file of mode 0600 in the same folder, removed at the end of the block."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path, meta: dict[str, str]) -> None:
    """Copy every table except the secret ones, in one snapshot. On disk on return."""
    reader = open_reader(source)
    try:
        reader.execute("PRAGMA query_only=OFF")  # the source file stays read-only
        reader.execute("ATTACH ? AS copy", (str(target),))
        reader.execute("PRAGMA copy.journal_mode=OFF")
        reader.execute("PRAGMA copy.synchronous=OFF")
        reader.execute("BEGIN")
        _fill(reader)
        reader.executemany("INSERT OR REPLACE INTO copy.meta (key, value) VALUES (?, ?)", list(meta.items()))
        reader.execute("COMMIT")
    finally:
        reader.close()
    fsync_file(target)


def _fill(connection: Connection) -> None:
    """Copy the tables with their rows, then indexes, views and triggers."""
    sql = "SELECT type, name, sql FROM main.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    objects = connection.execute(sql).fetchall()
    tables = [(name, text) for kind, name, text in objects if kind == "table"]
    for name, text in tables:
        connection.execute(_within_copy(text, "TABLE"))
        if name not in _SECRET:
            connection.execute(f'INSERT INTO copy."{name}" SELECT * FROM main."{name}"')  # noqa: S608 - names of the schema
    for kind in ("index", "view", "trigger"):
        for found, _, text in objects:
            if found == kind:
                connection.execute(_within_copy(text, kind.upper()))


def _within_copy(text: str, kind: str) -> str:
    """The CREATE statement for the attached copy."""
    made, count = re.subn(rf"^CREATE (UNIQUE )?{kind} (IF NOT EXISTS )?", rf"CREATE \1{kind} copy.", text, count=1)
    assert count == 1, text
    return made
