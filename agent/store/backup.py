"""Backups: a consistent copy of the store as it is now, without capture links [I6], and how it is put back.

A backup is made through a connection that cannot write, in one snapshot, while an agent may go on; table by table, so
that a link is never on the backup's disk, not even erased. It carries the key, so that one file is all that has to be
kept; a store that opens it takes the key out, and knows by it that it was restored. It is written beside its place,
checked, and renamed: whoever sees it sees all of it.
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
from agent.store.connection import Connection, open_reader, refuse_damaged, sqlite3, store_error
from agent.store.identity_key import Keys
from agent.store.lock import StoreLock
from agent.store.migrations import refuse_newer
from agent.store.replaced_files import FORM

_SECRET = ("links",)  # tables that no backup holds
_FORM = "agent-%Y%m%dT%H%M%SZ.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A backup that was made, or is about to be put back."""

    path: Path
    at: float | None  # None: a plain copy of a state file
    requests: int
    events: int


def back_up(state: Path, place: Path, now: float | None = None) -> Backup:
    """Make a backup of this state file at `place`, or under a name with the time in it when that is a folder.

    Raises StoreError where there is one already, or it cannot be written; StoreDamaged where the store is not sound.
    """
    keys = Keys.existing(state)
    if keys is None or not state.exists():
        raise StoreError(f"There is no store at {state} to be backed up.", "check ASSURE_AGENT_STATE_URL")
    now = time.time() if now is None else now
    path = place / f"{datetime.fromtimestamp(now, UTC):{_FORM}}" if place.is_dir() else place
    if path.exists():
        raise StoreError(f"There is a file at {path} already.", "choose another path, or a folder to make it in")
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
    """What is in this file. Raises StoreDamaged, StoreNewer or StoreError where it is not a sound store of ours."""
    if not path.is_file():
        raise StoreError(f"There is no file at {path}.", "give the path of a backup")
    connection = open_reader(path)
    try:
        refuse_newer(connection)
        refuse_damaged(path, connection)
        loose = connection.execute(_UNREFERENCED).fetchone()[0]
        if loose:
            raise StoreDamaged(
                f"In {path}, requests whose history does not end where they say: {loose}.",
                f"see which with `assure-agent audit verify --state sqlite:///{path}`, or take an earlier backup",
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
    """Put a backup, or a plain copy of a state file, in the place of this one; what was there is kept aside.

    Returns what was put back, and where the replaced file is now. Raises StoreLocked while an agent runs.
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
    """Remove all but the newest of the backups that were made in this folder. Names in the future do not count."""
    for _, path in sorted(_made_in(folder, now))[:-keep]:
        path.unlink(missing_ok=True)


def last_in(folder: Path, now: float = math.inf) -> float | None:
    """When the newest of them was made, by its name, and not after `now`."""
    return max((at for at, _ in _made_in(folder, now)), default=None)


def _made_in(folder: Path, now: float) -> Iterator[tuple[float, Path]]:
    """Those of a time that is yet to come were made by a clock that was wrong: the newest of all is not among them."""
    for path in folder.iterdir():
        with contextlib.suppress(ValueError):
            at = datetime.strptime(path.name, _FORM).replace(tzinfo=UTC).timestamp()
            if at <= now:
                yield at, path


def _same_key(backup: Path, state: Path) -> None:
    """Refuse a store that was written under another key: its requests would all look new here."""
    keys = Keys.existing(state)
    connection = open_reader(backup)
    try:
        sql = "SELECT key, value FROM meta WHERE key IN (?, ?)"
        kept = dict(connection.execute(sql, (MetaKey.KEY, MetaKey.BACKUP_KEY)).fetchall())
    finally:
        connection.close()
    if keys is None and MetaKey.BACKUP_KEY not in kept:
        raise StoreDamaged(
            f"The file {backup} holds no key, and there is none at {state.with_name('agent.key')}.",
            "put the key file back first; a backup made with `assure-agent backup` holds it",
        )
    if keys is not None and kept.get(MetaKey.KEY, keys.fingerprint) != keys.fingerprint:
        raise StoreDamaged(
            f"The file {backup} was written under another key than {state.with_name('agent.key')}.",
            "set STATE_URL to a folder of its own, or put the key back that belongs to it",
        )


def _set_aside(state: Path) -> Path | None:
    """Keep the state file and its log under another name. The log goes first: it must never meet another file."""
    aside = state.with_name(f"{datetime.now(UTC):{FORM}}")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            state.with_name(state.name + suffix).rename(aside.with_name(aside.name + suffix))
    with contextlib.suppress(FileNotFoundError):
        os.link(state, aside)
    return aside if aside.exists() else None


@contextlib.contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """An empty file beside this place, for its owner alone; gone when the block ends."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path, meta: dict[str, str]) -> None:
    """Every table but the secret ones, in one snapshot; on disk on return."""
    reader = open_reader(source)
    try:
        reader.execute("PRAGMA query_only=OFF")  # the source itself was opened read-only
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
    """The tables with their rows; then what stands on them."""
    sql = "SELECT type, name, sql FROM main.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    things = connection.execute(sql).fetchall()
    tables = [(name, text) for kind, name, text in things if kind == "table"]
    for name, text in tables:
        connection.execute(_within_copy(text, "TABLE"))
        if name not in _SECRET:
            connection.execute(f'INSERT INTO copy."{name}" SELECT * FROM main."{name}"')  # noqa: S608 - names of ours
    for kind in ("index", "view", "trigger"):
        for found, _, text in things:
            if found == kind:
                connection.execute(_within_copy(text, kind.upper()))


def _within_copy(text: str, kind: str) -> str:
    """The statement that made it, for the copy."""
    made, count = re.subn(rf"^CREATE (UNIQUE )?{kind} (IF NOT EXISTS )?", rf"CREATE \1{kind} copy.", text, count=1)
    assert count == 1, text
    return made
