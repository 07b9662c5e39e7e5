"""State files that `restore` set aside. The operator may need them again, but erasures apply to them as well [I6].

The agent erases their capture links at once. No restore copies a link, so only a thief could use it. It erases the
names, labels, paths and claims of a request when the operator forgets it. A file that cannot be opened, for instance
because it is damaged, keeps all of it. Then `forget` asks the operator to remove the file.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.core.errors import StoreError
from agent.store.identity_key import Keys
from agent.store.sqlite.connection import Connection, open_writer, sqlite3
from agent.store.sqlite.migrations import migrate
from agent.store.sqlite.secure_delete import forget_request, truncate

FORM = "replaced-%Y%m%dT%H%M%S.%fZ.db"  # the name of such a file, by the time in UTC


def replaced(state: Path) -> list[Path]:
    """The files that were set aside from this state file, oldest first."""
    return sorted(state.parent.glob("replaced-*.db"))


def erase_links(path: Path) -> bool:
    """Erase every capture link of a file. False: that failed."""
    return _changed(path, lambda connection: connection.execute("DELETE FROM links"))


def forget_in(state: Path, keys: Keys, uid: str, at: float) -> list[Path]:
    """Erase the personal data of a request in all these files. Returns the files where that failed."""

    def work(connection: Connection) -> None:
        connection.execute("DELETE FROM links WHERE uid = ?", (uid,))
        connection.execute("DELETE FROM claims WHERE uid = ?", (uid,))
        connection.execute("DELETE FROM refusals")  # they contain names of files
        if connection.execute("SELECT 1 FROM requests WHERE uid = ?", (uid,)).fetchone() is not None:
            forget_request(connection, keys, uid, at)

    return [path for path in replaced(state) if not _changed(path, work)]


def _changed(path: Path, work: Callable[[Connection], object]) -> bool:
    try:
        with _open(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            work(connection)
            connection.execute("COMMIT")
            return truncate(connection)
    except (StoreError, OSError, ValueError, sqlite3.Error):  # ValueError: an invalid record
        return False


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Connection]:
    connection = open_writer(path)
    try:
        migrate(connection)
        yield connection
    finally:
        connection.close()
