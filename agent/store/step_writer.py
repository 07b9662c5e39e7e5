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
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from agent.core.audit import Event
from agent.core.errors import Impossible
from agent.core.record import Phase, Record
from agent.core.step import Step
from agent.store import step_statements as statements
from agent.store.connection import Connection
from agent.store.digests import request_digests
from agent.store.identity_key import Keys
from agent.store.repository import EVENT, chained
from agent.store.request_row import Cursor, RequestRow, insert, stored_row, update

_REMEMBERED = 1024  # rows, about 2 kB each; many times the default concurrency

_Rows = dict[str, list[tuple[Any, ...]]]


class _Batch:
    """The rows of one batch that are not written yet, by statement."""

    def __init__(self) -> None:
        self.uids: set[str] = set()
        self.rows: _Rows = {sql: [] for sql in statements.ORDER}
        self.changes: dict[str, dict[tuple[Any, ...], int]] = {statements.COUNTER: {}, statements.REQUEST_COUNT: {}}

    def count(self, sql: str, key: tuple[Any, ...], change: int) -> None:
        """Change the counter with this key in the table of this statement."""
        changes = self.changes[sql]
        changes[key] = changes.get(key, 0) + change

    def move(self, known: RequestRow | None, row: RequestRow) -> None:
        """Count a request where it is now, and no longer where it was."""
        now = row.kind
        before = None if known is None else known.kind
        if before != now:
            self.count(statements.REQUEST_COUNT, now, 1)
            if before is not None:
                self.count(statements.REQUEST_COUNT, before, -1)

    def flush(self, cursor: Cursor) -> None:
        """Write all rows, and the net change of each counter."""
        for sql, rows in self.rows.items():
            if rows:
                cursor.executemany(sql, rows)
        for sql, changes in self.changes.items():
            if rows := [(*key, change) for key, change in changes.items() if change]:
                cursor.executemany(sql, rows)


class StepWriter:
    """Writes steps, with their notifications for the `sinks`. The caller holds the transaction."""

    def __init__(self, keys: Keys, sinks: Sequence[str] = ()) -> None:
        self._keys = keys
        self._sinks = tuple(sinks)
        self._rows: dict[str, RequestRow] = {}  # by uid; the row that was written last is the last one

    def forget(self, uid: str | None = None) -> None:
        """Forget the row of a request that other SQL changed, or all rows after a transaction that failed."""
        if uid is None:
            self._rows.clear()
        else:
            self._rows.pop(uid, None)

    def write(self, connection: Connection, steps: Iterable[Step]) -> None:
        """Write these steps. Raises Impossible if the stored record of a step has another version."""
        cursor = connection.cursor()  # one for all statements: `connection.execute` makes one for each
        try:
            batch = _Batch()
            for step in steps:
                if step.record.uid in batch.uids:
                    batch.flush(cursor)
                    batch = _Batch()
                batch.uids.add(step.record.uid)
                self._write(cursor, batch, step)
            batch.flush(cursor)
        except BaseException:
            self.forget()
            raise

    def _write(self, cursor: Cursor, batch: _Batch, step: Step) -> None:
        record, rows = step.record, batch.rows
        known = None if step.before is None else self._known(cursor, step.before)
        salt = None if known is None else known.salt
        digests: dict[str, Any] = {}
        if salt is None or not _same_document(step):
            salt, digests = request_digests(step, salt, self._keys)
            _add_document(rows, step)
        seq, head = (known.seq, known.head) if known is not None else (0, "")
        for event in _with_digests(step.events, digests):
            seq += 1
            values = chained(event, head, record.uid, seq)
            head = values[-1]
            rows[EVENT].append(values)
        row = RequestRow.after(step, known, seq, head, salt)
        if known is None:
            insert(cursor, step, row)
        else:
            update(cursor, step, known, row)
        self._remember(record, row)
        batch.move(known, row)
        _add_attempts(rows, step)
        _add_starts(batch, step)
        if step.withdraws:
            rows[statements.WITHDRAWN].append((record.uid, record.generation, step.at))
        if self._sinks:
            _add_deliveries(rows, step, self._sinks, head)
        _add_secrets(rows, step)
        _add_image_deletions(rows, step)
        if step.orphan is not None:
            rows[statements.ORPHAN].append((step.orphan, record.uid, step.at))

    def _known(self, cursor: Cursor, before: Record) -> RequestRow:
        """The stored row. A remembered row decides nothing alone: the UPDATE compares it with the file."""
        known = self._rows.get(before.uid)
        return known if known is not None and known.version == before.version else stored_row(cursor, before)

    def _remember(self, record: Record, row: RequestRow) -> None:
        self._rows.pop(record.uid, None)
        if record.phase is not Phase.DONE:
            self._rows[record.uid] = row
            if len(self._rows) > _REMEMBERED:
                del self._rows[next(iter(self._rows))]


def _same_document(step: Step) -> bool:
    """True if the name, the documents and the generation are those of the step before, as in nearly all steps."""
    before, record = step.before, step.record
    return (
        before is not None
        and before.desired is record.desired
        and before.next is record.next
        and before.generation == record.generation
        and before.name == record.name
    )


def _with_digests(events: Sequence[Event], digests: dict[str, Any]) -> Sequence[Event]:
    """Add the digests to the last event of the step."""
    if not digests:
        return events
    if not events:
        raise Impossible("a step that changes a name, labels or an origin has no event")
    return (*events[:-1], replace(events[-1], changes={**events[-1].changes, **digests}))


def _add_attempts(rows: _Rows, step: Step) -> None:
    uid = step.record.uid
    if (answered := step.answered) is not None:
        evidence, where = answered.evidence, (uid, answered.number)
        answer = (step.answered_at, str(answered.result), evidence.status)
        if evidence.trouble is None and not evidence.shape and not evidence.digest:
            rows[statements.ANSWERED].append((*answer, evidence.cause, evidence.trace_id, *where))
        else:
            trouble = None if evidence.trouble is None else str(evidence.trouble)
            about = (trouble, evidence.cause, evidence.shape, evidence.digest, evidence.trace_id, evidence.words)
            rows[statements.TROUBLED].append((*answer, *about, *where))
    if (intent := step.intended) is not None:
        rows[statements.INTENDED].append((uid, intent.number, step.record.generation, str(intent.kind), intent.at))


def _add_starts(batch: _Batch, step: Step) -> None:
    record = step.record
    if (start := step.start) is not None:
        batch.rows[statements.START].append((record.uid, record.generation, start.process_id, start.at))
    for count in step.counts:
        key = (count.counter, count.mode, str(count.process_type), str(count.outcome))
        batch.count(statements.COUNTER, key, 1)
    if step.reserved_at is not None:
        batch.rows[statements.RESERVED].append((record.uid, record.generation, step.reserved_at))


def _add_document(rows: _Rows, step: Step) -> None:
    """The origins and the labels of the document."""
    uid = step.record.uid
    rows[statements.PROVENANCE] += [
        (uid, generation, file, origin.author, origin.file_commit, origin.signer)
        for generation, file, origin in step.origins
    ]
    if step.labels_changed:
        if step.before is not None:
            rows[statements.UNLABELED].append((uid,))
        rows[statements.LABEL] += [(key, value, uid) for key, value in step.record.desired.labels]


def _add_deliveries(rows: _Rows, step: Step, sinks: Sequence[str], head: str) -> None:
    """Add to the outbox. The id of a notification is derived from the history: unique, and the same for all sinks."""
    uid = step.record.uid
    for notice in step.notifications:
        kind = str(notice.type)
        event = hashlib.sha256(f"{head}/{kind}".encode()).hexdigest()[:32]
        outcome = None if notice.outcome is None else str(notice.outcome)
        reason = None if notice.reason is None else str(notice.reason)
        values = (event, uid, kind, notice.generation, notice.at, outcome, reason, notice.hold_id)
        rows[statements.DELIVERY] += [(sink, *values) for sink in sinks]


def _add_secrets(rows: _Rows, step: Step) -> None:
    record = step.record
    if step.link is not None:
        rows[statements.LINK].append((record.uid, step.link, step.at))
    elif step.link_expires:
        rows[statements.UNLINKED].append((record.uid,))
    if (claims := step.encrypted_claims) is not None:
        values = (claims.key_id, claims.wrapped_key, claims.ciphertext, claims.expires_at)
        rows[statements.CLAIMS].append((record.uid, record.generation, *values))


def _add_image_deletions(rows: _Rows, step: Step) -> None:
    before, record = step.before, step.record
    deletable = step.images_deletable
    if deletable:
        rows[statements.DISCARD].append((record.uid, record.outcome_at))
    elif deletable is False:
        rows[statements.KEEP].append((record.uid,))
    if before is not None and (images := step.superseded_images):
        values = (record.uid, before.generation, record.admitted_at)
        rows[statements.SUPERSEDED] += [(*values, str(image.depiction), image.path, image.sha256) for image in images]
