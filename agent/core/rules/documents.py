"""Rules for documents in the source, for reruns, and for data that the agent shows or erases."""

from agent.core import observations as o
from agent.core.fast_replace import replace
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, HoldReason, Outcome, Phase, Record
from agent.core.rules.transitions import place_hold


def document_changed(record: Record, observation: o.DocumentChanged, _: Policy) -> Record:
    """Apply a changed document in place, start a new generation, or hold the request."""
    new, question = observation.desired, record.hold
    record = _file_present(record, observation.name)
    if _requests_rerun(record, new) or _rerun_is_free(record):
        in_place = record.next is None and record.outcome is None and new.essence == record.desired.essence
        plain = in_place and not _requests_rerun(record, new)
        return _apply_in_place(record, new) if plain else replace(record, next=new)
    record = _drop_successor(record, observation.at)
    same = new.essence == record.desired.essence
    if same and record.outcome is not Outcome.WITHDRAWN:
        return _apply_in_place(record, new)
    reason = HoldReason.REAPPEARED_AFTER_START if same else HoldReason.CHANGED_AFTER_START
    return _place_document_hold(replace(record, hold=record.hold or question), reason, observation.at, new.essence)


def document_returned(record: Record, observation: o.DocumentReturned, _: Policy) -> Record:
    """Start nothing for a document that is back, unless it was withdrawn before the billable act."""
    record = _file_present(record, observation.name)
    if _rerun_is_free(record) and (record.next is not None or record.outcome is Outcome.WITHDRAWN):
        return replace(record, next=observation.desired)
    record = _drop_successor(record, observation.at)
    if record.outcome is Outcome.WITHDRAWN:
        return _place_document_hold(
            record, HoldReason.REAPPEARED_AFTER_START, observation.at, observation.desired.essence
        )
    return _apply_in_place(record, observation.desired)


def rerun_requested(record: Record, observation: o.RerunRequested, _: Policy) -> Record:
    """Start a new generation, once for each token."""
    if not _requests_rerun(record, observation.desired):
        return record
    return replace(_file_present(record, observation.name), next=observation.desired)


def personal_data_disclosed(record: Record, observation: o.PersonalDataDisclosed, _: Policy) -> Record:
    return replace(record, shown_at=observation.at)


def claims_erased(record: Record, _: o.ClaimsErased, __: Policy) -> Record:
    return replace(record, claims_until=None)


def images_discarded(record: Record, observation: o.ImagesDiscarded, _: Policy) -> Record:
    return replace(record, discard=False, discarded=observation.results)


def document_removed(record: Record, _: o.DocumentRemoved, __: Policy) -> Record:
    return replace(record, present=False, next=None, hold=_without_document_question(record))


def _apply_in_place(record: Record, new: Desired) -> Record:
    """Apply labels, annotations, retention, deadline and suspend in place. Keep the admitted images and document id."""
    applied = replace(new, images=record.desired.images, document_id=record.desired.document_id)
    resting = record.outcome_at is not None and record.phase is Phase.DELETION and record.result is not None
    delete_at = record.outcome_at + new.retention if resting and record.outcome_at else record.delete_at
    return replace(
        record,
        desired=applied,
        hold=_without_document_question(record),
        delete_at=delete_at,
    )


def _file_present(record: Record, name: str) -> Record:
    """Record that the file exists. Restores a forgotten name, and drops a hold about the earlier document."""
    return replace(record, present=True, name=record.name or name, hold=_without_document_question(record))


def _rerun_is_free(record: Record) -> bool:
    """True when another generation costs nothing that was not requested: nothing was billed or finished."""
    return not record.billed and record.outcome in (None, Outcome.WITHDRAWN)


def _requests_rerun(record: Record, new: Desired) -> bool:
    return new.rerun is not None and not record.has_applied_rerun(new.rerun)


def _drop_successor(record: Record, at: float) -> Record:
    """Drop the next generation. A billed generation that was given up for it is withdrawn."""
    if record.next is None:
        return record
    if record.outcome is not None:
        return replace(record, next=None)
    return replace(record, next=None, outcome=Outcome.WITHDRAWN, outcome_at=at)


def _place_document_hold(record: Record, reason: HoldReason, at: float, essence: str) -> Record:
    """Hold the request for its document, unless another hold blocks it. The file still exists when that is resolved."""
    if record.hold is not None and record.hold.reason.blocks:
        return record
    return place_hold(record, reason, at, essence=essence)


def _without_document_question(record: Record) -> Hold | None:
    return None if record.hold is not None and record.hold.reason.about_document else record.hold
