"""The SQL that reads and writes the row of a request.

sqlite3 searches an adapter for each None that it binds, which takes 11,000 instructions. So a null is a part of the
statement.
"""

from functools import cache
from itertools import compress
from operator import ne
from typing import Any

from agent.core.errors import Moved
from agent.core.record import Record
from agent.core.step import Step
from agent.store.repository import MIRRORED, mirrored, record_json
from agent.store.request_row import RequestRow

Cursor = Any  # sqlite3.Cursor of the chosen module

_COLUMNS = (*MIRRORED, "seq", "head", "salt", "progress_at", "record")


def stored_row(cursor: Cursor, before: Record) -> RequestRow:
    """The stored row of this record. Raises Moved if it has another version."""
    sql = "SELECT version, seq, head, salt FROM requests WHERE uid = ?"
    row = cursor.execute(sql, (before.uid,)).fetchone()
    if row is None or row[0] != before.version:
        raise Moved(before.uid)
    return RequestRow(row[1], row[2], row[3], mirrored(before))


def insert(cursor: Cursor, step: Step, row: RequestRow) -> None:
    """Write the row of a new request."""
    values = (*row.mirrored, row.seq, row.head, row.salt, step.at, record_json(step.record, row.document))
    given = tuple(value is not None for value in values)
    cursor.execute(_insert_of(given), [*compress(values, given)])


@cache
def _insert_of(given: tuple[bool, ...]) -> str:
    names = [*compress(_COLUMNS, given)]
    return f"INSERT INTO requests ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - constant


def update(cursor: Cursor, step: Step, known: RequestRow, row: RequestRow) -> None:
    """Set only the changed columns: SQLite rewrites every index of a column that is set, even to the same value."""
    changed = tuple(map(ne, row.mirrored, known.mirrored))
    values = [*compress(row.mirrored, changed), row.seq, row.head, record_json(step.record, row.document)]
    if step.progressed:
        values.append(step.at)
    if row.salt != known.salt:
        values.append(row.salt)
    given = tuple(value is not None for value in values)
    sql = _update_of(changed, step.progressed, row.salt != known.salt, given)
    where = (step.record.uid, known.version, known.seq)
    if cursor.execute(sql, (*compress(values, given), *where)).rowcount != 1:
        raise Moved(step.record.uid)


@cache
def _update_of(changed: tuple[bool, ...], progressed: bool, salted: bool, given: tuple[bool, ...]) -> str:
    """`given`: for each column that is set, False for null."""
    names = [*compress(MIRRORED, changed), "seq", "head", "record"]
    names += ["progress_at"] * progressed + ["salt"] * salted
    columns = ", ".join(f"{name} = {'?' if one else 'NULL'}" for name, one in zip(names, given, strict=True))
    return f"UPDATE requests SET {columns} WHERE uid = ? AND version = ? AND seq = ?"  # noqa: S608 - constant
