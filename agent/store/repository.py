"""Records as rows: how a step is written, and how a row is read back. The SQL of the hot path stands here."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter

from agent.core.audit import Event
from agent.core.effect import EffectKind
from agent.core.errors import Impossible
from agent.core.machine import Step
from agent.core.notifications import notices
from agent.core.record import Desired, Outcome, Phase, Record, hashed_rerun_token
from agent.store.connection import Connection
from agent.store.digests import authors, request_digests
from agent.store.identity_key import Keys

_RECORD: TypeAdapter[Record] = TypeAdapter(Record)

VALUE_PREFIX = "remembered/"  # keys of `meta` that hold what is kept of an account

PRESENT = """
SELECT name, uid FROM requests INDEXED BY requests_present WHERE source = ? AND present AND name IS NOT NULL
"""
OWNERS = """
SELECT dossier_id, uid FROM requests INDEXED BY requests_with_dossier
WHERE dossier_id IS NOT NULL AND phase <> 'done' AND dossier_id IN (SELECT value FROM json_each(?))
"""
# Another source whose files are there, when none of this one are. Two seeks, whatever there is.
OTHER_SOURCE = """
SELECT max(source) FROM (
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source < :source AND present AND name IS NOT NULL LIMIT 1)
    UNION ALL
    SELECT * FROM (SELECT source FROM requests INDEXED BY requests_present
        WHERE source > :source AND present AND name IS NOT NULL LIMIT 1)
) WHERE NOT EXISTS (
    SELECT 1 FROM requests INDEXED BY requests_present WHERE source = :source AND present AND name IS NOT NULL
)
"""
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
STARTS_SINCE = """
SELECT (SELECT count(*) FROM reservations WHERE at >= ?1)
    + (SELECT count(*) FROM starts WHERE at >= ?1 AND NOT EXISTS
        (SELECT 1 FROM reservations WHERE uid = starts.uid AND generation = starts.generation))
    + (SELECT count(*) FROM requests INDEXED BY requests_open
        WHERE phase <> 'done' AND phase IN ('process', 'images', 'verification')
        AND NOT EXISTS (SELECT 1 FROM reservations WHERE uid = requests.uid AND generation = requests.generation)
        AND NOT EXISTS (SELECT 1 FROM starts WHERE uid = requests.uid AND generation = requests.generation))
"""
"""Starts since `?1`: reserved, or made without a brake, and those that are about to be made without one."""

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
    """A record from its JSON."""
    return _RECORD.validate_json(text)


def without_personal_data(record: Record) -> Record:
    """The record without what identifies a person or a file: names, labels, paths."""

    def bare(desired: Desired) -> Desired:
        images = tuple(replace(image, path="") for image in desired.images)
        capture = replace(desired.capture, redirect_url="") if desired.capture is not None else None
        return replace(desired, labels=(), file="", line=0, images=images, capture=capture, rerun=None)

    reruns = tuple(hashed_rerun_token(record.uid, token) for token in record.reruns)
    return replace(record, name="", desired=bare(record.desired), reruns=reruns, version=record.version + 1)


def event_hash(previous: str, uid: str, seq: int, at: float, kind: str, changes: str) -> str:
    """The hash of an event: SHA-256 over the previous hash and what the event says, hex."""
    return hashlib.sha256(orjson.dumps([previous, uid, seq, at, kind, changes])).hexdigest()


def write(connection: Connection, step: Step, keys: Keys, sinks: Sequence[str] = ()) -> None:
    """Write one step; the caller holds the transaction. Raises Impossible when the record moved on meanwhile.

    Each of the `sinks` is owed what the step is worth telling.
    """
    before, record = step.before, step.record
    seq, head, salt = _head(connection, step)
    salted, digests = request_digests(connection, step, salt, keys)
    events = [
        _chained(event, record.uid, seq + n) for n, event in enumerate(_with_digests(step.events, digests), start=1)
    ]
    for row in events:
        head = event_hash(head, row[0], row[1], row[2], row[3], row[4])
        row.append(head)
        seq = row[1]
    kept = {"seq": seq, "head": head}
    if before is None or (step.events and _progressed(step)):
        kept["progress_at"] = step.events[-1].at
    if before is None or salted != salt:
        kept["salt"] = salted
    _write_record(connection, step, kept)
    if events:
        connection.executemany(_EVENT, events)
    _write_attempts(connection, step)
    _write_counters(connection, step)
    _write_reservation(connection, step)
    _write_provenance(connection, step)
    if step.withdraws:
        connection.execute(_WITHDRAWN, (record.uid, record.generation, step.events[-1].at))
    _write_labels(connection, step)
    _write_deliveries(connection, step, sinks, head)
    if step.link is not None:
        connection.execute(_LINK, (record.uid, step.link, step.events[-1].at))
    elif before is not None and before.phase is Phase.RESULT and record.phase is not Phase.RESULT:
        connection.execute("DELETE FROM links WHERE uid = ?", (record.uid,))
    if (sealed := step.encrypted_claims) is not None:
        values = (sealed.key_id, sealed.wrapped_key, sealed.ciphertext, sealed.expires_at)
        connection.execute(_CLAIMS, (record.uid, record.generation, *values))
    _write_image_deletion(connection, step)
    if step.orphan is not None:
        connection.execute(_ORPHAN, (step.orphan, record.uid, step.events[-1].at))


def append_event(connection: Connection, uid: str, event: Event) -> None:
    """Add one event to the history of a request whose record stays; the caller holds the transaction."""
    seq, head = connection.execute("SELECT seq, head FROM requests WHERE uid = ?", (uid,)).fetchone()
    row = _chained(event, uid, seq + 1)
    row.append(event_hash(head, uid, seq + 1, event.at, event.type, row[-1]))
    connection.execute(_EVENT, row)
    connection.execute("UPDATE requests SET seq = ?, head = ? WHERE uid = ?", (seq + 1, row[-1], uid))


def _progressed(step: Step) -> bool:
    """A new phase or generation, or a success; what fails again and again makes no progress."""
    before, record = step.before, step.record
    if before is None or before.phase is not record.phase or before.generation != record.generation:
        return True
    return step.answered is not None and step.answered.result == "done"


def _write_record(connection: Connection, step: Step, kept: dict[str, Any]) -> None:
    if step.before is None:
        connection.execute(_INSERT, {**columns(step.record), **kept})
    else:
        _update(connection, step.before, step.record, kept)


def _update(connection: Connection, before: Record, record: Record, kept: dict[str, Any]) -> None:
    """Set what changed and nothing else: SQLite writes every index anew of which a column is set, changed or not."""
    known = _mirrored_columns(before)
    changed = {name: value for name, value in _mirrored_columns(record).items() if value != known[name]}
    values = {**changed, **kept, "record": _record_json(record)}
    connection.execute(_update_of(tuple(values)), (*values.values(), record.uid))


@cache
def _update_of(names: tuple[str, ...]) -> str:
    return f"UPDATE requests SET {', '.join(f'{name} = ?' for name in names)} WHERE uid = ?"  # noqa: S608 - ours


def _head(connection: Connection, step: Step) -> tuple[int, str, str | None]:
    if step.before is None:
        return 0, "", None
    sql = "SELECT version, seq, head, salt FROM requests WHERE uid = ?"
    row = connection.execute(sql, (step.record.uid,)).fetchone()
    if row is None or row[0] != step.before.version:
        raise Impossible(f"the record {step.record.uid} moved on meanwhile")
    return row[1], row[2], row[3]


def _with_digests(events: Sequence[Event], digests: dict[str, Any]) -> Sequence[Event]:
    """The digests stand in the last event of the step."""
    if not digests:
        return events
    assert events, "a step that changes a name, labels or an author has an event"
    return (*events[:-1], replace(events[-1], changes={**events[-1].changes, **digests}))


def _chained(event: Event, uid: str, seq: int) -> list[Any]:
    changes = orjson.dumps(event.changes, option=orjson.OPT_SORT_KEYS).decode()
    return [uid, seq, event.at, event.type, changes]


def columns(record: Record) -> dict[str, Any]:
    """The record, and the columns that repeat what it says."""
    return {**_mirrored_columns(record), "record": _record_json(record)}


def _record_json(record: Record) -> str:
    return orjson.dumps(_without_authors(record)).decode()


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
        "decides_at": _decides_at(record),
        "read_at": record.read_at,
        "queued": record.queued,
    }


def _decides_at(record: Record) -> float | None:
    """When the privacy clock decides even if Assure cannot be reached. A blocked request is due for nothing else."""
    if record.opened_at is None or record.phase in (Phase.DELETION, Phase.DONE):
        return None
    still = record.desired.suspend or (record.hold is not None and record.hold.reason.blocks)
    return record.due_at if still else record.opened_at + record.desired.deadline


def _without_authors(record: Record) -> Record:
    """Without the authors, who have a table of their own [I6]."""
    if record.desired.author is not None:
        record = replace(record, desired=replace(record.desired, author=None))
    if record.next is not None and record.next.author is not None:
        record = replace(record, next=replace(record.next, author=None))
    return record


def _write_attempts(connection: Connection, step: Step) -> None:
    before, record = step.before, step.record
    if step.answered is not None:
        evidence = step.answered.evidence
        connection.execute(
            _ANSWERED,
            (
                step.events[-1].at,
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
    intent = record.intent
    if intent is not None and (before is None or before.intent != intent):
        connection.execute(_INTENDED, (record.uid, intent.number, record.generation, intent.kind, intent.at))
        if intent.kind is EffectKind.START_VERIFICATION:
            connection.execute(_START, (record.uid, record.generation, record.process_id, intent.at))


def _write_provenance(connection: Connection, step: Step) -> None:
    for author in authors(step):
        connection.execute(_PROVENANCE, (step.record.uid, *author))


def _write_labels(connection: Connection, step: Step) -> None:
    labels = step.record.desired.labels
    if step.before is not None:
        if step.before.desired.labels == labels:
            return
        connection.execute("DELETE FROM labels WHERE uid = ?", (step.record.uid,))
    connection.executemany(_LABEL, [(key, value, step.record.uid) for key, value in labels])


def _write_deliveries(connection: Connection, step: Step, sinks: Sequence[str], head: str) -> None:
    """The outbox. An event's id follows from the history, so that it is the same for all sinks and never comes back."""
    if not sinks:
        return
    uid = step.record.uid
    for notice in notices(step):
        event = hashlib.sha256(f"{head}/{notice.type}".encode()).hexdigest()[:32]
        told = (notice.generation, notice.at, notice.outcome, notice.reason, notice.hold_id)
        connection.executemany(_DELIVERY, [(sink, event, uid, notice.type, *told) for sink in sinks])


def _write_image_deletion(connection: Connection, step: Step) -> None:
    before, record = step.before, step.record
    was, owed = before is not None and _deletes_images(before), _deletes_images(record)
    if owed and not was:
        connection.execute(_DISCARD, (record.uid, record.outcome_at))
    elif was and not owed:
        connection.execute("DELETE FROM image_deletions WHERE uid = ?", (record.uid,))
    if before is not None and before.discard and before.generation != record.generation:
        again = {(image.path, image.sha256) for image in record.desired.images}
        values = (record.uid, before.generation, record.admitted_at)
        left = [image for image in before.desired.images if (image.path, image.sha256) not in again]
        connection.executemany(_SUPERSEDED, [(*values, image.depiction, image.path, image.sha256) for image in left])


def _deletes_images(record: Record) -> bool:
    return record.discard and record.outcome is not None


def _write_reservation(connection: Connection, step: Step) -> None:
    before, record = step.before, step.record
    if record.reserved_at is not None and (before is None or before.reserved_at != record.reserved_at):
        connection.execute(_RESERVED, (record.uid, record.generation, record.reserved_at))


def _write_counters(connection: Connection, step: Step) -> None:
    before, record = step.before, step.record
    if before is None:
        return
    same = before.generation == record.generation
    mode, process_type = record.desired.mode, record.desired.process_type
    if record.billed and not (same and before.billed):
        connection.execute(_COUNTER, ("start", mode, process_type, ""))
        if record.process_id is None:  # a capture link was handed out
            connection.execute(_START, (record.uid, record.generation, None, step.events[-1].at))
    if record.outcome is not None and not (same and before.outcome):
        connection.execute(_COUNTER, ("outcome", mode, process_type, Outcome(record.outcome)))
