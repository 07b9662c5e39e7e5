"""The row of a request: what the writer remembers of it, and the statements that write it.

sqlite3 searches an adapter for each None that it binds, which takes 11,000 instructions. So a null is a part of the
statement.
"""

from dataclasses import dataclass
from functools import cache
from itertools import compress
from operator import itemgetter, ne
from typing import Any, Self

from agent.core.errors import Impossible
from agent.core.record import Record
from agent.core.step import Step
from agent.store.repository import MIRRORED, document_json, mirrored, record_json

Cursor = Any  # sqlite3.Cursor of the chosen module

_COLUMNS = (*MIRRORED, "seq", "head", "salt", "progress_at", "record")
_VERSION, _REFERENCE = MIRRORED.index("version"), MIRRORED.index("reference")
_KIND = itemgetter(*map(MIRRORED.index, ("phase", "state", "hold_reason", "dossier_id")))


@dataclass(slots=True)
class RequestRow:
    """The row of a request, as the last step wrote it."""

    seq: int
    head: str
    salt: str | None
    mirrored: tuple[Any, ...]  # the values of MIRRORED
    document: bytes | None = None  # the JSON of `desired`, half of the record. None: not known

    @classmethod
    def after(cls, step: Step, known: Self | None, seq: int, head: str, salt: str | None) -> Self:
        """The row after this step. Its reference and its document are seldom new, so the known ones are taken over."""
        before, record = step.before, step.record
        reference = document = None
        if before is not None and known is not None:
            if (before.generation, before.attempt) == (record.generation, record.attempt):
                reference = known.mirrored[_REFERENCE]
            if before.desired is record.desired:
                document = known.document
        return cls(seq, head, salt, mirrored(record, reference), document or document_json(record.desired))

    @property
    def version(self) -> int:
        """The version of the record."""
        return int(self.mirrored[_VERSION])

    @property
    def kind(self) -> tuple[str, str, str, int]:
        """The key of `request_counts`: phase, state, reason of the hold, and 1 with a dossier."""
        phase, state, reason, dossier = _KIND(self.mirrored)
        return phase, state, reason or "", int(dossier is not None)


def stored_row(cursor: Cursor, before: Record) -> RequestRow:
    """The stored row of this record. Raises Impossible if it has another version."""
    sql = "SELECT version, seq, head, salt FROM requests WHERE uid = ?"
    row = cursor.execute(sql, (before.uid,)).fetchone()
    if row is None or row[0] != before.version:
        raise another_version(before.uid)
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
        raise another_version(step.record.uid)


@cache
def _update_of(changed: tuple[bool, ...], progressed: bool, salted: bool, given: tuple[bool, ...]) -> str:
    """`given`: for each column that is set, False for null."""
    names = [*compress(MIRRORED, changed), "seq", "head", "record"]
    names += ["progress_at"] * progressed + ["salt"] * salted
    columns = ", ".join(f"{name} = {'?' if one else 'NULL'}" for name, one in zip(names, given, strict=True))
    return f"UPDATE requests SET {columns} WHERE uid = ? AND version = ? AND seq = ?"  # noqa: S608 - constant


def another_version(uid: str) -> Impossible:
    """The error for a step whose `before` is not the stored record."""
    return Impossible(f"the record {uid} has another version in the store")
