"""Rules for resolved holds: retry, abandon, adopt."""

from agent.core.assure_types import Depiction
from agent.core.effect import EffectKind
from agent.core.fast_replace import replace
from agent.core.observations import HoldResolved
from agent.core.policy import Policy
from agent.core.record import Hold, HoldAnswer, HoldReason, Outcome, Phase, Record
from agent.core.rules.recovery import OTHER_TYPE, SEVERAL_STARTED
from agent.core.rules.transitions import applied_reruns, start_deletion

# Holds that `adopt` may resolve.
_ADOPTING = (HoldReason.REFUSED, HoldReason.UNEXPECTED_ANSWER, HoldReason.HISTORY_LOST)


def hold_resolved(record: Record, observation: HoldResolved, policy: Policy) -> Record:
    """Apply the operator's answer to the open hold. An answer with another hold id changes nothing."""
    question = record.hold
    if question is None or question.id != observation.hold_id:
        return record
    if question.reason.about_document:
        if observation.answer is HoldAnswer.ADOPT:
            return record  # a hold about the document has no dossier to adopt
        return _document_resolved(replace(record, hold=None), question, observation)
    if observation.answer is HoldAnswer.ABANDON:
        lost = question.reason is HoldReason.HISTORY_LOST
        return (
            _abandon(record, observation.at)
            if lost
            else start_deletion(replace(record, hold=None), observation.at, Outcome.ABANDONED)
        )
    if observation.answer is HoldAnswer.ADOPT:
        return _adopt(record, observation)
    afresh = replace(
        record, hold=None, not_before=observation.at, unexpected_answers=0, failures=0, repeats=0, objections=0
    )
    return _retry(afresh, question, observation)


def _abandon(record: Record, at: float) -> Record:
    """Start neither this generation nor the one that was to follow: both may already have been done.

    An existing outcome stays.
    """
    following = record.next
    if following is not None:
        declined = record.declined if following.essence == record.desired.essence else following.essence
        record = replace(record, next=None, declined=declined, reruns=applied_reruns(record, following))
    freed = replace(record, hold=None)
    return freed if record.outcome is not None else start_deletion(freed, at, Outcome.ABANDONED)


def _document_resolved(record: Record, question: Hold, observation: HoldResolved) -> Record:
    """Verify the document in the file, or abandon the generation and leave that document to a later rerun.

    An existing outcome stays, and the request continues without change.
    """
    if observation.answer is HoldAnswer.RETRY and observation.desired is not None:
        return replace(record, next=observation.desired)
    declined = replace(record, declined=question.essence)
    return declined if record.outcome is not None else start_deletion(declined, observation.at, Outcome.ABANDONED)


def accepts_dossier(record: Record) -> bool:
    """True when the operator may resolve the hold with a dossier."""
    return record.phase is Phase.DOSSIER and record.hold is not None and record.hold.reason in _ADOPTING


def _adopt(record: Record, observation: HoldResolved) -> Record:
    """Adopt a dossier of Assure. The agent reads it before it creates anything in it."""
    if observation.dossier_id is None or not accepts_dossier(record):
        return record
    return replace(
        record,
        phase=Phase.PROCESS,
        hold=None,
        dossier_id=observation.dossier_id,
        create_unknown=True,
        doubt=EffectKind.CREATE_PROCESS,
        doubt_since=observation.at,
        opened_at=record.opened_at if record.opened_at is not None else observation.at,
        not_before=observation.at,
    )


def _retry(record: Record, question: Hold, observation: HoldResolved) -> Record:
    if question.reason is HoldReason.BACK_IMAGE_REQUIRED:
        # Another process may have another number of pages; this one cannot start.
        return start_deletion(record, observation.at)
    pages = record.document_pages == 2 and not record.desired.has(Depiction.BACK)
    if question.reason is HoldReason.HISTORY_LOST and record.phase is Phase.IMAGES and pages:
        return start_deletion(
            record, observation.at
        )  # the same case, when the history hold replaced the hold for the back image
    capture = record.desired.capture is not None
    started = question.evidence in (SEVERAL_STARTED, OTHER_TYPE)
    if question.reason is HoldReason.HISTORY_LOST and record.phase is Phase.PROCESS and capture and not started:
        return start_deletion(record, observation.at)  # the capture link is lost: another dossier, another link
    if question.reason is HoldReason.IMAGES_DIFFER:
        return replace(record, uploaded=False)
    return replace(record, verified=False) if question.reason is HoldReason.IMAGES_CHANGED else record
