"""Rules for what people want: the source, and the answers of a person."""

from agent.core.effect import EffectKind
from agent.core.observation import (
    Answer,
    ClaimsErased,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    HoldResolved,
    ImagesDiscarded,
    PersonalShown,
    RerunAsked,
)
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldReason, Outcome, Phase, Record
from agent.core.remote import Depiction
from agent.core.rules.history import OTHER_TYPE, SEVERAL_STARTED
from agent.core.rules.passage import close, hold, obeyed
from agent.core.values import replace

_ADOPTING = (HoldReason.REFUSED, HoldReason.SURPRISE, HoldReason.HISTORY_LOST)  # holds whose answer may be a dossier


def document_changed(record: Record, seen: DocumentChanged, _: Policy) -> Record:
    """Another document than the one we follow: in place, a new generation, or a question to a person."""
    new, question = seen.desired, record.hold
    record = _there(record, seen.name)
    if _asks_for_rerun(record, new) or _free(record):
        in_place = record.next is None and record.outcome is None and new.essence == record.desired.essence
        plain = in_place and not _asks_for_rerun(record, new)
        return _apply_in_place(record, new) if plain else replace(record, next=new)
    record = _ended(record, seen.at)
    same = new.essence == record.desired.essence
    if same and record.outcome is not Outcome.WITHDRAWN:
        return _apply_in_place(record, new)
    reason = HoldReason.REAPPEARED_AFTER_START if same else HoldReason.CHANGED_AFTER_START
    return _question(replace(record, hold=record.hold or question), reason, seen.at, new.essence)


def document_returned(record: Record, seen: DocumentReturned, _: Policy) -> Record:
    """The document we follow is back: nothing starts, unless it was withdrawn before anything was billed."""
    record = _there(record, seen.name)
    if _free(record) and (record.next is not None or record.outcome is Outcome.WITHDRAWN):
        return replace(record, next=seen.desired)
    record = _ended(record, seen.at)
    if record.outcome is Outcome.WITHDRAWN:
        return _question(record, HoldReason.REAPPEARED_AFTER_START, seen.at, seen.desired.essence)
    return _apply_in_place(record, seen.desired)


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


def rerun_asked(record: Record, seen: RerunAsked, _: Policy) -> Record:
    """A fresh verification, in words of its own: obeyed once per token."""
    if not _asks_for_rerun(record, seen.desired):
        return record
    return replace(_there(record, seen.name), next=seen.desired)


def personal_shown(record: Record, seen: PersonalShown, _: Policy) -> Record:
    return replace(record, shown_at=seen.at)


def claims_erased(record: Record, _: ClaimsErased, __: Policy) -> Record:
    return replace(record, claims_until=None)


def images_discarded(record: Record, seen: ImagesDiscarded, _: Policy) -> Record:
    return replace(record, discard=False, discarded=seen.how)


def document_removed(record: Record, _: DocumentRemoved, __: Policy) -> Record:
    return replace(record, present=False, next=None, hold=_without_document_question(record))


def _apply_in_place(record: Record, new: Desired) -> Record:
    """Labels, annotations, retention, deadline and suspend need no new generation. The admitted images and id stay."""
    applied = replace(new, images=record.desired.images, document_id=record.desired.document_id)
    resting = record.outcome_at is not None and record.phase is Phase.DELETION and record.result is not None
    delete_at = record.outcome_at + new.retention if resting and record.outcome_at else record.delete_at
    return replace(
        record,
        desired=applied,
        hold=_without_document_question(record),
        delete_at=delete_at,
    )


def _there(record: Record, name: str) -> Record:
    """Its file is there: a name that was forgotten is known again, and what was asked of the last document is over."""
    return replace(record, present=True, name=record.name or name, hold=_without_document_question(record))


def _free(record: Record) -> bool:
    """True when another generation costs nothing that was not asked for: nothing was billed, nothing has finished."""
    return not record.billed and record.outcome in (None, Outcome.WITHDRAWN)


def _asks_for_rerun(record: Record, new: Desired) -> bool:
    return new.rerun is not None and not record.has_obeyed(new.rerun)


def _ended(record: Record, at: float) -> Record:
    """A successor was wanted, and is not any more. What was billed and given up for it ends as withdrawn."""
    if record.next is None:
        return record
    if record.outcome is not None:
        return replace(record, next=None)
    return replace(record, next=None, outcome=Outcome.WITHDRAWN, outcome_at=at)


def _question(record: Record, reason: HoldReason, at: float, essence: str) -> Record:
    """Ask a person about the document; one question at a time: the file is still there when this one is answered."""
    if record.hold is not None and record.hold.reason.blocks:
        return record
    return hold(record, reason, at, essence=essence)


def _without_document_question(record: Record) -> Hold | None:
    return None if record.hold is not None and record.hold.reason.about_document else record.hold
