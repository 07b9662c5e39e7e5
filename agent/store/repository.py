"""Records as rows: the SQL that writes a step, and the mapping of a row to a record."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from agent.core.audit import Event
from agent.core.errors import Impossible
from agent.core.personal_data import without_authors
from agent.core.record import Record
from agent.core.step import Step
from agent.store.connection import Connection
from agent.store.digests import request_digests
from agent.store.identity_key import Keys

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)

_INSERT = """
INSERT INTO requests (uid, name, source, version, seq, head, generation, mode, process_type, phase, state, outcome,
    hold_reason, dossier_id, process_id, reference, present, moving, priority, due_at, admitted_at,
    progress_at, delete_at, opened_at, decides_at, read_at, queued, record, salt)
VALUES (:uid, :name, :source, :version, :seq, :head, :generation, :mode, :process_type, :phase, :state, :outcome,
    :hold_reason, :dossier_id, :process_id, :reference, :present, :moving, :priority, :due_at,
    :admitted_at, :progress_at, :delete_at, :opened_at, :decides_at,
    :read_at, :queued, :record, :salt)
"""
_EVENT = "INSERT INTO events (uid, seq, at, type, changes, hash) VALUES (?, ?, ?, ?, ?, ?)"
_INTENDED = "INSERT INTO attempts (uid, number, generation, effect, intended_at) VALUES (?, ?, ?, ?, ?)"
_ANSWERED = """
UPDATE attempts SET answered_at = ?, result = ?, status = ?, trouble = ?, cause = ?, shape = ?, digest = ?, trace_id = ?
WHERE uid = ? AND number = ?
"""
_START = """
INSERT INTO starts (uid, generation, process_id, at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET process_id = excluded.process_id
"""

_RESERVED = "INSERT OR IGNORE INTO reservations (uid, generation, at) VALUES (?, ?, ?)"
_WITHDRAWN = "INSERT OR REPLACE INTO withdrawals (uid, generation, at) VALUES (?, ?, ?)"
_ORPHAN = "INSERT INTO orphans (reference, uid, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_LINK = "INSERT OR REPLACE INTO links (uid, link, created_at) VALUES (?, ?, ?)"
_CLAIMS = """
INSERT OR REPLACE INTO claims (uid, generation, key_id, wrapped, ciphertext, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_SUPERSEDED = """
INSERT OR IGNORE INTO superseded_images (uid, generation, since, depiction, path, sha256) VALUES (?, ?, ?, ?, ?, ?)
"""
_DISCARD = "INSERT OR REPLACE INTO image_deletions (uid, since) VALUES (?, ?)"
_PROVENANCE = "INSERT OR REPLACE INTO provenance (uid, generation, file, author) VALUES (?, ?, ?, ?)"
_LABEL = "INSERT INTO labels (key, value, uid) VALUES (?, ?, ?)"
_DELIVERY = """
INSERT INTO deliveries (sink, event, uid, type, generation, at, outcome, reason, hold_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_COUNTER = """
INSERT INTO counters (counter, mode, process_type, outcome, value) VALUES (?, ?, ?, ?, 1)
ON CONFLICT DO UPDATE SET value = value + 1
"""


def load(text: str) -> Record:
    """Read a record from its JSON."""
    return _RECORD.validate_json(text)


def event_hash(previous: str, uid: str, seq: int, at: float, kind: str, changes: str) -> str:
    """The hash of an event: SHA-256 over the previous hash and the fields of the event, hex."""
    return hashlib.sha256(orjson.dumps([previous, uid, seq, at, kind, changes])).hexdigest()


def write(connection: Connection, step: Step, keys: Keys, sinks: Sequence[str] = ()) -> None:
    """Write one step, with its notifications for the `sinks`. The caller holds the transaction.

    Raises Impossible if the stored record has another version.
    """
    before, record = step.before, step.record
    seq, head, salt = _head(connection, step)
    salted, digests = request_digests(step, salt, keys)
    events = [
        _chained(event, record.uid, seq + n) for n, event in enumerate(_with_digests(step.events, digests), start=1)
    ]
    for row in events:
        head = event_hash(head, row[0], row[1], row[2], row[3], row[4])
        row.append(head)
        seq = row[1]
    kept = {"seq": seq, "head": head}
    if step.progressed:
        kept["progress_at"] = step.at
    if before is None or salted != salt:
        kept["salt"] = salted
    _write_record(connection, step, kept)
    if events:
        connection.executemany(_EVENT, events)
    _write_attempts(connection, step)
    _write_starts(connection, step)
    if authors := step.authors:
        connection.executemany(_PROVENANCE, [(record.uid, *author) for author in authors])
    if step.withdraws:
        connection.execute(_WITHDRAWN, (record.uid, record.generation, step.at))
    _write_labels(connection, step)
    _write_deliveries(connection, step, sinks, head)
    _write_secrets(connection, step)
    _write_image_deletions(connection, step)
    if step.orphan is not None:
        connection.execute(_ORPHAN, (step.orphan, record.uid, step.at))


def append_event(connection: Connection, uid: str, event: Event) -> None:
    """Add an event to the history of a request without a change of its record. The caller holds the transaction."""
    seq, head = connection.execute("SELECT seq, head FROM requests WHERE uid = ?", (uid,)).fetchone()
    row = _chained(event, uid, seq + 1)
    row.append(event_hash(head, uid, seq + 1, event.at, event.type, row[-1]))
    connection.execute(_EVENT, row)
    connection.execute("UPDATE requests SET seq = ?, head = ? WHERE uid = ?", (seq + 1, row[-1], uid))


def _write_record(connection: Connection, step: Step, kept: dict[str, Any]) -> None:
    """Set only the changed columns: SQLite rewrites every index of a column that is set, even to the same value."""
    record = step.record
    if step.before is None:
        connection.execute(_INSERT, {**columns(record), **kept})
        return
    known = _mirrored_columns(step.before)
    changed = {name: value for name, value in _mirrored_columns(record).items() if value != known[name]}
    values = {**changed, **kept, "record": _record_json(record)}
    connection.execute(_update_of(tuple(values)), (*values.values(), record.uid))


@cache
def _update_of(names: tuple[str, ...]) -> str:
    return f"UPDATE requests SET {', '.join(f'{name} = ?' for name in names)} WHERE uid = ?"  # noqa: S608 - constant


def _head(connection: Connection, step: Step) -> tuple[int, str, str | None]:
    if step.before is None:
        return 0, "", None
    sql = "SELECT version, seq, head, salt FROM requests WHERE uid = ?"
    row = connection.execute(sql, (step.record.uid,)).fetchone()
    if row is None or row[0] != step.before.version:
        raise Impossible(f"the record {step.record.uid} has another version in the store")
    return row[1], row[2], row[3]


def _with_digests(events: Sequence[Event], digests: dict[str, Any]) -> Sequence[Event]:
    """Add the digests to the last event of the step."""
    if not digests:
        return events
    if not events:
        raise Impossible("a step that changes a name, labels or an author has no event")
    return (*events[:-1], replace(events[-1], changes={**events[-1].changes, **digests}))


def _chained(event: Event, uid: str, seq: int) -> list[Any]:
    changes = orjson.dumps(event.changes, option=orjson.OPT_SORT_KEYS).decode()
    return [uid, seq, event.at, event.type, changes]


def columns(record: Record) -> dict[str, Any]:
    """The record as JSON, and the columns that copy its fields."""
    return {**_mirrored_columns(record), "record": _record_json(record)}


def _record_json(record: Record) -> str:
    return orjson.dumps(without_authors(record)).decode()


def _mirrored_columns(record: Record) -> dict[str, Any]:
    return {
        "uid": record.uid,
        "name": record.name,
        "source": record.source,
        "version": record.version,
        "generation": record.generation,
        "mode": record.desired.mode,
        "process_type": record.desired.process_type,
        "phase": record.phase,
        "state": record.state,
        "outcome": record.outcome,
        "hold_reason": record.hold.reason if record.hold else None,
        "dossier_id": record.dossier_id,
        "process_id": record.process_id,
        "reference": record.reference,
        "present": record.present,
        "moving": record.progressing,
        "priority": record.priority,
        "due_at": record.due_at,
        "admitted_at": record.admitted_at,
        "delete_at": record.delete_at,
        "opened_at": record.opened_at,
        "decides_at": record.decides_at,
        "read_at": record.read_at,
        "queued": record.queued,
    }


def _write_attempts(connection: Connection, step: Step) -> None:
    record = step.record
    if step.answered is not None:
        evidence = step.answered.evidence
        connection.execute(
            _ANSWERED,
            (
                step.at,
                step.answered.result,
                evidence.status,
                evidence.trouble,
                evidence.cause,
                evidence.shape,
                evidence.digest,
                evidence.trace_id,
                record.uid,
                step.answered.number,
            ),
        )
    if (intent := step.intended) is not None:
        connection.execute(_INTENDED, (record.uid, intent.number, record.generation, intent.kind, intent.at))


def _write_starts(connection: Connection, step: Step) -> None:
    record = step.record
    if (start := step.start) is not None:
        connection.execute(_START, (record.uid, record.generation, start.process_id, start.at))
    for count in step.counts:
        connection.execute(_COUNTER, (count.counter, count.mode, count.process_type, count.outcome))
    if step.reserved_at is not None:
        connection.execute(_RESERVED, (record.uid, record.generation, step.reserved_at))


def _write_secrets(connection: Connection, step: Step) -> None:
    record = step.record
    if step.link is not None:
        connection.execute(_LINK, (record.uid, step.link, step.at))
    elif step.link_expires:
        connection.execute("DELETE FROM links WHERE uid = ?", (record.uid,))
    if (claims := step.encrypted_claims) is not None:
        values = (claims.key_id, claims.wrapped_key, claims.ciphertext, claims.expires_at)
        connection.execute(_CLAIMS, (record.uid, record.generation, *values))


def _write_labels(connection: Connection, step: Step) -> None:
    if not step.labels_changed:
        return
    if step.before is not None:
        connection.execute("DELETE FROM labels WHERE uid = ?", (step.record.uid,))
    labels = step.record.desired.labels
    connection.executemany(_LABEL, [(key, value, step.record.uid) for key, value in labels])


def _write_deliveries(connection: Connection, step: Step, sinks: Sequence[str], head: str) -> None:
    """Add to the outbox. The id of a notification is derived from the history: unique, and the same for all sinks."""
    if not sinks:
        return
    uid = step.record.uid
    for notice in step.notifications:
        event = hashlib.sha256(f"{head}/{notice.type}".encode()).hexdigest()[:32]
        values = (notice.generation, notice.at, notice.outcome, notice.reason, notice.hold_id)
        connection.executemany(_DELIVERY, [(sink, event, uid, notice.type, *values) for sink in sinks])


def _write_image_deletions(connection: Connection, step: Step) -> None:
    before, record = step.before, step.record
    deletable = step.images_deletable
    if deletable:
        connection.execute(_DISCARD, (record.uid, record.outcome_at))
    elif deletable is False:
        connection.execute("DELETE FROM image_deletions WHERE uid = ?", (record.uid,))
    if before is not None and (images := step.superseded_images):
        values = (record.uid, before.generation, record.admitted_at)
        rows = [(*values, image.depiction, image.path, image.sha256) for image in images]
        connection.executemany(_SUPERSEDED, rows)
