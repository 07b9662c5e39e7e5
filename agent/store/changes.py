"""The changes that steps make to the tables, without any SQL: rows by kind, the events with their hashes, and counters.

Pure, except for the random salt of a new request. Every engine writes the same values, so that an audit log can be
verified and copied on any of them.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from agent.core.audit import Event
from agent.core.errors import Impossible
from agent.core.step import Step
from agent.store.digests import request_digests
from agent.store.identity_key import Keys
from agent.store.repository import chained
from agent.store.request_row import RequestRow


class Write(StrEnum):
    """The kinds of rows, in the order in which a transaction writes them, after the rows of `requests`."""

    EVENT = "event"  # an event of the audit log
    ANSWERED = "answered"  # the documented answer to a call
    TROUBLED = "troubled"  # any other answer to a call
    INTENDED = "intended"  # the intent of a call
    START = "start"  # a billable start
    RESERVED = "reserved"  # a start taken from the budget
    PROVENANCE = "provenance"  # who asked for a generation
    WITHDRAWN = "withdrawn"  # a file removed before the outcome
    UNLABELED = "unlabeled"  # the labels of the document before are removed
    LABEL = "label"  # a label of the document
    DELIVERY = "delivery"  # a notification for a sink
    LINK = "link"  # a capture link
    UNLINKED = "unlinked"  # the capture link is removed
    CLAIMS = "claims"  # encrypted claims
    DISCARD = "discard"  # image files that may be deleted
    KEEP = "keep"  # image files that may no longer be deleted
    SUPERSEDED = "superseded"  # image files of an earlier document
    ORPHAN = "orphan"  # a dossier that may exist at Assure


Rows = dict[Write, list[tuple[Any, ...]]]
Counts = dict[tuple[Any, ...], int]


@dataclass(slots=True)
class Changes:
    """The changes of several steps of different requests, for one transaction."""

    keys: Keys
    sinks: Sequence[str] = ()
    requests: dict[str, tuple[Step, RequestRow | None, RequestRow]] = field(default_factory=dict)  # by uid: known, new
    rows: Rows = field(default_factory=lambda: {kind: [] for kind in Write})
    counters: Counts = field(default_factory=dict)  # counter, mode, process type, outcome: the increment
    request_counts: Counts = field(default_factory=dict)  # phase, state, reason, dossier: the net change

    def add(self, step: Step, known: RequestRow | None) -> RequestRow:
        """Add a step to the changes, and return the row of its request after it.

        `known` is the row before it; None for a new request.
        """
        record, rows = step.record, self.rows
        salt = None if known is None else known.salt
        digests: dict[str, Any] = {}
        if salt is None or not _same_document(step):
            salt, digests = request_digests(step, salt, self.keys)
            _add_document(rows, step)
        seq, head = (known.seq, known.head) if known is not None else (0, "")
        for event in _with_digests(step.events, digests):
            seq += 1
            values = chained(event, head, record.uid, seq)
            head = values[-1]
            rows[Write.EVENT].append(values)
        row = RequestRow.after(step, known, seq, head, salt)
        self.requests[record.uid] = step, known, row
        self._move(known, row)
        _add_attempts(rows, step)
        _add_starts(self, step)
        if step.withdraws:
            rows[Write.WITHDRAWN].append((record.uid, record.generation, step.at))
        if self.sinks:
            _add_deliveries(rows, step, self.sinks, head)
        _add_secrets(rows, step)
        _add_image_deletions(rows, step)
        if step.orphan is not None:
            rows[Write.ORPHAN].append((step.orphan, record.uid, step.at))
        return row

    def _move(self, known: RequestRow | None, row: RequestRow) -> None:
        """Count a request where it is now, and no longer where it was."""
        now = row.kind
        before = None if known is None else known.kind
        if before != now:
            self.count(self.request_counts, now, 1)
            if before is not None:
                self.count(self.request_counts, before, -1)

    @staticmethod
    def count(counts: Counts, key: tuple[Any, ...], change: int) -> None:
        """Change the count of this key."""
        counts[key] = counts.get(key, 0) + change


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


def _add_attempts(rows: Rows, step: Step) -> None:
    uid = step.record.uid
    if (answered := step.answered) is not None:
        evidence, where = answered.evidence, (uid, answered.number)
        answer = (step.answered_at, str(answered.result), evidence.status)
        if evidence.trouble is None and not evidence.shape and not evidence.digest:
            rows[Write.ANSWERED].append((*answer, evidence.cause, evidence.trace_id, *where))
        else:
            trouble = None if evidence.trouble is None else str(evidence.trouble)
            about = (trouble, evidence.cause, evidence.shape, evidence.digest, evidence.trace_id, evidence.words)
            rows[Write.TROUBLED].append((*answer, *about, *where))
    if (intent := step.intended) is not None:
        rows[Write.INTENDED].append((uid, intent.number, step.record.generation, str(intent.kind), intent.at))


def _add_starts(changes: Changes, step: Step) -> None:
    record = step.record
    if (start := step.start) is not None:
        changes.rows[Write.START].append((record.uid, record.generation, start.process_id, start.at))
    for count in step.counts:
        key = (count.counter, count.mode, str(count.process_type), str(count.outcome))
        changes.count(changes.counters, key, 1)
    if step.reserved_at is not None:
        changes.rows[Write.RESERVED].append((record.uid, record.generation, step.reserved_at))


def _add_document(rows: Rows, step: Step) -> None:
    """The origins and the labels of the document."""
    uid = step.record.uid
    rows[Write.PROVENANCE] += [
        (uid, generation, file, origin.author, origin.file_commit, origin.signer)
        for generation, file, origin in step.origins
    ]
    if step.labels_changed:
        if step.before is not None:
            rows[Write.UNLABELED].append((uid,))
        rows[Write.LABEL] += [(key, value, uid) for key, value in step.record.desired.labels]


def _add_deliveries(rows: Rows, step: Step, sinks: Sequence[str], head: str) -> None:
    """Add to the outbox. The id of a notification is derived from the history: unique, and the same for all sinks."""
    uid = step.record.uid
    for notice in step.notifications:
        kind = str(notice.type)
        event = hashlib.sha256(f"{head}/{kind}".encode()).hexdigest()[:32]
        outcome = None if notice.outcome is None else str(notice.outcome)
        reason = None if notice.reason is None else str(notice.reason)
        values = (event, uid, kind, notice.generation, notice.at, outcome, reason, notice.hold_id)
        rows[Write.DELIVERY] += [(sink, *values) for sink in sinks]


def _add_secrets(rows: Rows, step: Step) -> None:
    record = step.record
    if step.link is not None:
        rows[Write.LINK].append((record.uid, step.link, step.at))
    elif step.link_expires:
        rows[Write.UNLINKED].append((record.uid,))
    if (claims := step.encrypted_claims) is not None:
        values = (claims.key_id, claims.wrapped_key, claims.ciphertext, claims.expires_at)
        rows[Write.CLAIMS].append((record.uid, record.generation, *values))


def _add_image_deletions(rows: Rows, step: Step) -> None:
    before, record = step.before, step.record
    deletable = step.images_deletable
    if deletable:
        rows[Write.DISCARD].append((record.uid, record.outcome_at))
    elif deletable is False:
        rows[Write.KEEP].append((record.uid,))
    if before is not None and (images := step.superseded_images):
        values = (record.uid, before.generation, record.admitted_at)
        rows[Write.SUPERSEDED] += [(*values, str(image.depiction), image.path, image.sha256) for image in images]
