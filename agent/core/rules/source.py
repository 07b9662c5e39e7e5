"""Rules for time and for the source: what people want."""

from dataclasses import replace

from agent.core.observation import DocumentChanged, DocumentRemoved, DocumentReturned
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.passage import hold


def document_changed(record: Record, seen: DocumentChanged, _: Policy) -> Record:
    new = seen.desired
    record = replace(record, present=True)
    finished = record.phase is Phase.DONE or record.outcome is not None
    if new.rerun is not None and new.rerun not in record.reruns:
        return replace(record, next=new, hold=_without_document_question(record))
    if record.next is None and new.essence == record.desired.essence:
        return _apply_in_place(record, new)
    if record.next is not None or not (record.billed or finished) or _withdrawn_unbilled(record):
        return replace(record, next=new, hold=_without_document_question(record))
    if record.hold is not None and record.hold.reason.blocks:
        return record  # one question at a time; the file is still there when this one is answered
    return hold(record, HoldReason.CHANGED_AFTER_START, seen.at, digest=new.digest)


def document_returned(record: Record, seen: DocumentReturned, _: Policy) -> Record:
    record = replace(record, present=True, hold=_without_document_question(record))
    if record.next is not None or _withdrawn_unbilled(record):
        return replace(record, next=seen.desired)
    if record.outcome is Outcome.WITHDRAWN:
        return hold(record, HoldReason.REAPPEARED_AFTER_START, seen.at, digest=seen.desired.digest)
    return _apply_in_place(record, seen.desired)


def document_removed(record: Record, _: DocumentRemoved, __: Policy) -> Record:
    return replace(record, present=False, next=None, hold=_without_document_question(record))


def _apply_in_place(record: Record, new: Desired) -> Record:
    """Labels, annotations, retention, deadline and suspend need no new generation. The admitted image digests stay."""
    applied = replace(new, images=record.desired.images)
    resting = record.outcome_at is not None and record.phase is Phase.DELETION and record.result is not None
    delete_at = record.outcome_at + new.retention if resting and record.outcome_at else record.delete_at
    woken = record.not_before if record.desired.suspend == new.suspend else 0.0
    return replace(
        record,
        desired=applied,
        hold=_without_document_question(record),
        delete_at=delete_at,
        not_before=woken,
    )


def _withdrawn_unbilled(record: Record) -> bool:
    return record.outcome is Outcome.WITHDRAWN and not record.billed


def _without_document_question(record: Record) -> Hold | None:
    return None if record.hold is not None and record.hold.reason.about_document else record.hold
