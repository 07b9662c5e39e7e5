"""State files that `restore` set aside: a person may want them back, so that they stay; what has to go from the store
has to go from them as well [I6].

Capture links go at once: no restore takes them along, so they would be of use to nobody but a thief. Names, labels,
paths and claims of a request go when it is forgotten. A file that cannot be opened (it may have been set aside for
being damaged) keeps all of it: whoever asked is told to remove it.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.core.errors import StoreError
from agent.store.connection import Connection, open_writer, sqlite3
from agent.store.identity_key import Keys
from agent.store.migrations import migrate
from agent.store.secure_delete import forget_request, truncate

FORM = "replaced-%Y%m%dT%H%M%S.%fZ.db"  # the name of such a file, by the time in UTC


def replaced(state: Path) -> list[Path]:
    """The files that were set aside from this state file, oldest first."""
    return sorted(state.parent.glob("replaced-*.db"))


def erase_links(path: Path) -> bool:
    """Erase every capture link in it. False: that could not be done."""
    return _changed(path, lambda connection: connection.execute("DELETE FROM links"))


def forget_in(state: Path, keys: Keys, uid: str, at: float) -> list[Path]:
    """Erase what identifies this request in all files set aside. Returns those in which that could not be done."""

    def work(connection: Connection) -> None:
        connection.execute("DELETE FROM links WHERE uid = ?", (uid,))
        connection.execute("DELETE FROM claims WHERE uid = ?", (uid,))
        connection.execute("DELETE FROM refusals")  # they name files; the next scan finds them again
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
    except (StoreError, OSError, ValueError, sqlite3.Error):  # ValueError: a record that cannot be read
        return False


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Connection]:
    connection = open_writer(path)
    try:
        migrate(connection)
        yield connection
    finally:
        connection.close()
