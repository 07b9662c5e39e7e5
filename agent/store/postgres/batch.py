"""The steps of one group commit, as the arguments of the function `commit_batch`. Pure: nothing is sent here."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from agent.core.audit import Event
from agent.core.personal_data import without_personal_data
from agent.core.step import Step
from agent.ports import Command, Receipt
from agent.store.changes import Changes, Write
from agent.store.digests import FORGOTTEN, forgotten_digest
from agent.store.identity_key import Keys
from agent.store.operator_commands import command_hash, note_seal
from agent.store.repository import MIRRORED, chained, load, mirrored, record_json
from agent.store.request_row import RequestRow

from .sealed_links import LinkSeal
from .versions import versioned

_ARRAYS = {Write.EVENT: 6, Write.INTENDED: 5}  # the kinds of rows that are sent as arrays, and their columns
_ANSWER = 11
_IN_JSON = [kind for kind in Write if kind not in (*_ARRAYS, Write.ANSWERED, Write.TROUBLED)]
_PLACES = ", ".join(f"${number}" for number in range(1, 28))
COMMIT = versioned(f"SELECT * FROM commit_batch({_PLACES})")  # noqa: S608 - constant


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The row of a request in the database."""

    version: int
    seq: int
    head: str
    salt: str | None
    record: str


class Batch:
    """Steps of different requests, receipts, and at most one command."""

    def __init__(self, keys: Keys, sinks: Sequence[str]) -> None:
        self._keys = keys
        self._links = LinkSeal(keys)
        self._changes = Changes(keys, sinks)
        self._inserted: list[dict[str, Any]] = []
        self._updated: dict[str, dict[str, Any]] = {}  # by uid
        self._receipts: list[Receipt] = []
        self._erased: list[tuple[str]] = []
        self._command: tuple[Any, ...] | None = None
        self._note = ""

    def __contains__(self, uid: str) -> bool:
        return uid in self._changes.requests

    def add(self, step: Step, known: RequestRow | None) -> RequestRow:
        """Add a step. `known` is the row before it; None for a new request. Returns the row after it."""
        uid = step.record.uid
        row = self._changes.add(step, known)
        text = record_json(step.record, row.document)
        progress_at = step.at if known is None or step.progressed else None
        columns = _columns(row.mirrored, row, text, progress_at)
        if known is None:
            self._inserted.append(columns)
        else:
            self._updated[uid] = columns | {"before": known.version, "before_seq": known.seq}
        return row

    def add_receipt(self, receipt: Receipt) -> None:
        """Add the receipt of an Assure Event."""
        self._receipts.append(receipt)

    def add_command(
        self, command: Command, answer: str, at: float, last: tuple[int, str], stored: StoredRow | None
    ) -> None:
        """Add an executed command, with an event in the history of its request.

        `last` is the number and the hash of the command before. `stored` is the row of its request, if there is one.
        """
        number, previous = last
        values = (number + 1, command.id, at, command.verb, command.uid, command.sender)
        head = command_hash(self._keys, previous, values)
        self._command = (*values, answer, head)
        self._note = f"{number + 1} {note_seal(self._keys, number + 1, head)}"
        if command.uid is not None:
            self._append(command.uid, Event(at=at, type="CommandApplied", changes={"command": head}), stored)

    def add_erasure(self, uid: str, at: float, stored: StoredRow) -> None:
        """Erase the personal data of a request, and add an event for it. `stored` is its row."""
        record = without_personal_data(load(stored.record))
        columns = _columns(mirrored(record), stored, record_json(record), None) | {"name": None, "salt": None}
        self._updated[uid] = columns | {"before": stored.version, "before_seq": stored.seq}
        self._erased.append((uid,))
        changes = {FORGOTTEN: forgotten_digest(self._keys, uid, stored.seq + 1)}
        self._append(uid, Event(at=at, type="NameErased", changes=changes), None)

    def _append(self, uid: str, event: Event, stored: StoredRow | None) -> None:
        """Add an event that changes no record, after the step of the same request."""
        columns = self._updated.get(uid) or next((one for one in self._inserted if one["uid"] == uid), None)
        if columns is None:
            if stored is None:
                return
            columns = _columns(mirrored(load(stored.record)), stored, stored.record, None)
            self._updated[uid] = columns | {"before": stored.version, "before_seq": stored.seq}
            columns = self._updated[uid]
        row = chained(event, columns["head"], uid, columns["seq"] + 1)
        columns["seq"] += 1
        columns["head"] = row[-1]
        self._changes.rows[Write.EVENT].append(row)

    def arguments(self) -> list[Any]:
        """The arguments of `commit_batch` after the epoch."""
        rows = self._changes.rows
        arguments: list[Any] = [_json(self._inserted), _json([*self._updated.values()])]
        for kind, width in _ARRAYS.items():
            arguments += _transposed(rows[kind], width)
        arguments += _transposed([*map(_as_troubled, rows[Write.ANSWERED]), *rows[Write.TROUBLED]], _ANSWER)
        others = {str(kind): rows[kind] for kind in _IN_JSON if rows[kind]}
        if rows[Write.LINK]:
            others[Write.LINK] = [(uid, self._links.seal(uid, link), at) for uid, link, at in rows[Write.LINK]]
        if self._erased:
            others["erased"] = self._erased
        return [*arguments, _json(others), _json(self._shared())]

    def _shared(self) -> dict[str, Any]:
        changes = self._changes
        shared: dict[str, Any] = {}
        for name, counts in (("counters", changes.counters), ("request_counts", changes.request_counts)):
            if counted := sorted((*key, change) for key, change in counts.items() if change):
                shared[name] = counted
        if self._receipts:
            shared["receipts"] = [(receipt.digest, receipt.at) for receipt in self._receipts]
            shared["forget_before"] = max(receipt.forget_before for receipt in self._receipts)
        if self._command is not None:
            shared |= {"command": self._command, "commands_note": self._note}
        return shared

    def writes(self) -> dict[str, StoredRow]:
        """The rows of `requests` as they are in the database after this commit, by uid."""
        return {
            one["uid"]: StoredRow(one["version"], one["seq"], one["head"], one["salt"], one["record"])
            for one in (*self._inserted, *self._updated.values())
        }

    @property
    def last_hash(self) -> str:
        """The hash of the last event; empty without events."""
        events = self._changes.rows[Write.EVENT]
        return str(events[-1][-1]) if events else ""

    @property
    def command(self) -> tuple[str, str] | None:
        """The id and the hash of the command."""
        return None if self._command is None else (self._command[1], self._command[-1])


def _columns(
    values: tuple[Any, ...], row: RequestRow | StoredRow, record: str, progress_at: float | None
) -> dict[str, Any]:
    columns = dict(zip(MIRRORED, values, strict=True))
    columns["name"] = columns["name"] or None  # null: erased
    return columns | {"seq": row.seq, "head": row.head, "salt": row.salt, "record": record, "progress_at": progress_at}


def _as_troubled(answer: tuple[Any, ...]) -> tuple[Any, ...]:
    """An answer as documented, in the columns of any other answer."""
    at, result, status, cause, trace_id, uid, number = answer
    return at, result, status, None, cause, "", "", trace_id, None, uid, number


def _transposed(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any] | None]:
    """A list for each column; None for no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [None] * width


def _json(values: Any) -> str | None:
    return orjson.dumps(values, default=_base64).decode() if values else None


def _base64(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} has no JSON")
