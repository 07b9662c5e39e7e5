"""Rules for what people want: the source, and the answers of a person."""

from agent.core.fast_replace import replace
from agent.core.observations import (
    ClaimsErased,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    ImagesDiscarded,
    PersonalShown,
    RerunAsked,
)
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.transitions import hold


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
