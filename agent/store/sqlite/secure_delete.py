"""Secure deletion: erased data leaves the files as well as the tables [I6].

With `secure_delete`, SQLite overwrites every freed cell and page. Two places remain, and this module clears them:

- The write-ahead log has earlier pages until the writer truncates it, outside a transaction.
- When SQLite balances full pages, it may leave a copy of a cell in the unused part of a neighbouring page, where
  nothing frees it. Measured: 8 to 18 of 12,000 names in random order, and one in fifty large records. So the
  transaction that erases an entry also deletes its neighbours in the B-tree and inserts them again. That frees the
  pages in between, and thereby overwrites them.

The cost of both depends on the erased data, not on the stored data. Rewriting the whole file (VACUUM) would block every
commit, for ten seconds per gigabyte. It would also need as much memory as the file where temporary files are in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.audit import Event
from agent.core.personal_data import without_personal_data
from agent.store.digests import FORGOTTEN, forgotten_digest
from agent.store.identity_key import Keys
from agent.store.repository import columns, load
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.events import append_event

_NEIGHBOUR_BYTES = 4 * 4096  # bytes of entries on each side: more than two pages can hold
_CELL = 8  # bytes of an entry in addition to its values


@dataclass(frozen=True, slots=True, kw_only=True)
class BTree:
    """A B-tree that contains personal data: its order, and how to delete and insert an entry."""

    entries: str  # the table, and the condition on the rows of the tree
    key: tuple[str, ...]
    columns: tuple[str, ...]
    delete: str
    insert: str
    within: int = 103  # minimum of bytes of a large entry in its page (sqlite.org/fileformat2.html, 1.6)


def _of_table(table: str, key: tuple[str, ...], *others: str) -> BTree:
    columns = (*key, *others)
    same = " AND ".join(f"{column} = :{column}" for column in key)
    values = ", ".join(f":{column}" for column in columns)
    return BTree(
        entries=f"{table} WHERE 1",
        key=key,
        columns=columns,
        delete=f"DELETE FROM {table} WHERE {same}",  # noqa: S608 - constant
        insert=f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})",  # noqa: S608 - constant
    )


def _of_names(*key: str) -> BTree:
    return BTree(
        entries="requests WHERE name IS NOT NULL",
        key=key,
        columns=("uid", "source", "name"),
        delete="UPDATE requests SET name = NULL WHERE uid = :uid",
        insert="UPDATE requests SET name = :name WHERE uid = :uid",
    )


_RECORDS = BTree(
    entries="requests WHERE 1",
    key=("rowid",),
    columns=("rowid", "record"),
    delete="UPDATE requests SET rowid = -:rowid WHERE rowid = :rowid",
    insert="UPDATE requests SET rowid = :rowid WHERE rowid = -:rowid",
    within=489,
)
_NAMES = (_of_names("source", "name"), _of_names("name", "uid"))  # two indexes of `requests`
_LABELS = _of_table("labels", ("key", "value", "uid"))
_LABELS_OF_ONE = _of_table("labels", ("uid", "key", "value"))  # the index `labels_by_uid`
_PROVENANCE = _of_table("provenance", ("uid", "generation"), "file", "author", "file_commit", "signer")
_COMMANDS = _of_table("commands", ("id",), "at", "verb", "uid", "answer", "sender", "number", "hash")


def forget_request(connection: Connection, keys: Keys, uid: str, at: float) -> None:
    """Erase the personal data of a request, and add an event for the erasure. The caller holds the transaction."""
    text, seq = connection.execute("SELECT record, seq FROM requests WHERE uid = ?", (uid,)).fetchone()
    record = without_personal_data(load(text))
    erase_names(connection, uid, record.version, columns(record)["record"])
    changes = {FORGOTTEN: forgotten_digest(keys, uid, seq + 1)}
    append_event(connection, uid, Event(at=at, type="NameErased", changes=changes))


def erase_names(connection: Connection, uid: str, version: int, nameless: str) -> None:
    """Erase the name, labels, origins and command answers of a request. The caller holds the transaction.

    `nameless` is the record without them. The salt of their digests is erased too, so that the history can confirm no
    guess.
    """
    places: list[tuple[BTree, dict[str, Any]]] = []
    for tree in (_RECORDS, *_NAMES, _LABELS, _LABELS_OF_ONE, _PROVENANCE, _COMMANDS):
        rows = list(_rows(connection, tree, "AND uid = :uid", {"uid": uid}))
        together = tree.key[0] == "uid"  # neighbours in the tree: one place is enough
        places += [(tree, row) for row in (rows[:1] if together else rows)]
    connection.execute(
        "UPDATE requests SET name = NULL, salt = NULL, version = ?, record = ? WHERE uid = ?", (version, nameless, uid)
    )
    connection.execute("DELETE FROM provenance WHERE uid = ?", (uid,))
    connection.execute("DELETE FROM labels WHERE uid = ?", (uid,))
    connection.execute("UPDATE commands SET answer = '' WHERE uid = ?", (uid,))  # answers contain the name
    for tree, row in places:
        around = [*_neighbours(connection, tree, row, "<", "DESC"), *_neighbours(connection, tree, row, ">=", "ASC")]
        connection.executemany(tree.delete, around)
        connection.executemany(tree.insert, around)


def _neighbours(
    connection: Connection, tree: BTree, row: dict[str, Any], side: str, direction: str
) -> Sequence[dict[str, Any]]:
    """The entries on one side of a place in the tree that may share two pages with it."""
    key = ", ".join(tree.key)
    values = ", ".join(f":{column}" for column in tree.key)
    order = ", ".join(f"{column} {direction}" for column in tree.key)
    found, size = [], 0
    for other in _rows(connection, tree, f"AND ({key}) {side} ({values}) ORDER BY {order}", row):
        found.append(other)
        size += _CELL + min(sum(len(str(value).encode()) for value in other.values()), tree.within)
        if size > _NEIGHBOUR_BYTES:
            break
    return found


def _rows(connection: Connection, tree: BTree, which: str, values: dict[str, Any]) -> Any:
    sql = f"SELECT {', '.join(tree.columns)} FROM {tree.entries} {which}"  # noqa: S608 - constant
    return (dict(zip(tree.columns, row, strict=True)) for row in connection.execute(sql, values))


def truncate(connection: Connection) -> bool:
    """Checkpoint and truncate the write-ahead log. False: another connection still reads an earlier state."""
    (timeout,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # this thread must not wait: it delays commits
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {timeout}")
    return not busy
