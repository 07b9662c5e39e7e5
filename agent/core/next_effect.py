"""What is owed now, read from the record alone: when to look again, and which effect to ask for.

This module reads a record and never changes one; phases follow from `machine.py`. Because the effect follows
from saved state and not from the observation that woke us, a restart needs nothing but the record.
"""

from agent.core.effect import (
    ClaimsRequest,
    CompareImages,
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    Effect,
    EffectKind,
    FindDossier,
    ReadDossier,
    ReadProcess,
    ReserveStart,
    StartCapture,
    StartVerification,
    UploadImages,
    VerifyImages,
)
from agent.core.errors import required
from agent.core.policy import Policy
from agent.core.record import HoldReason, Outcome, Phase, Record


def deletion_deadline(record: Record, policy: Policy) -> float | None:
    """When the dossier must go, whatever is undecided: the deadline, or HOLD_TTL after a hold. None: there is none."""
    deadline = record.deadline_at
    if deadline is None or record.outcome is not None:
        return None
    if record.hold is not None and record.hold.reason.blocks:
        return min(deadline, record.hold.at + policy.hold_ttl)
    return deadline


def overdue(record: Record, at: float, policy: Policy) -> bool:
    """True when the privacy clock has run out."""
    clock = deletion_deadline(record, policy)
    return clock is not None and at >= clock


def next_due_at(record: Record, at: float, policy: Policy) -> float | None:
    """When to look at the record again; None: only when something happens."""
    if record.intent is not None:
        return record.intent.at
    if record.phase is Phase.DONE:
        return None
    if record.phase is Phase.DELETION:
        rest = record.delete_at if record.delete_at is not None and not record.deleted else 0.0
        return max(record.not_before, rest)
    clock = deletion_deadline(record, policy)
    if overdue(record, at, policy):
        return _late_read_due(record, policy)
    work = _work_due(record, policy)
    times = [time for time in (work, clock) if time is not None]
    return min(times, default=None)


def _work_due(record: Record, policy: Policy) -> float | None:
    in_doubt = record.doubt is EffectKind.CREATE_DOSSIER
    if in_doubt and (record.next is not None or not record.present):
        return record.not_before  # whatever is held: what was created has to be found before it can be deleted
    if record.desired.suspend and not (in_doubt and record.hold is None):  # looking begins nothing, and cannot wait
        return None
    if record.hold is not None and record.hold.reason.blocks:
        return record.not_before if record.hold.reason.self_healing else None
    return record.not_before if record.pending else _paced(record, policy)


def _late_read_due(record: Record, policy: Policy) -> float:
    """At once when the deadline has come, however far the next look is; in its turn when looks go wrong."""
    if record.failures or record.missing or record.unexpected_answers:
        return _paced(record, policy)
    return record.read_at + policy.min_read_interval if record.read_at is not None else 0.0


def _paced(record: Record, policy: Policy) -> float:
    """Before a start the process is read. No process is read more often than `min_read_interval`."""
    if record.phase is Phase.VERIFICATION and record.read_at is not None:
        return max(record.not_before, record.read_at + policy.min_read_interval)
    return record.not_before


def next_effect(record: Record, at: float, policy: Policy) -> Effect | None:
    """The effect to ask for now, or None."""
    time = next_due_at(record, at, policy)
    if record.intent is not None or time is None or at < time:
        return None
    effect = effect_for(record, at, policy)
    if policy.creates_blocked and effect.kind is EffectKind.CREATE_DOSSIER:
        return None
    return None if policy.paused and effect.kind.starts_work else effect


def blocks_creates(record: Record, policy: Policy) -> bool:
    """True while a dossier of the record may have been created, and was not looked for since it had to show.

    GET dossiers shows the last 100 only (contract §4): it is looked for before new ones push it out of the list. Once
    a list that it had to be in was read, what is left to wait for is a call that acts late, and that one is newer.
    """
    if record.intent is not None or record.doubt is not EffectKind.CREATE_DOSSIER or record.doubt_since is None:
        return False
    return record.searched_at is None or record.searched_at < policy.grace_start(record.doubt_since) + policy.list_lag


def effect_for(record: Record, at: float, policy: Policy) -> Effect:
    """The effect that the record asks for once it is due. The phase is not done."""
    if record.hold is not None and record.hold.reason is HoldReason.IMAGES_CHANGED:
        return VerifyImages(images=record.desired.images)
    if record.hold is not None and record.hold.reason is HoldReason.CLAIMS_NOT_KEPT:
        return _reading(record)
    if record.phase is Phase.VERIFICATION and overdue(record, at, policy):
        return _read_before_start(record)  # too late for a start: read once more, then the deadline decides
    if record.phase is Phase.IMAGES and record.resent and overdue(record, at, policy):
        # Too late for a repeated upload: read once more, then the deadline decides.
        return ReadProcess(
            dossier_id=required(record.dossier_id, "dossier_id"), process_id=required(record.process_id, "process_id")
        )
    if policy.budgeted and record.phase is Phase.DOSSIER and record.reserved_at is None and record.doubt is None:
        return ReserveStart()
    return _BY_PHASE[record.phase](record)


def _dossier(record: Record) -> Effect:
    if record.doubt is EffectKind.CREATE_DOSSIER:
        return FindDossier(reference=record.reference, since=record.doubt_since or 0.0)
    if record.desired.images and not record.verified:
        return VerifyImages(images=record.desired.images)
    return CreateDossier(reference=record.reference)


def _process(record: Record) -> Effect:
    dossier_id = required(record.dossier_id, "dossier_id")
    if record.doubt is EffectKind.CREATE_PROCESS:
        return ReadDossier(dossier_id=dossier_id)
    desired = record.desired
    if desired.capture is not None:
        return StartCapture(dossier_id=dossier_id, options=desired.capture)
    return CreateProcess(
        dossier_id=dossier_id,
        process_type=desired.process_type,
        document_id=required(desired.document_id, "document_id"),
        document_type=desired.document_type,
    )


def _images(record: Record) -> Effect:
    dossier_id, process_id = required(record.dossier_id, "dossier_id"), required(record.process_id, "process_id")
    images = record.desired.images
    if record.doubt is EffectKind.UPLOAD_IMAGES:
        return _reading(record)
    if record.uploaded:
        return CompareImages(dossier_id=dossier_id, process_id=process_id, images=images)
    return UploadImages(dossier_id=dossier_id, process_id=process_id, images=images)


def _verification(record: Record) -> Effect:
    dossier_id, process_id = required(record.dossier_id, "dossier_id"), required(record.process_id, "process_id")
    if record.pending:
        return StartVerification(dossier_id=dossier_id, process_id=process_id)
    return _read_before_start(record)


def _read_before_start(record: Record) -> Effect:
    """Before a start: is the process, or after an unknown create everything in the dossier, still pending?"""
    return (
        ReadDossier(dossier_id=required(record.dossier_id, "dossier_id")) if record.create_unknown else _reading(record)
    )


def _result(record: Record) -> Effect:
    return (
        ReadDossier(dossier_id=required(record.dossier_id, "dossier_id"))
        if record.process_id is None
        else _reading(record)
    )


def _reading(record: Record) -> ReadProcess:
    """Whatever it is read for, it may be final: the claims come with the status that decides."""
    ttl = record.desired.claims_ttl
    return ReadProcess(
        dossier_id=required(record.dossier_id, "dossier_id"),
        process_id=required(record.process_id, "process_id"),
        claims_request=None if ttl is None else ClaimsRequest(uid=record.uid, generation=record.generation, ttl=ttl),
    )


def _deletion(record: Record) -> Effect:
    dossier_id = required(record.dossier_id, "dossier_id")
    if record.deleted:
        return ReadDossier(dossier_id=dossier_id, expect_missing=True)
    tried = record.failures > 0 or record.doubt is EffectKind.DELETE_DOSSIER
    return DeleteDossier(dossier_id=dossier_id, expect_missing=tried or record.outcome is Outcome.LOST)


_BY_PHASE = {
    Phase.DOSSIER: _dossier,
    Phase.PROCESS: _process,
    Phase.IMAGES: _images,
    Phase.VERIFICATION: _verification,
    Phase.RESULT: _result,
    Phase.DELETION: _deletion,
}
