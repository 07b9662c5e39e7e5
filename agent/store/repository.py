"""Records as rows: the columns that copy fields of a record, the hash of an event, and a record from its JSON."""

import hashlib
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from agent.core.audit import Event
from agent.core.fast_replace import replace
from agent.core.personal_data import without_origins
from agent.core.record import Desired, Record

# The columns of `requests` that copy a field of the record, in the order of `mirrored`.
MIRRORED = (
    "uid", "name", "source", "version", "generation", "mode", "process_type", "phase", "state", "outcome",
    "hold_reason", "dossier_id", "process_id", "reference", "present", "moving", "priority", "due_at", "admitted_at",
    "delete_at", "opened_at", "decides_at", "read_at", "queued",
)  # fmt: skip


def load(text: str) -> Record:
    """Read a record from its JSON."""
    return _record_type().validate_json(text)


@cache  # built by the first read of a record: 3 % of the instructions of `get` with an empty store
def _record_type() -> TypeAdapter[Record]:
    return TypeAdapter(Record)


def event_hash(previous: str, uid: str, seq: int, at: float, kind: str, changes: str) -> str:
    """The hash of an event: SHA-256 over the previous hash and the fields of the event, hex."""
    return hashlib.sha256(orjson.dumps([previous, uid, seq, at, kind, changes])).hexdigest()


def chained(event: Event, previous: str, uid: str, seq: int) -> tuple[Any, ...]:
    """The row of an event: uid, seq, at, type, changes, hash. The hash covers the hash of the previous event."""
    changes = orjson.dumps(event.changes, option=orjson.OPT_SORT_KEYS).decode()
    return uid, seq, event.at, event.type, changes, event_hash(previous, uid, seq, event.at, event.type, changes)


def columns(record: Record) -> dict[str, Any]:
    """The record as JSON, and the columns that copy its fields."""
    return {**dict(zip(MIRRORED, mirrored(record), strict=True)), "record": record_json(record)}


def record_json(record: Record, document: bytes | None = None) -> str:
    """The record as it is stored: without the origins of its documents, which have a table of their own.

    `document` is the JSON of its document, if the caller has it: that halves the instructions.
    """
    if document is None:
        return orjson.dumps(without_origins(record)).decode()
    following = None if record.next is None else orjson.Fragment(document_json(record.next))
    return orjson.dumps({**vars(record), "desired": orjson.Fragment(document), "next": following}).decode()


def document_json(desired: Desired) -> bytes:
    """A document as it is stored in its record: without its origin."""
    return orjson.dumps(desired if desired.origin is None else replace(desired, origin=None))


def mirrored(record: Record, reference: str | None = None) -> tuple[Any, ...]:
    """The values of `MIRRORED`, as plain text and numbers. `reference` is the external reference, if it is known.

    sqlite3 would search for an adapter of each enum and each bool: 8 % of the instructions of a step.
    """
    outcome, hold, desired = record.outcome, record.hold, record.desired
    return (
        record.uid,
        record.name,
        record.source,
        record.version,
        record.generation,
        desired.mode,
        str(desired.process_type),
        str(record.phase),
        record.state,
        None if outcome is None else str(outcome),
        None if hold is None else str(hold.reason),
        record.dossier_id,
        record.process_id,
        reference or record.reference,
        int(record.present),
        int(record.progressing),
        record.priority,
        record.due_at,
        record.admitted_at,
        record.delete_at,
        record.opened_at,
        record.decides_at,
        record.read_at,
        int(record.queued),
    )
