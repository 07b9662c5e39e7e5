"""What was erased leaves the files as well, not only the tables [I6].

`secure_delete` overwrites every cell and page that is freed. Two things are left, and go here:

- Earlier pages stand in the write-ahead log until that is truncated, in no transaction, by the one writer.
- When SQLite balances full pages, a copy of a cell may stay in the unused room of a page beside it, where nothing frees
  it (measured: of 12,000 names that came in any order 8 to 18, of large records one in fifty). So the entries around
  an erased one are taken out of the tree and put back, in the transaction that erases. The pages that are emptied
  meanwhile are freed, and thereby overwritten.

The cost of both follows what is erased, not what is stored. Rewriting the whole file (VACUUM) would hold up every
commit, ten seconds for a gigabyte, and take as much memory as the file is large where temporary files are kept there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.core.audit import Event
from agent.core.personal_data import without_personal_data
from agent.store.connection import Connection
from agent.store.digests import FORGOTTEN, forgotten_digest
from agent.store.identity_key import Keys
from agent.store.repository import append_event, columns, load

_NEIGHBOUR_BYTES = 4 * 4096  # bytes of entries on each side: more than its page and the next one can hold
_CELL = 8  # bytes of an entry beside its values


@dataclass(frozen=True, slots=True, kw_only=True)
class BTree:
    """A B-tree in which names stand: what it is ordered by, and how an entry is taken out of it and put back."""

    entries: str  # the table, and which of its rows are in the tree
    key: tuple[str, ...]
    columns: tuple[str, ...]
    take_out: str
    put_back: str
    within: int = 103  # bytes of a large entry that stay in its page at least (sqlite.org/fileformat2.html, 1.6)


def _of_table(table: str, key: tuple[str, ...], *others: str) -> BTree:
    columns = (*key, *others)
    same = " AND ".join(f"{column} = :{column}" for column in key)
    values = ", ".join(f":{column}" for column in columns)
    return BTree(
        entries=f"{table} WHERE 1",
        key=key,
        columns=columns,
        take_out=f"DELETE FROM {table} WHERE {same}",  # noqa: S608 - names of ours
        put_back=f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})",  # noqa: S608 - names of ours
    )


def _of_names(*key: str) -> BTree:
    return BTree(
        entries="requests WHERE name IS NOT NULL",
        key=key,
        columns=("uid", "source", "name"),
        take_out="UPDATE requests SET name = NULL WHERE uid = :uid",
        put_back="UPDATE requests SET name = :name WHERE uid = :uid",
    )


_RECORDS = BTree(
    entries="requests WHERE 1",
    key=("rowid",),
    columns=("rowid", "record"),
    take_out="UPDATE requests SET rowid = -:rowid WHERE rowid = :rowid",
    put_back="UPDATE requests SET rowid = :rowid WHERE rowid = -:rowid",
    within=489,
)
_NAMES = (_of_names("source", "name"), _of_names("name", "uid"))  # two indexes of `requests`
_LABELS = _of_table("labels", ("key", "value", "uid"))
_LABELS_OF_ONE = _of_table("labels", ("uid", "key", "value"))  # the index `labels_by_uid`
_PROVENANCE = _of_table("provenance", ("uid", "generation"), "file", "author")
_COMMANDS = _of_table("commands", ("id",), "at", "verb", "uid", "answer", "sender", "number", "hash")


def forget_request(connection: Connection, keys: Keys, uid: str, at: float) -> None:
    """Erase what identifies a request, in a transaction; its history says that it was erased."""
    text, seq = connection.execute("SELECT record, seq FROM requests WHERE uid = ?", (uid,)).fetchone()
    record = without_personal_data(load(text))
    erase_names(connection, uid, record.version, columns(record)["record"])
    changes = {FORGOTTEN: forgotten_digest(keys, uid, seq + 1)}
    append_event(connection, uid, Event(at=at, type="NameErased", changes=changes))


def erase_names(connection: Connection, uid: str, version: int, nameless: str) -> None:
    """Erase name, labels, author and answers of a request, in a transaction; `nameless` is its record without them.

    The salt of their digests goes as well, so that no guess can be held against the history.
    """
    places: list[tuple[BTree, dict[str, Any]]] = []
    for tree in (_RECORDS, *_NAMES, _LABELS, _LABELS_OF_ONE, _PROVENANCE, _COMMANDS):
        rows = list(_rows(connection, tree, "AND uid = :uid", {"uid": uid}))
        together = tree.key[0] == "uid"  # side by side in the tree: one place
        places += [(tree, row) for row in (rows[:1] if together else rows)]
    connection.execute(
        "UPDATE requests SET name = NULL, salt = NULL, version = ?, record = ? WHERE uid = ?", (version, nameless, uid)
    )
    connection.execute("DELETE FROM provenance WHERE uid = ?", (uid,))
    connection.execute("DELETE FROM labels WHERE uid = ?", (uid,))
    connection.execute("UPDATE commands SET answer = '' WHERE uid = ?", (uid,))  # answers say the name
    for tree, row in places:
        around = [*_neighbours(connection, tree, row, "<", "DESC"), *_neighbours(connection, tree, row, ">=", "ASC")]
        connection.executemany(tree.take_out, around)
        connection.executemany(tree.put_back, around)


def _neighbours(
    connection: Connection, tree: BTree, row: dict[str, Any], side: str, direction: str
) -> Sequence[dict[str, Any]]:
    """The entries on one side of a place in the tree, as many as may share two pages with it."""
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
    sql = f"SELECT {', '.join(tree.columns)} FROM {tree.entries} {which}"  # noqa: S608 - names of ours
    return (dict(zip(tree.columns, row, strict=True)) for row in connection.execute(sql, values))


def truncate(connection: Connection) -> bool:
    """Fold the write-ahead log into the file and cut it off. False: somebody reads an earlier state just now."""
    (patience,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")  # commits wait for this thread
    try:
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience}")
    return not busy
