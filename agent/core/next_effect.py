"""The next effect of a record, and the time when it is due.

This module reads a record and never changes it. The effect follows from the saved record, not from the observation
that woke the agent, so a restart needs only the record.
"""

from agent.core import effect as e
from agent.core.errors import required
from agent.core.policy import Policy
from agent.core.record import HoldReason, Outcome, Phase, Record


def deletion_deadline(record: Record, policy: Policy) -> float | None:
    """When the dossier must be deleted without an outcome: the deadline, or HOLD_TTL after a hold. None: no dossier."""
    deadline = record.deadline_at
    if deadline is None or record.outcome is not None:
        return None
    if record.hold is not None and record.hold.reason.blocks:
        return min(deadline, record.hold.at + policy.hold_ttl)
    return deadline


def overdue(record: Record, at: float, policy: Policy) -> bool:
    """True when the deadline for the deletion is over."""
    clock = deletion_deadline(record, policy)
    return clock is not None and at >= clock


def next_due_at(record: Record, at: float, policy: Policy) -> float | None:
    """When the record is due. None: only an observation continues it."""
    if record.intent is not None:
        return record.intent.at
    if record.phase is Phase.DONE:
        return None
    if record.phase is Phase.DELETION:
        rest = record.delete_at if record.delete_at is not None and not record.deleted else 0.0
        return max(record.not_before, rest)
    deadline = deletion_deadline(record, policy)
    if deadline is None:
        return _work_due(record, policy)
    if at >= deadline:
        return _late_read_due(record, policy)
    work = _work_due(record, policy)
    return deadline if work is None else min(work, deadline)


def _work_due(record: Record, policy: Policy) -> float | None:
    in_doubt = record.doubt is e.EffectKind.CREATE_DOSSIER
    if in_doubt and (record.next is not None or not record.present):
        return record.not_before  # for any hold: a created dossier must be found before it can be deleted
    if record.desired.suspend and not (in_doubt and record.hold is None):  # a search starts nothing, and cannot wait
        return None
    if record.hold is not None and record.hold.reason.blocks:
        return record.not_before if record.hold.reason.self_healing else None
    return record.not_before if record.pending else _paced(record, policy)


def _late_read_due(record: Record, policy: Policy) -> float:
    """At once when the deadline is over. After failed reads, at the time that their backoff set."""
    if record.failures or record.missing or record.unexpected_answers:
        return _paced(record, policy)
    return record.read_at + policy.min_read_interval if record.read_at is not None else 0.0


def _paced(record: Record, policy: Policy) -> float:
    """A start needs a read first. No process is read more often than `min_read_interval`."""
    if record.phase is Phase.VERIFICATION and record.read_at is not None:
        return max(record.not_before, record.read_at + policy.min_read_interval)
    return record.not_before


def next_effect(record: Record, at: float, due_at: float | None, policy: Policy) -> e.Effect | None:
    """The effect of a record that is due at `due_at`. None: it is not due yet, or no effect may follow."""
    if record.intent is not None or due_at is None or at < due_at:
        return None
    effect = effect_for(record, at, policy)
    if policy.creates_blocked and effect.kind is e.EffectKind.CREATE_DOSSIER:
        return None
    return None if policy.paused and effect.kind.starts_work else effect


def blocks_creates(record: Record, policy: Policy) -> bool:
    """True while an unanswered create may have left a dossier, and no search since then could show it.

    GET dossiers lists the newest 100 only (contract §4). The agent searches before new dossiers displace this one.
    After one list that had to contain it, only a late call can still create it, and that dossier is newer.
    """
    if record.intent is not None or record.doubt is not e.EffectKind.CREATE_DOSSIER or record.doubt_since is None:
        return False
    return record.searched_at is None or record.searched_at < policy.grace_start(record.doubt_since) + policy.list_lag


def effect_for(record: Record, at: float, policy: Policy) -> e.Effect:
    """The effect of the record once it is due. The phase is not `done`."""
    if record.hold is not None and record.hold.reason is HoldReason.IMAGES_CHANGED:
        return e.VerifyImages(images=record.desired.images)
    if record.hold is not None and record.hold.reason is HoldReason.CLAIMS_NOT_KEPT:
        return _reading(record)
    if record.phase is Phase.VERIFICATION and overdue(record, at, policy):
        return _read_before_start(record)  # too late for a start: one more read, then the deadline decides
    if record.phase is Phase.IMAGES and record.resent and overdue(record, at, policy):
        # Too late for a repeated upload: one more read, then the deadline decides.
        return e.ReadProcess(
            dossier_id=required(record.dossier_id, "dossier_id"), process_id=required(record.process_id, "process_id")
        )
    if policy.budgeted and record.phase is Phase.DOSSIER and record.reserved_at is None and record.doubt is None:
        return e.ReserveStart(uid=record.uid, generation=record.generation)
    return _BY_PHASE[record.phase](record)


def _dossier(record: Record) -> e.Effect:
    if record.doubt is e.EffectKind.CREATE_DOSSIER:
        return e.FindDossier(reference=record.reference, since=record.doubt_since or 0.0)
    if record.desired.images and not record.verified:
        return e.VerifyImages(images=record.desired.images)
    return e.CreateDossier(reference=record.reference)


def _process(record: Record) -> e.Effect:
    dossier_id = required(record.dossier_id, "dossier_id")
    if record.doubt is e.EffectKind.CREATE_PROCESS:
        return e.ReadDossier(dossier_id=dossier_id)
    desired = record.desired
    if desired.capture is not None:
        return e.StartCapture(dossier_id=dossier_id, options=desired.capture)
    return e.CreateProcess(
        dossier_id=dossier_id,
        process_type=desired.process_type,
        document_id=required(desired.document_id, "document_id"),
        document_type=desired.document_type,
    )


def _images(record: Record) -> e.Effect:
    dossier_id, process_id = required(record.dossier_id, "dossier_id"), required(record.process_id, "process_id")
    images = record.desired.images
    if record.doubt is e.EffectKind.UPLOAD_IMAGES:
        return _reading(record)
    if record.uploaded:
        return e.CompareImages(dossier_id=dossier_id, process_id=process_id, images=images)
    return e.UploadImages(dossier_id=dossier_id, process_id=process_id, images=images)


def _verification(record: Record) -> e.Effect:
    dossier_id, process_id = required(record.dossier_id, "dossier_id"), required(record.process_id, "process_id")
    if record.pending:
        return e.StartVerification(dossier_id=dossier_id, process_id=process_id)
    return _read_before_start(record)


def _read_before_start(record: Record) -> e.Effect:
    """Read whether the process is pending. After an unknown create, read every process of the dossier."""
    return (
        e.ReadDossier(dossier_id=required(record.dossier_id, "dossier_id"))
        if record.create_unknown
        else _reading(record)
    )


def _result(record: Record) -> e.Effect:
    return (
        e.ReadDossier(dossier_id=required(record.dossier_id, "dossier_id"))
        if record.process_id is None
        else _reading(record)
    )


def _reading(record: Record) -> e.ReadProcess:
    """A read for any purpose may return a final status, and the claims must come with it."""
    ttl = record.desired.claims_ttl
    return e.ReadProcess(
        dossier_id=required(record.dossier_id, "dossier_id"),
        process_id=required(record.process_id, "process_id"),
        claims_request=None if ttl is None else e.ClaimsRequest(uid=record.uid, generation=record.generation, ttl=ttl),
    )


def _deletion(record: Record) -> e.Effect:
    dossier_id = required(record.dossier_id, "dossier_id")
    if record.deleted:
        return e.ReadDossier(dossier_id=dossier_id, expect_missing=True)
    tried = record.failures > 0 or record.doubt is e.EffectKind.DELETE_DOSSIER
    return e.DeleteDossier(dossier_id=dossier_id, expect_missing=tried or record.outcome is Outcome.LOST)


_BY_PHASE = {
    Phase.DOSSIER: _dossier,
    Phase.PROCESS: _process,
    Phase.IMAGES: _images,
    Phase.VERIFICATION: _verification,
    Phase.RESULT: _result,
    Phase.DELETION: _deletion,
}
