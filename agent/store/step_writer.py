"""The SQL of steps: several steps of one transaction are written together, by statement.

The order of the statements follows from three rules. A test compares a batch with the same steps written one by one.

- A request appears at most once in a batch. So an intent is in the table before the answer to it.
- The row of a request is written at once, in the order of the steps. So names stay unique at each moment, and a row of
  another table finds its request.
- All other rows follow by table, each table in the order of the steps. Rows of different requests do not affect each
  other, except through counters, which are sums.

The writer remembers the rows that it wrote last, instead of reading them before each step. It is the only writer [I7],
so its memory equals the file until a transaction fails. Then it forgets everything.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import compress
from operator import ne
from typing import Any

from agent.core.audit import Event
from agent.core.errors import Impossible
from agent.core.record import Phase, Record
from agent.core.step import Step
from agent.store.connection import Connection
from agent.store.digests import request_digests
from agent.store.identity_key import Keys
from agent.store.repository import EVENT, MIRRORED, chained, mirrored, record_json

_REMEMBERED = 1024  # rows, about 1.5 kB each; many times the default concurrency

_COLUMNS = (*MIRRORED, "seq", "head", "salt", "progress_at", "record")
_INSERT = f"INSERT INTO requests ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - constant
_ANSWERED = """
UPDATE attempts SET answered_at = ?, result = ?, status = ?, trouble = ?, cause = ?, shape = ?, digest = ?, trace_id = ?
WHERE uid = ? AND number = ?
"""
_INTENDED = "INSERT INTO attempts (uid, number, generation, effect, intended_at) VALUES (?, ?, ?, ?, ?)"
_START = """
INSERT INTO starts (uid, generation, process_id, at) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET process_id = excluded.process_id
"""
_RESERVED = "INSERT OR IGNORE INTO reservations (uid, generation, at) VALUES (?, ?, ?)"
_PROVENANCE = "INSERT OR REPLACE INTO provenance (uid, generation, file, author) VALUES (?, ?, ?, ?)"
_WITHDRAWN = "INSERT OR REPLACE INTO withdrawals (uid, generation, at) VALUES (?, ?, ?)"
_UNLABELED = "DELETE FROM labels WHERE uid = ?"
_LABEL = "INSERT INTO labels (key, value, uid) VALUES (?, ?, ?)"
_DELIVERY = """
INSERT INTO deliveries (sink, event, uid, type, generation, at, outcome, reason, hold_id)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_LINK = "INSERT OR REPLACE INTO links (uid, link, created_at) VALUES (?, ?, ?)"
_UNLINKED = "DELETE FROM links WHERE uid = ?"
_CLAIMS = """
INSERT OR REPLACE INTO claims (uid, generation, key_id, wrapped, ciphertext, expires_at) VALUES (?, ?, ?, ?, ?, ?)
"""
_DISCARD = "INSERT OR REPLACE INTO image_deletions (uid, since) VALUES (?, ?)"
_KEEP = "DELETE FROM image_deletions WHERE uid = ?"
_SUPERSEDED = """
INSERT OR IGNORE INTO superseded_images (uid, generation, since, depiction, path, sha256) VALUES (?, ?, ?, ?, ?, ?)
"""
_ORPHAN = "INSERT INTO orphans (reference, uid, since) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_COUNTER = """
INSERT INTO counters (counter, mode, process_type, outcome, value) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value
"""
_REQUEST_COUNT = """
INSERT INTO request_counts (phase, state, reason, dossier, requests) VALUES (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests
"""
_ORDER = (
    EVENT, _ANSWERED, _INTENDED, _START, _RESERVED, _PROVENANCE, _WITHDRAWN, _UNLABELED, _LABEL, _DELIVERY, _LINK,
    _UNLINKED, _CLAIMS, _DISCARD, _KEEP, _SUPERSEDED, _ORPHAN,
)  # fmt: skip

_VERSION = MIRRORED.index("version")
_KIND = tuple(MIRRORED.index(name) for name in ("phase", "state", "hold_reason", "dossier_id"))


@dataclass(slots=True)
class _Row:
    """The row of a request, as the last step wrote it."""

    seq: int
    head: str
    salt: str | None
    mirrored: tuple[Any, ...]  # the values of MIRRORED


class _Batch:
    """The rows of one batch that are not written yet, by statement."""

    def __init__(self) -> None:
        self.uids: set[str] = set()
        self.rows: dict[str, list[tuple[Any, ...]]] = {sql: [] for sql in _ORDER}
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.request_counts: Counter[tuple[Any, ...]] = Counter()

    def move(self, known: _Row | None, row: _Row) -> None:
        """Count a request where it is now, and no longer where it was."""
        if known is not None:
            self.request_counts[_kind(known)] -= 1
        self.request_counts[_kind(row)] += 1

    def flush(self, connection: Connection) -> None:
        """Write all rows, and the net change of each counter."""
        for sql, rows in self.rows.items():
            if rows:
                connection.executemany(sql, rows)
        for sql, changes in ((_COUNTER, self.counters), (_REQUEST_COUNT, self.request_counts)):
            if rows := [(*key, change) for key, change in changes.items() if change]:
                connection.executemany(sql, rows)


class StepWriter:
    """Writes steps, with their notifications for the `sinks`. The caller holds the transaction."""

    def __init__(self, keys: Keys, sinks: Sequence[str] = ()) -> None:
        self._keys = keys
        self._sinks = tuple(sinks)
        self._rows: dict[str, _Row] = {}  # by uid; the row that was written last is the last one

    def forget(self, uid: str | None = None) -> None:
        """Forget the row of a request that other SQL changed, or all rows after a transaction that failed."""
        if uid is None:
            self._rows.clear()
        else:
            self._rows.pop(uid, None)

    def write(self, connection: Connection, steps: Iterable[Step]) -> None:
        """Write these steps. Raises Impossible if the stored record of a step has another version."""
        try:
            batch = _Batch()
            for step in steps:
                if step.record.uid in batch.uids:
                    batch.flush(connection)
                    batch = _Batch()
                batch.uids.add(step.record.uid)
                self._write(connection, batch, step)
            batch.flush(connection)
        except BaseException:
            self.forget()
            raise

    def _write(self, connection: Connection, batch: _Batch, step: Step) -> None:
        record, rows = step.record, batch.rows
        known = None if step.before is None else self._known(connection, step.before)
        salt, digests = request_digests(step, known.salt if known is not None else None, self._keys)
        seq, head = (known.seq, known.head) if known is not None else (0, "")
        for event in _with_digests(step.events, digests):
            seq += 1
            values = chained(event, head, record.uid, seq)
            head = values[-1]
            rows[EVENT].append(values)
        row = _Row(seq, head, salt, mirrored(record))
        if known is None:
            connection.execute(_INSERT, (*row.mirrored, seq, head, salt, step.at, record_json(record)))
        else:
            _update(connection, step, known, row)
        self._remember(record, row)
        batch.move(known, row)
        _add_attempts(rows, step)
        _add_starts(batch, step)
        if step.withdraws:
            rows[_WITHDRAWN].append((record.uid, record.generation, step.at))
        _add_document(rows, step)
        if self._sinks:
            _add_deliveries(rows, step, self._sinks, head)
        _add_secrets(rows, step)
        _add_image_deletions(rows, step)
        if step.orphan is not None:
            rows[_ORPHAN].append((step.orphan, record.uid, step.at))

    def _known(self, connection: Connection, before: Record) -> _Row:
        """The stored row. A remembered row decides nothing alone: the UPDATE compares it with the file."""
        known = self._rows.get(before.uid)
        if known is not None and known.mirrored[_VERSION] == before.version:
            return known
        sql = "SELECT version, seq, head, salt FROM requests WHERE uid = ?"
        row = connection.execute(sql, (before.uid,)).fetchone()
        if row is None or row[0] != before.version:
            raise _another_version(before.uid)
        return _Row(row[1], row[2], row[3], mirrored(before))

    def _remember(self, record: Record, row: _Row) -> None:
        self._rows.pop(record.uid, None)
        if record.phase is not Phase.DONE:
            self._rows[record.uid] = row
            if len(self._rows) > _REMEMBERED:
                del self._rows[next(iter(self._rows))]


def _update(connection: Connection, step: Step, known: _Row, row: _Row) -> None:
    """Set only the changed columns: SQLite rewrites every index of a column that is set, even to the same value."""
    changed = tuple(map(ne, row.mirrored, known.mirrored))
    values = [*compress(row.mirrored, changed), row.seq, row.head, record_json(step.record)]
    if step.progressed:
        values.append(step.at)
    if row.salt != known.salt:
        values.append(row.salt)
    sql = _update_of(changed, step.progressed, row.salt != known.salt)
    where = (step.record.uid, known.mirrored[_VERSION], known.seq)
    if connection.execute(sql, (*values, *where)).rowcount != 1:
        raise _another_version(step.record.uid)


@cache
def _update_of(changed: tuple[bool, ...], progressed: bool, salted: bool) -> str:
    names = [*compress(MIRRORED, changed), "seq", "head", "record"]
    names += ["progress_at"] * progressed + ["salt"] * salted
    columns = ", ".join(f"{name} = ?" for name in names)
    return f"UPDATE requests SET {columns} WHERE uid = ? AND version = ? AND seq = ?"  # noqa: S608 - constant


def _another_version(uid: str) -> Impossible:
    return Impossible(f"the record {uid} has another version in the store")


def _kind(row: _Row) -> tuple[Any, ...]:
    phase, state, reason, dossier = (row.mirrored[place] for place in _KIND)
    return phase, state, reason or "", int(dossier is not None)


def _with_digests(events: Sequence[Event], digests: dict[str, Any]) -> Sequence[Event]:
    """Add the digests to the last event of the step."""
    if not digests:
        return events
    if not events:
        raise Impossible("a step that changes a name, labels or an author has no event")
    return (*events[:-1], replace(events[-1], changes={**events[-1].changes, **digests}))


_Rows = dict[str, list[tuple[Any, ...]]]


def _add_attempts(rows: _Rows, step: Step) -> None:
    uid = step.record.uid
    if (answered := step.answered) is not None:
        evidence = answered.evidence
        trouble = None if evidence.trouble is None else str(evidence.trouble)
        answer = (str(answered.result), evidence.status, trouble, evidence.cause, evidence.shape, evidence.digest)
        rows[_ANSWERED].append((step.answered_at, *answer, evidence.trace_id, uid, answered.number))
    if (intent := step.intended) is not None:
        rows[_INTENDED].append((uid, intent.number, step.record.generation, str(intent.kind), intent.at))


def _add_starts(batch: _Batch, step: Step) -> None:
    record = step.record
    if (start := step.start) is not None:
        batch.rows[_START].append((record.uid, record.generation, start.process_id, start.at))
    for count in step.counts:
        batch.counters[count.counter, count.mode, str(count.process_type), str(count.outcome)] += 1
    if step.reserved_at is not None:
        batch.rows[_RESERVED].append((record.uid, record.generation, step.reserved_at))


def _add_document(rows: _Rows, step: Step) -> None:
    """The authors and the labels of the document."""
    uid = step.record.uid
    rows[_PROVENANCE] += [(uid, *author) for author in step.authors]
    if step.labels_changed:
        if step.before is not None:
            rows[_UNLABELED].append((uid,))
        rows[_LABEL] += [(key, value, uid) for key, value in step.record.desired.labels]


def _add_deliveries(rows: _Rows, step: Step, sinks: Sequence[str], head: str) -> None:
    """Add to the outbox. The id of a notification is derived from the history: unique, and the same for all sinks."""
    uid = step.record.uid
    for notice in step.notifications:
        kind = str(notice.type)
        event = hashlib.sha256(f"{head}/{kind}".encode()).hexdigest()[:32]
        outcome = None if notice.outcome is None else str(notice.outcome)
        reason = None if notice.reason is None else str(notice.reason)
        values = (event, uid, kind, notice.generation, notice.at, outcome, reason, notice.hold_id)
        rows[_DELIVERY] += [(sink, *values) for sink in sinks]


def _add_secrets(rows: _Rows, step: Step) -> None:
    record = step.record
    if step.link is not None:
        rows[_LINK].append((record.uid, step.link, step.at))
    elif step.link_expires:
        rows[_UNLINKED].append((record.uid,))
    if (claims := step.encrypted_claims) is not None:
        values = (claims.key_id, claims.wrapped_key, claims.ciphertext, claims.expires_at)
        rows[_CLAIMS].append((record.uid, record.generation, *values))


def _add_image_deletions(rows: _Rows, step: Step) -> None:
    before, record = step.before, step.record
    deletable = step.images_deletable
    if deletable:
        rows[_DISCARD].append((record.uid, record.outcome_at))
    elif deletable is False:
        rows[_KEEP].append((record.uid,))
    if before is not None and (images := step.superseded_images):
        values = (record.uid, before.generation, record.admitted_at)
        rows[_SUPERSEDED] += [(*values, str(image.depiction), image.path, image.sha256) for image in images]
