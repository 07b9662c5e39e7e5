"""Rules for the answers of Assure, phase by phase."""

from agent.core.assure_types import PROVIDER, Depiction, ListedProcess, ProcessReading, Status, StatusReason
from agent.core.effect import EffectKind
from agent.core.errors import Impossible, required
from agent.core.fast_replace import replace
from agent.core.lost_answers import Absence, absence, adoptable_process, deciding_process, next_search, started_process
from agent.core.observations import (
    BudgetExhausted,
    CaptureStarted,
    ClaimsEncryptionFailed,
    DocumentTypeGone,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectRefused,
    ImagesCompared,
    ImagesInvalid,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    ResultAvailable,
    RetryRequested,
    StartReserved,
    TargetMissing,
    VerificationStarted,
)
from agent.core.policy import Policy
from agent.core.record import HoldReason, Outcome, Phase, Record, Result
from agent.core.retry import backoff, start_spacing
from agent.core.rules.recovery import is_foreign, release_foreign_dossier
from agent.core.rules.transitions import (
    DOUBT_CLEARED,
    FAILURES_RESET,
    complete,
    effect_succeeded,
    next_attempt,
    place_hold,
    start_deletion,
)

# -- budget -----------------------------------------------------------------------------------


def start_reserved(record: Record, observation: StartReserved, _: Policy) -> Record:
    return replace(record, reserved_at=observation.at, queued=False, not_before=0.0)


def budget_exhausted(record: Record, observation: BudgetExhausted, _: Policy) -> Record:
    return replace(record, queued=True, not_before=observation.until)


def retry_requested(record: Record, _: RetryRequested, __: Policy) -> Record:
    """Who is queued asks for a start again; who is held for what may have healed looks again."""
    heals = record.hold is not None and record.hold.reason.self_healing
    return replace(record, not_before=0.0, queued=False) if record.queued or heals else record


# -- dossier -----------------------------------------------------------------------------------


def images_verified(record: Record, _: ImagesVerified, __: Policy) -> Record:
    cured = record.hold is not None and record.hold.reason is HoldReason.IMAGES_CHANGED
    return replace(record, verified=True, hold=None if cured else record.hold, not_before=0.0)


def images_invalid(record: Record, observation: ImagesInvalid, policy: Policy) -> Record:
    evidence = f"{observation.depiction} {observation.reason}"
    waiting = replace(record, intent=None, verified=False, not_before=observation.at + policy.image_recheck_interval)
    return place_hold(waiting, HoldReason.IMAGES_CHANGED, observation.at, evidence)


def dossier_created(record: Record, observation: DossierCreated, _: Policy) -> Record:
    return replace(effect_succeeded(record), phase=Phase.PROCESS, dossier_id=observation.dossier_id)


def dossier_searched(record: Record, observation: DossierSearched, policy: Policy) -> Record:
    if observation.dossier_id is not None:
        return replace(
            effect_succeeded(record), phase=Phase.PROCESS, dossier_id=observation.dossier_id, create_unknown=True
        )
    doubt_since = required(record.doubt_since, "doubt_since")
    if absence(observation, doubt_since, policy) is Absence.OPEN:
        later = next_search(observation.at, doubt_since, policy)
        return replace(record, searched_at=observation.at, not_before=later)
    pause = backoff(record.attempt, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(next_attempt(effect_succeeded(record)), not_before=observation.at + pause)


# -- process -----------------------------------------------------------------------------------


def process_created(record: Record, observation: ProcessCreated, _: Policy) -> Record:
    known = replace(
        effect_succeeded(record), process_id=observation.process_id, document_pages=observation.document_pages
    )
    if observation.status is not Status.PENDING:
        return replace(known, phase=Phase.RESULT, billed=True)  # not ours to start any more
    images = replace(known, phase=Phase.IMAGES)
    if observation.document_pages == 2 and not record.desired.has(Depiction.BACK):
        return place_hold(images, HoldReason.BACK_IMAGE_REQUIRED, observation.at, "documentPages 2")
    return images


def document_type_gone(record: Record, observation: DocumentTypeGone, _: Policy) -> Record:
    return place_hold(replace(record, intent=None), HoldReason.DOCUMENT_TYPE_GONE, observation.at, observation.reason)


def dossier_read_for_process(record: Record, observation: DossierRead, policy: Policy) -> Record:
    """The create was unknown: adopt what it made, or create again."""
    if is_foreign(record, observation.reading.reference):
        return release_foreign_dossier(record, observation.at, policy)
    processes = observation.reading.processes
    if record.desired.capture is not None and processes:
        # Its link was handed out: another link would be billed again.
        return _observe_running(replace(effect_succeeded(record), create_unknown=True))
    if moving := started_process(processes):
        return _observe_running(replace(effect_succeeded(record), process_id=moving.process_id, create_unknown=True))
    found = adoptable_process(processes, PROVIDER, record.desired.process_type)
    # A listed process does not tell its pages: without a back image only a fresh answer can prove that none is needed.
    if found is not None and record.desired.has(Depiction.BACK):
        return replace(effect_succeeded(record), phase=Phase.IMAGES, process_id=found.process_id, create_unknown=True)
    lagged_until = policy.grace_start(required(record.doubt_since, "doubt_since")) + policy.list_lag
    if found is not None or observation.at >= lagged_until:
        repeats = record.repeats + (found is None)  # reads that failed meanwhile do not slow the creation down
        pause = 0.0 if found is not None else backoff(repeats, observation.jitter, policy)
        settled = replace(record, doubt=None, doubt_since=None, create_unknown=True, repeats=repeats, failures=0)
        return replace(settled, not_before=observation.at + pause)
    return replace(record, not_before=max(lagged_until, observation.at + policy.min_read_interval))


def capture_started(record: Record, observation: CaptureStarted, policy: Policy) -> Record:
    return replace(
        effect_succeeded(record), phase=Phase.RESULT, billed=True, not_before=_next_fallback_poll(observation, policy)
    )


# -- images ------------------------------------------------------------------------------------


def images_uploaded(record: Record, _: ImagesUploaded, policy: Policy) -> Record:
    """No image is taken once the verification has started (contract §7): it is pending, and needs no read before.

    Unless something was in doubt: after an unknown create another process may have started, after a start that was
    refused this one [I2].
    """
    repeats, discard = record.repeats if record.resent else 0, policy.discard_images
    uploaded = replace(effect_succeeded(record), uploaded=True, repeats=repeats, discard=discard)
    if record.desired.read_back:
        return uploaded
    return replace(uploaded, phase=Phase.VERIFICATION, pending=not (record.create_unknown or record.resent))


def images_compared(record: Record, observation: ImagesCompared, _: Policy) -> Record:
    if observation.differing:
        return place_hold(record, HoldReason.IMAGES_DIFFER, observation.at, " ".join(observation.differing))
    return replace(record, phase=Phase.VERIFICATION, not_before=0.0, **FAILURES_RESET)


def process_read_for_images(record: Record, observation: ProcessRead, policy: Policy) -> Record:
    """The upload was unknown; while the process is pending it may be repeated. After a start: the last look."""
    read = replace(record, read_at=observation.at, **FAILURES_RESET)
    if observation.reading.status is not Status.PENDING:
        return process_read(_observe_running(read), observation, policy)
    return read if record.doubt is None else _did_not_happen(read, observation, policy)


# -- verification ------------------------------------------------------------------------------


def process_read_for_start(record: Record, observation: ProcessRead, policy: Policy) -> Record:
    if observation.reading.status is not Status.PENDING:
        return process_read(_observe_running(record), observation, policy)
    return _pending_read(replace(record, read_at=observation.at, **FAILURES_RESET), observation, policy)


def dossier_read_for_start(record: Record, observation: DossierRead, policy: Policy) -> Record:
    """After an unknown create all of the dossier is read: any process that is not pending forbids a start [I2]."""
    if moving := started_process(observation.reading.processes):
        return _observe_running(replace(record, process_id=moving.process_id, read_at=None))
    if not any(process.process_id == record.process_id for process in observation.reading.processes):
        return replace(record, not_before=_next_poll(observation, policy))  # a lagging read proves nothing
    return _pending_read(replace(record, read_at=observation.at, **FAILURES_RESET), observation, policy)


def _pending_read(record: Record, observation: Observation, policy: Policy) -> Record:
    """Nothing was started yet. After an unknown start, two such reads far enough apart are needed to believe it."""
    if record.doubt is not EffectKind.START_VERIFICATION:
        return replace(record, pending=True, not_before=0.0)
    since = policy.grace_start(record.pending_since) if record.pending_since is not None else observation.at
    proven_at = since + start_spacing(record.repeats, policy)
    if observation.at < proven_at:
        look = max(
            _next_poll(observation, policy), observation.at + min(observation.at - since, proven_at - observation.at)
        )
        return replace(record, pending_since=since, not_before=look)
    proven = replace(record, pending_since=None)
    refused = record.objection is not None and record.objection.reason is HoldReason.REFUSED
    if refused and not record.resent:  # for its images, perhaps: they may be sent again before the start (contract §7)
        owed_again = replace(proven, phase=Phase.IMAGES, uploaded=False, resent=True)
        return replace(owed_again, repeats=record.repeats + 1, not_before=0.0, **DOUBT_CLEARED)
    settled = _did_not_happen(proven, observation, policy)
    return replace(settled, pending=settled.hold is None)


def _did_not_happen(record: Record, observation: Observation, policy: Policy) -> Record:
    """The effect in doubt may be asked for again; but a person decides where it was refused, or surprises go on."""
    objection = record.objection
    free = replace(record, repeats=record.repeats + 1, not_before=0.0, **DOUBT_CLEARED)
    if objection is None or (
        objection.reason is HoldReason.UNEXPECTED_ANSWER and record.objections <= policy.unexpected_answers
    ):
        return free
    return place_hold(free, objection.reason, observation.at, objection.evidence)


def verification_started(record: Record, observation: VerificationStarted, policy: Policy) -> Record:
    soon = (
        observation.at + policy.min_read_interval
        if observation.status.final
        else _next_fallback_poll(observation, policy)
    )
    return replace(effect_succeeded(record), phase=Phase.RESULT, not_before=soon)


# -- result ------------------------------------------------------------------------------------


def _observe_running(record: Record) -> Record:
    """A verification runs already: observe it, start nothing."""
    return replace(record, phase=Phase.RESULT, billed=True, not_before=0.0, **DOUBT_CLEARED)


def process_read(record: Record, observation: ProcessRead, policy: Policy) -> Record:
    reading = observation.reading
    read = replace(record, read_at=observation.at, **FAILURES_RESET)
    if not reading.status.final:
        capture = record.desired.capture is not None  # its choice of process may have been a lagging list: choose again
        process_id = None if capture else record.process_id
        return replace(read, process_id=process_id, not_before=_next_fallback_poll(observation, policy))
    sealed, keeps = observation.encrypted_claims, record.desired.claims_ttl is not None
    if keeps and sealed is None and reading.status is Status.ACCEPTED:
        raise Impossible("an accepted result came without the claims that are kept first")
    kept = replace(read, claims_until=sealed.expires_at if sealed is not None else None)
    return start_deletion(kept, observation.at, Outcome(reading.status.value), _result(reading))


def _result(reading: ProcessReading) -> Result:
    return Result(
        status=reading.status,
        reasons=tuple(sorted(reading.reasons, key=_reason_key)),
        checks=reading.checks,
        fail_type=reading.fail_type,
        similarity=reading.similarity,
    )


def claims_encryption_failed(record: Record, observation: ClaimsEncryptionFailed, policy: Policy) -> Record:
    """Accepted, and its claims cannot be kept: the dossier stays, it is read again a few times, then a person is asked.

    The result is known from here on: whatever ends the wait (a person, the deadline, HOLD_TTL), it is the outcome.
    """
    surprises = record.unexpected_answers + 1
    observed = record if record.phase is Phase.RESULT else _observe_running(effect_succeeded(record))
    wait = observation.at + backoff(surprises, observation.jitter, policy, floor=policy.min_read_interval)
    known = replace(
        observed,
        read_at=observation.at,
        result=_result(observation.reading),
        unexpected_answers=surprises,
        not_before=wait,
    )
    if surprises <= policy.unexpected_answers:
        return known
    return place_hold(known, HoldReason.CLAIMS_NOT_KEPT, observation.at, observation.reason)


def dossier_read_for_result(record: Record, observation: DossierRead, policy: Policy) -> Record:
    """Capture: which process decides? None yet is the rule while the person takes the pictures."""
    chosen: ListedProcess | None = deciding_process(observation.reading.processes)
    read = replace(record, read_at=observation.at, **FAILURES_RESET)
    if chosen is None:
        return replace(read, not_before=_next_fallback_poll(observation, policy))
    return replace(read, process_id=chosen.process_id, read_at=None, not_before=0.0)  # its own read decides


def result_available(record: Record, observation: ResultAvailable, policy: Policy) -> Record:
    """Read now, but never more often than `min_read_interval`. After failed reads, keep the backoff."""
    if record.failures or record.unexpected_answers or record.missing:
        return record
    earliest = record.read_at + policy.min_read_interval if record.read_at is not None else observation.at
    return replace(record, not_before=min(record.not_before, max(observation.at, earliest)))


def _next_fallback_poll(observation: Observation, policy: Policy) -> float:
    return observation.at + max(policy.poll_fallback, policy.min_read_interval)


def _next_poll(observation: Observation, policy: Policy) -> float:
    return observation.at + max(policy.poll_interval, policy.min_read_interval)


def _reason_key(reason: StatusReason) -> tuple[str, str, str]:
    return (reason.type, reason.category, reason.sub_category or "")


# -- deletion ----------------------------------------------------------------------------------


def dossier_deleted(record: Record, _: DossierDeleted, __: Policy) -> Record:
    return replace(effect_succeeded(record), deleted=True)


def dossier_not_deleted(record: Record, observation: DossierRead, policy: Policy) -> Record:
    """The deletion was answered, and the dossier can still be read: a lagging read, or it did not happen."""
    failures = record.failures + 1
    wait = observation.at + backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, failures=failures, deleted=failures % 3 != 0, not_before=wait)


def missing_in_deletion(record: Record, observation: TargetMissing, _: Policy) -> Record:
    """404 to DELETE: it is deleted. 404 to the read after it: that is the confirmation."""
    if observation.kind is EffectKind.DELETE_DOSSIER:
        return replace(effect_succeeded(record), deleted=True)
    return complete(record, observation.at)


def refused_in_deletion(record: Record, observation: EffectRefused, policy: Policy) -> Record:
    """A failing deletion is tried for ever, never held (design §4)."""
    failures = record.failures + 1
    wait = observation.at + backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, intent=None, failures=failures, not_before=wait)
