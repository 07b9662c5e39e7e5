"""Answers to holds: retry, abandon, adopt a dossier."""

from agent.core.assure_types import Depiction
from agent.core.effect import EffectKind
from agent.core.fast_replace import replace
from agent.core.observations import (
    Answer,
    HoldResolved,
)
from agent.core.policy import Policy
from agent.core.record import Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.recovery import OTHER_TYPE, SEVERAL_STARTED
from agent.core.rules.transitions import close, obeyed

_ADOPTING = (HoldReason.REFUSED, HoldReason.SURPRISE, HoldReason.HISTORY_LOST)  # holds whose answer may be a dossier


def hold_resolved(record: Record, seen: HoldResolved, policy: Policy) -> Record:
    """A person's answer; only to the question that is open, by its id."""
    question = record.hold
    if question is None or question.id != seen.hold_id:
        return record
    if question.reason.about_document:
        if seen.answer is Answer.ADOPT:
            return record  # there is no dossier to be chosen
        return _document_resolved(replace(record, hold=None), question, seen)
    if seen.answer is Answer.ABANDON:
        lost = question.reason is HoldReason.HISTORY_LOST
        return _given_up(record, seen.at) if lost else close(replace(record, hold=None), seen.at, Outcome.ABANDONED)
    if seen.answer is Answer.ADOPT:
        return _adopted(record, seen)
    afresh = replace(record, hold=None, not_before=seen.at, surprises=0, failures=0, repeats=0, objections=0)
    return _retried(afresh, question, seen)


def _given_up(record: Record, at: float) -> Record:
    """What may have been done is not begun: neither this generation, nor the document that was to follow it.

    An outcome that is there already stands.
    """
    following = record.next
    if following is not None:
        declined = record.declined if following.essence == record.desired.essence else following.essence
        record = replace(record, next=None, declined=declined, reruns=obeyed(record, following))
    freed = replace(record, hold=None)
    return freed if record.outcome is not None else close(freed, at, Outcome.ABANDONED)


def _document_resolved(record: Record, question: Hold, seen: HoldResolved) -> Record:
    """Verify the document in the file; or give up what runs, and leave that document to a later rerun.

    An outcome that is there already stands, and the record goes on as it would have.
    """
    if seen.answer is Answer.RETRY and seen.desired is not None:
        return replace(record, next=seen.desired)
    declined = replace(record, declined=question.essence)
    return declined if record.outcome is not None else close(declined, seen.at, Outcome.ABANDONED)


def adoptable(record: Record) -> bool:
    """May a person answer its hold with a dossier?"""
    return record.phase is Phase.DOSSIER and record.hold is not None and record.hold.reason in _ADOPTING


def _adopted(record: Record, seen: HoldResolved) -> Record:
    """Use a dossier that a person found at Assure; what is in it is read before anything is created."""
    if seen.dossier_id is None or not adoptable(record):
        return record
    return replace(
        record,
        phase=Phase.PROCESS,
        hold=None,
        dossier_id=seen.dossier_id,
        unsure=True,
        doubt=EffectKind.CREATE_PROCESS,
        doubt_since=seen.at,
        opened_at=record.opened_at if record.opened_at is not None else seen.at,
        not_before=seen.at,
    )


def _retried(record: Record, question: Hold, seen: HoldResolved) -> Record:
    if question.reason is HoldReason.BACK_IMAGE_REQUIRED:
        return close(record, seen.at)  # another process may tell another number of pages; this one cannot be started
    pages = record.document_pages == 2 and not record.desired.has(Depiction.BACK)
    if question.reason is HoldReason.HISTORY_LOST and record.phase is Phase.IMAGES and pages:
        return close(record, seen.at)  # the same, after its own question was answered by nobody we know of
    capture = record.desired.capture is not None
    started = question.evidence in (SEVERAL_STARTED, OTHER_TYPE)
    if question.reason is HoldReason.HISTORY_LOST and record.phase is Phase.PROCESS and capture and not started:
        return close(record, seen.at)  # nobody has its link any more: another dossier, another link
    if question.reason is HoldReason.IMAGES_DIFFER:
        return replace(record, uploaded=False)
    return replace(record, verified=False) if question.reason is HoldReason.IMAGES_CHANGED else record
