"""Rules for successful answers of Assure, by phase."""

from typing import Any

from agent.core import observations as o
from agent.core.assure_types import PROVIDER, Depiction, ListedProcess, ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.errors import Impossible, required
from agent.core.fast_replace import replace
from agent.core.lost_answers import Absence, absence, adoptable_process, deciding_process, next_search, started_process
from agent.core.policy import Policy
from agent.core.record import HoldReason, Outcome, Phase, Record, Result
from agent.core.retry import backoff, start_spacing
from agent.core.rules.recovery import is_foreign, release_foreign_dossier
from agent.core.rules.transitions import (
    DOUBT_CLEARED,
    FAILURES_RESET,
    SUCCEEDED,
    complete,
    next_attempt,
    place_hold,
    start_deletion,
)

# -- budget -----------------------------------------------------------------------------------


def start_reserved(record: Record, observation: o.StartReserved, _: Policy) -> Record:
    return replace(record, reserved_at=observation.at, queued=False, not_before=0.0)


def budget_exhausted(record: Record, observation: o.BudgetExhausted, _: Policy) -> Record:
    return replace(record, queued=True, not_before=observation.until)


def retry_requested(record: Record, _: o.RetryRequested, __: Policy) -> Record:
    """Make a queued request reserve a start, and check again the cause of a hold that may have disappeared."""
    heals = record.hold is not None and record.hold.reason.self_healing
    return replace(record, not_before=0.0, queued=False) if record.queued or heals else record


# -- dossier -----------------------------------------------------------------------------------


def images_verified(record: Record, _: o.ImagesVerified, __: Policy) -> Record:
    cured = record.hold is not None and record.hold.reason is HoldReason.IMAGES_CHANGED
    return replace(record, verified=True, hold=None if cured else record.hold, not_before=0.0)


def images_invalid(record: Record, observation: o.ImagesInvalid, policy: Policy) -> Record:
    evidence = f"{observation.depiction} {observation.reason}"
    waiting = replace(record, intent=None, verified=False, not_before=observation.at + policy.image_recheck_interval)
    return place_hold(waiting, HoldReason.IMAGES_CHANGED, observation.at, evidence)


def dossier_created(record: Record, observation: o.DossierCreated, _: Policy) -> Record:
    return replace(record, phase=Phase.PROCESS, dossier_id=observation.dossier_id, not_before=0.0, **SUCCEEDED)


def dossier_searched(record: Record, observation: o.DossierSearched, policy: Policy) -> Record:
    if observation.dossier_id is not None:
        found = replace(record, dossier_id=observation.dossier_id, create_unknown=True)
        return replace(found, phase=Phase.PROCESS, not_before=0.0, **SUCCEEDED)
    doubt_since = required(record.doubt_since, "doubt_since")
    if absence(observation, doubt_since, policy) is Absence.OPEN:
        later = next_search(observation.at, doubt_since, policy)
        return replace(record, searched_at=observation.at, not_before=later)
    pause = backoff(record.attempt, observation.jitter, policy, floor=policy.min_read_interval)
    return next_attempt(replace(record, not_before=observation.at + pause, **SUCCEEDED))


# -- process -----------------------------------------------------------------------------------


def process_created(record: Record, observation: o.ProcessCreated, _: Policy) -> Record:
    pages, process_id = observation.document_pages, observation.process_id
    begun = observation.status is not Status.PENDING  # the verification has already started
    phase, billed = (Phase.RESULT, True) if begun else (Phase.IMAGES, record.billed)
    created = replace(
        record, phase=phase, billed=billed, process_id=process_id, document_pages=pages, not_before=0.0, **SUCCEEDED
    )
    if not begun and pages == 2 and not record.desired.has(Depiction.BACK):
        return place_hold(created, HoldReason.BACK_IMAGE_REQUIRED, observation.at, "documentPages 2")
    return created


def document_type_gone(record: Record, observation: o.DocumentTypeGone, _: Policy) -> Record:
    return place_hold(replace(record, intent=None), HoldReason.DOCUMENT_TYPE_GONE, observation.at, observation.reason)


def dossier_read_for_process(record: Record, observation: o.DossierRead, policy: Policy) -> Record:
    """After an unknown create, adopt the created process or create it again."""
    if is_foreign(record, observation.reading.reference):
        return release_foreign_dossier(record, observation.at, policy)
    processes = observation.reading.processes
    if record.desired.capture is not None and processes:
        # The end user has the link. Assure would bill another one again.
        return _observe_running(replace(record, create_unknown=True, **SUCCEEDED))
    if moving := started_process(processes):
        return _observe_running(replace(record, process_id=moving.process_id, create_unknown=True, **SUCCEEDED))
    found = adoptable_process(processes, PROVIDER, record.desired.process_type)
    # A listed process has no page count. Without a back image, the agent needs a new answer with the page count.
    if found is not None and record.desired.has(Depiction.BACK):
        adopted = replace(record, process_id=found.process_id, create_unknown=True)
        return replace(adopted, phase=Phase.IMAGES, not_before=0.0, **SUCCEEDED)
    lagged_until = policy.grace_start(required(record.doubt_since, "doubt_since")) + policy.list_lag
    if found is not None or observation.at >= lagged_until:
        repeats = record.repeats + (found is None)  # failed reads do not slow the create down
        pause = 0.0 if found is not None else backoff(repeats, observation.jitter, policy)
        settled = replace(record, doubt=None, doubt_since=None, create_unknown=True, repeats=repeats, failures=0)
        return replace(settled, not_before=observation.at + pause)
    return replace(record, not_before=max(lagged_until, observation.at + policy.min_read_interval))


def capture_started(record: Record, observation: o.CaptureStarted, policy: Policy) -> Record:
    poll_at = _next_fallback_poll(observation, policy)
    return replace(record, phase=Phase.RESULT, billed=True, not_before=poll_at, **SUCCEEDED)


# -- images ------------------------------------------------------------------------------------


def images_uploaded(record: Record, _: o.ImagesUploaded, policy: Policy) -> Record:
    """Continue with the verification. Assure accepts images only before a start, so it is pending (contract §7).

    A doubt requires a read first [I2]. After an unknown create another process may have started. After a refused start,
    this one may have.
    """
    repeats, discard = record.repeats if record.resent else 0, policy.discard_images
    changes: dict[str, Any] = {"uploaded": True, "repeats": repeats, "discard": discard, "not_before": 0.0, **SUCCEEDED}
    if not record.desired.read_back:
        changes |= {"phase": Phase.VERIFICATION, "pending": not (record.create_unknown or record.resent)}
    return replace(record, **changes)


def images_compared(record: Record, observation: o.ImagesCompared, _: Policy) -> Record:
    if observation.differing:
        return place_hold(record, HoldReason.IMAGES_DIFFER, observation.at, " ".join(observation.differing))
    return replace(record, phase=Phase.VERIFICATION, not_before=0.0, **FAILURES_RESET)


def process_read_for_images(record: Record, observation: o.ProcessRead, policy: Policy) -> Record:
    """After an unknown upload, repeat it while the process is pending. After a start, apply the result."""
    read = replace(record, read_at=observation.at, **FAILURES_RESET)
    if observation.reading.status is not Status.PENDING:
        return process_read(_observe_running(read), observation, policy)
    return read if record.doubt is None else _did_not_happen(read, observation, policy)


# -- verification ------------------------------------------------------------------------------


def process_read_for_start(record: Record, observation: o.ProcessRead, policy: Policy) -> Record:
    if observation.reading.status is not Status.PENDING:
        return process_read(_observe_running(record), observation, policy)
    return _pending_read(replace(record, read_at=observation.at, **FAILURES_RESET), observation, policy)


def dossier_read_for_start(record: Record, observation: o.DossierRead, policy: Policy) -> Record:
    """After an unknown create, read the whole dossier. Any process that is not pending forbids a start [I2]."""
    if moving := started_process(observation.reading.processes):
        return _observe_running(replace(record, process_id=moving.process_id, read_at=None))
    if not any(process.process_id == record.process_id for process in observation.reading.processes):
        return replace(record, not_before=_next_poll(observation, policy))  # the read lags, and proves nothing
    return _pending_read(replace(record, read_at=observation.at, **FAILURES_RESET), observation, policy)


def _pending_read(record: Record, observation: o.Observation, policy: Policy) -> Record:
    """Record that nothing was started. After an unknown start, two such reads with time between them prove it."""
    if record.doubt is not EffectKind.START_VERIFICATION:
        return replace(record, pending=True, not_before=0.0)
    since = policy.grace_start(record.pending_since) if record.pending_since is not None else observation.at
    proven_at = since + start_spacing(record.repeats, policy)
    if observation.at < proven_at:
        next_read = observation.at + min(observation.at - since, proven_at - observation.at)
        return replace(record, pending_since=since, not_before=max(_next_poll(observation, policy), next_read))
    proven = replace(record, pending_since=None)
    refused = record.objection is not None and record.objection.reason is HoldReason.REFUSED
    if refused and not record.resent:  # perhaps because of the images: upload them again before the start (contract §7)
        images = replace(proven, phase=Phase.IMAGES, uploaded=False, resent=True)
        return replace(images, repeats=record.repeats + 1, not_before=0.0, **DOUBT_CLEARED)
    settled = _did_not_happen(proven, observation, policy)
    return replace(settled, pending=settled.hold is None)


def _did_not_happen(record: Record, observation: o.Observation, policy: Policy) -> Record:
    """Allow a repeat of the effect in doubt. Hold the request after a refusal or after repeated unexpected answers."""
    objection = record.objection
    free = replace(record, repeats=record.repeats + 1, not_before=0.0, **DOUBT_CLEARED)
    if objection is None or (
        objection.reason is HoldReason.UNEXPECTED_ANSWER and record.objections <= policy.unexpected_answers
    ):
        return free
    return place_hold(free, objection.reason, observation.at, objection.evidence)


def verification_started(record: Record, observation: o.VerificationStarted, policy: Policy) -> Record:
    final, soon = observation.status.final, observation.at + policy.min_read_interval
    not_before = soon if final else _next_fallback_poll(observation, policy)
    return replace(record, phase=Phase.RESULT, not_before=not_before, **SUCCEEDED)


# -- result ------------------------------------------------------------------------------------


def _observe_running(record: Record) -> Record:
    """Wait for the result of a verification that has already started."""
    return replace(record, phase=Phase.RESULT, billed=True, not_before=0.0, **DOUBT_CLEARED)


def process_read(record: Record, observation: o.ProcessRead, policy: Policy) -> Record:
    reading = observation.reading
    if not reading.status.final:
        # For a capture, the list with this process may have lagged: choose again.
        process_id = None if record.desired.mode == "capture" else record.process_id
        poll_at = _next_fallback_poll(observation, policy)
        return replace(record, read_at=observation.at, process_id=process_id, not_before=poll_at, **FAILURES_RESET)
    claims = observation.encrypted_claims
    if record.desired.claims_ttl is not None and claims is None and reading.status is Status.ACCEPTED:
        raise Impossible("An accepted result contains no claims, but the request keeps them.")
    read = replace(record, read_at=observation.at, claims_until=claims.expires_at if claims is not None else None)
    return start_deletion(read, observation.at, Outcome(reading.status.value), _result(reading))


def _result(reading: ProcessReading) -> Result:
    return Result(
        status=reading.status,
        reasons=tuple(sorted(reading.reasons, key=lambda one: (one.type, one.category, one.sub_category or ""))),
        checks=reading.checks,
        fail_type=reading.fail_type,
        similarity=reading.similarity,
    )


def claims_encryption_failed(record: Record, observation: o.ClaimsEncryptionFailed, policy: Policy) -> Record:
    """Read an accepted process again when its claims cannot be encrypted. Hold it after several reads.

    From here on the result is known. It becomes the outcome, if the operator, the deadline or HOLD_TTL ends the wait.
    """
    unexpected = record.unexpected_answers + 1
    observed = record if record.phase is Phase.RESULT else _observe_running(replace(record, **SUCCEEDED))
    wait = observation.at + backoff(unexpected, observation.jitter, policy, floor=policy.min_read_interval)
    result = _result(observation.reading)
    known = replace(observed, read_at=observation.at, result=result, unexpected_answers=unexpected, not_before=wait)
    if unexpected <= policy.unexpected_answers:
        return known
    return place_hold(known, HoldReason.CLAIMS_NOT_KEPT, observation.at, observation.reason)


def dossier_read_for_result(record: Record, observation: o.DossierRead, policy: Policy) -> Record:
    """Choose the process that decides a capture request. There is usually none while the end user takes the images."""
    chosen: ListedProcess | None = deciding_process(observation.reading.processes)
    read = replace(record, read_at=observation.at, **FAILURES_RESET)
    if chosen is None:
        return replace(read, not_before=_next_fallback_poll(observation, policy))
    return replace(read, process_id=chosen.process_id, read_at=None, not_before=0.0)  # a read of this process decides


def result_available(record: Record, observation: o.ResultAvailable, policy: Policy) -> Record:
    """Read now, but not more often than `min_read_interval`. After failed reads the backoff applies."""
    if record.failures or record.unexpected_answers or record.missing:
        return record
    earliest = record.read_at + policy.min_read_interval if record.read_at is not None else observation.at
    return replace(record, not_before=min(record.not_before, max(observation.at, earliest)))


def _next_fallback_poll(observation: o.Observation, policy: Policy) -> float:
    return observation.at + max(policy.poll_fallback, policy.min_read_interval)


def _next_poll(observation: o.Observation, policy: Policy) -> float:
    return observation.at + max(policy.poll_interval, policy.min_read_interval)


# -- deletion ----------------------------------------------------------------------------------


def dossier_deleted(record: Record, _: o.DossierDeleted, __: Policy) -> Record:
    return replace(record, deleted=True, not_before=0.0, **SUCCEEDED)


def dossier_not_deleted(record: Record, observation: o.DossierRead, policy: Policy) -> Record:
    """Repeat the read after a deletion, because reads may lag. Every third time, repeat the deletion."""
    failures = record.failures + 1
    wait = observation.at + backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, failures=failures, deleted=failures % 3 != 0, not_before=wait)


def missing_in_deletion(record: Record, observation: o.TargetMissing, _: Policy) -> Record:
    """Record a 404 to the deletion as deleted. A 404 to the read after it confirms the deletion."""
    if observation.kind is EffectKind.DELETE_DOSSIER:
        return replace(record, deleted=True, not_before=0.0, **SUCCEEDED)
    return complete(record, observation.at)


def refused_in_deletion(record: Record, observation: o.EffectRefused, policy: Policy) -> Record:
    """Repeat a failed deletion without a limit and without a hold (design §4)."""
    failures = record.failures + 1
    wait = observation.at + backoff(failures, observation.jitter, policy, floor=policy.min_read_interval)
    return replace(record, intent=None, failures=failures, not_before=wait)
