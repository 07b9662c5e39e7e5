"""Rules for the answers of Assure, phase by phase."""

from agent.core.assure_types import PROVIDER, Depiction, ListedProcess, ProcessReading, Reason, Status
from agent.core.effect import EffectKind
from agent.core.fast_replace import replace
from agent.core.lost_answers import Absence, absence, adoptable, decided, next_search, started
from agent.core.observations import (
    BudgetSpent,
    CaptureStarted,
    DocumentTypeGone,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectRefused,
    ImagesCompared,
    ImagesUnfit,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    Reconsidered,
    ResultSighted,
    SealingFailed,
    StartReserved,
    TargetMissing,
    VerificationStarted,
)
from agent.core.policy import Policy
from agent.core.record import HoldReason, Outcome, Phase, Record, Result
from agent.core.retry import backoff, start_distance
from agent.core.rules.recovery import foreign, given_back
from agent.core.rules.transitions import PROGRESS, SETTLED, again, close, done, finish, hold

# -- budget -----------------------------------------------------------------------------------


def start_reserved(record: Record, seen: StartReserved, _: Policy) -> Record:
    return replace(record, reserved_at=seen.at, queued=False, not_before=0.0)


def budget_spent(record: Record, seen: BudgetSpent, _: Policy) -> Record:
    return replace(record, queued=True, not_before=seen.until)


def reconsidered(record: Record, _: Reconsidered, __: Policy) -> Record:
    """Who is queued asks for a start again; who is held for what may have healed looks again."""
    heals = record.hold is not None and record.hold.reason.heals
    return replace(record, not_before=0.0, queued=False) if record.queued or heals else record


# -- dossier -----------------------------------------------------------------------------------


def images_verified(record: Record, _: ImagesVerified, __: Policy) -> Record:
    cured = record.hold is not None and record.hold.reason is HoldReason.IMAGES_CHANGED
    return replace(record, verified=True, hold=None if cured else record.hold, not_before=0.0)


def images_unfit(record: Record, seen: ImagesUnfit, policy: Policy) -> Record:
    evidence = f"{seen.depiction} {seen.reason}"
    waiting = replace(record, intent=None, verified=False, not_before=seen.at + policy.recheck)
    return hold(waiting, HoldReason.IMAGES_CHANGED, seen.at, evidence)


def dossier_created(record: Record, seen: DossierCreated, _: Policy) -> Record:
    return replace(done(record), phase=Phase.PROCESS, dossier_id=seen.dossier_id)


def dossier_searched(record: Record, seen: DossierSearched, policy: Policy) -> Record:
    if seen.dossier_id is not None:
        return replace(done(record), phase=Phase.PROCESS, dossier_id=seen.dossier_id, unsure=True)
    assert record.doubt_since is not None
    if absence(seen, record.doubt_since, policy) is Absence.OPEN:
        later = next_search(seen.at, record.doubt_since, policy)
        return replace(record, searched_at=seen.at, not_before=later)
    pause = backoff(record.attempt, seen.chance, policy, floor=policy.read_gap)
    return replace(again(done(record)), not_before=seen.at + pause)


# -- process -----------------------------------------------------------------------------------


def process_created(record: Record, seen: ProcessCreated, _: Policy) -> Record:
    known = replace(done(record), process_id=seen.process_id, document_pages=seen.document_pages)
    if seen.status is not Status.PENDING:
        return replace(known, phase=Phase.RESULT, billed=True)  # not ours to start any more
    images = replace(known, phase=Phase.IMAGES)
    if seen.document_pages == 2 and not record.desired.has(Depiction.BACK):
        return hold(images, HoldReason.BACK_IMAGE_REQUIRED, seen.at, "documentPages 2")
    return images


def document_type_gone(record: Record, seen: DocumentTypeGone, _: Policy) -> Record:
    return hold(replace(record, intent=None), HoldReason.DOCUMENT_TYPE_GONE, seen.at, seen.reason)


def dossier_read_for_process(record: Record, seen: DossierRead, policy: Policy) -> Record:
    """The create was unknown: adopt what it made, or create again."""
    if foreign(record, seen.reading.reference):
        return given_back(record, seen.at, policy)
    processes = seen.reading.processes
    if record.desired.capture is not None and processes:
        return _observe(replace(done(record), unsure=True))  # its link was handed out: another would bill once more
    if moving := started(processes):
        return _observe(replace(done(record), process_id=moving.process_id, unsure=True))
    found = adoptable(processes, PROVIDER, record.desired.process_type)
    # A listed process does not tell its pages: without a back image only a fresh answer can prove that none is needed.
    if found is not None and record.desired.has(Depiction.BACK):
        return replace(done(record), phase=Phase.IMAGES, process_id=found.process_id, unsure=True)
    assert record.doubt_since is not None
    lagged_until = policy.since(record.doubt_since) + policy.lag_grace
    if found is not None or seen.at >= lagged_until:
        repeats = record.repeats + (found is None)  # reads that failed meanwhile do not slow the creation down
        pause = 0.0 if found is not None else backoff(repeats, seen.chance, policy)
        settled = replace(record, doubt=None, doubt_since=None, unsure=True, repeats=repeats, failures=0)
        return replace(settled, not_before=seen.at + pause)
    return replace(record, not_before=max(lagged_until, seen.at + policy.read_gap))


def capture_started(record: Record, seen: CaptureStarted, policy: Policy) -> Record:
    return replace(done(record), phase=Phase.RESULT, billed=True, not_before=_own_look(seen, policy))


# -- images ------------------------------------------------------------------------------------


def images_uploaded(record: Record, _: ImagesUploaded, policy: Policy) -> Record:
    """No image is taken once the verification has started (contract §7): it is pending, and needs no read before.

    Unless something was in doubt: after an unknown create another process may have started, after a start that was
    refused this one [I2].
    """
    repeats, discard = record.repeats if record.resent else 0, policy.discard_images
    uploaded = replace(done(record), uploaded=True, repeats=repeats, discard=discard)
    if record.desired.read_back:
        return uploaded
    return replace(uploaded, phase=Phase.VERIFICATION, pending=not (record.unsure or record.resent))


def images_compared(record: Record, seen: ImagesCompared, _: Policy) -> Record:
    if seen.differing:
        return hold(record, HoldReason.IMAGES_DIFFER, seen.at, " ".join(seen.differing))
    return replace(record, phase=Phase.VERIFICATION, not_before=0.0, **PROGRESS)


def process_read_for_images(record: Record, seen: ProcessRead, policy: Policy) -> Record:
    """The upload was unknown; while the process is pending it may be repeated. After a start: the last look."""
    read = replace(record, read_at=seen.at, **PROGRESS)
    if seen.reading.status is not Status.PENDING:
        return process_read(_observe(read), seen, policy)
    return read if record.doubt is None else _did_not_happen(read, seen, policy)


# -- verification ------------------------------------------------------------------------------


def process_read_for_start(record: Record, seen: ProcessRead, policy: Policy) -> Record:
    if seen.reading.status is not Status.PENDING:
        return process_read(_observe(record), seen, policy)
    return _pending_read(replace(record, read_at=seen.at, **PROGRESS), seen, policy)


def dossier_read_for_start(record: Record, seen: DossierRead, policy: Policy) -> Record:
    """After an unknown create all of the dossier is read: any process that is not pending forbids a start [I2]."""
    if moving := started(seen.reading.processes):
        return _observe(replace(record, process_id=moving.process_id, read_at=None))
    if not any(process.process_id == record.process_id for process in seen.reading.processes):
        return replace(record, not_before=_later(seen, policy))  # a lagging read proves nothing
    return _pending_read(replace(record, read_at=seen.at, **PROGRESS), seen, policy)


def _pending_read(record: Record, seen: Observation, policy: Policy) -> Record:
    """Nothing was started yet. After an unknown start, two such reads far enough apart are needed to believe it."""
    if record.doubt is not EffectKind.START_VERIFICATION:
        return replace(record, pending=True, not_before=0.0)
    since = policy.since(record.pending_since) if record.pending_since is not None else seen.at
    proven_at = since + start_distance(record.repeats, policy)
    if seen.at < proven_at:
        look = max(_later(seen, policy), seen.at + min(seen.at - since, proven_at - seen.at))
        return replace(record, pending_since=since, not_before=look)
    proven = replace(record, pending_since=None)
    refused = record.objection is not None and record.objection.reason is HoldReason.REFUSED
    if refused and not record.resent:  # for its images, perhaps: they may be sent again before the start (contract §7)
        owed_again = replace(proven, phase=Phase.IMAGES, uploaded=False, resent=True)
        return replace(owed_again, repeats=record.repeats + 1, not_before=0.0, **SETTLED)
    settled = _did_not_happen(proven, seen, policy)
    return replace(settled, pending=settled.hold is None)


def _did_not_happen(record: Record, seen: Observation, policy: Policy) -> Record:
    """The effect in doubt may be asked for again; but a person decides where it was refused, or surprises go on."""
    objection = record.objection
    free = replace(record, repeats=record.repeats + 1, not_before=0.0, **SETTLED)
    if objection is None or (objection.reason is HoldReason.SURPRISE and record.objections <= policy.surprises):
        return free
    return hold(free, objection.reason, seen.at, objection.evidence)


def verification_started(record: Record, seen: VerificationStarted, policy: Policy) -> Record:
    soon = seen.at + policy.read_gap if seen.status.final else _own_look(seen, policy)
    return replace(done(record), phase=Phase.RESULT, not_before=soon)


# -- result ------------------------------------------------------------------------------------


def _observe(record: Record) -> Record:
    """A verification runs already: observe it, start nothing."""
    return replace(record, phase=Phase.RESULT, billed=True, not_before=0.0, **SETTLED)


def process_read(record: Record, seen: ProcessRead, policy: Policy) -> Record:
    reading = seen.reading
    read = replace(record, read_at=seen.at, **PROGRESS)
    if not reading.status.final:
        capture = record.desired.capture is not None  # its choice of process may have been a lagging list: choose again
        process_id = None if capture else record.process_id
        return replace(read, process_id=process_id, not_before=_own_look(seen, policy))
    sealed, keeps = seen.sealed, record.desired.claims_ttl is not None
    assert sealed is not None or not keeps or reading.status is not Status.ACCEPTED, "claims are kept before all else"
    kept = replace(read, claims_until=sealed.expires_at if sealed is not None else None)
    return close(kept, seen.at, Outcome(reading.status.value), _result(reading))


def _result(reading: ProcessReading) -> Result:
    return Result(
        status=reading.status,
        reasons=tuple(sorted(reading.reasons, key=_reason_key)),
        checks=reading.checks,
        fail_type=reading.fail_type,
        similarity=reading.similarity,
    )


def sealing_failed(record: Record, seen: SealingFailed, policy: Policy) -> Record:
    """Accepted, and its claims cannot be kept: the dossier stays, it is read again a few times, then a person is asked.

    The result is known from here on: whatever ends the wait (a person, the deadline, HOLD_TTL), it is the outcome.
    """
    surprises = record.surprises + 1
    observed = record if record.phase is Phase.RESULT else _observe(done(record))
    wait = seen.at + backoff(surprises, seen.chance, policy, floor=policy.read_gap)
    known = replace(observed, read_at=seen.at, result=_result(seen.reading), surprises=surprises, not_before=wait)
    if surprises <= policy.surprises:
        return known
    return hold(known, HoldReason.CLAIMS_NOT_KEPT, seen.at, seen.reason)


def dossier_read_for_result(record: Record, seen: DossierRead, policy: Policy) -> Record:
    """Capture: which process decides? None yet is the rule while the person takes the pictures."""
    chosen: ListedProcess | None = decided(seen.reading.processes)
    read = replace(record, read_at=seen.at, **PROGRESS)
    if chosen is None:
        return replace(read, not_before=_own_look(seen, policy))
    return replace(read, process_id=chosen.process_id, read_at=None, not_before=0.0)  # its own read decides


def result_sighted(record: Record, seen: ResultSighted, policy: Policy) -> Record:
    """Look now, but never more often than `read_gap`; where looks go wrong, in their turn."""
    if record.failures or record.surprises or record.missing:
        return record
    earliest = record.read_at + policy.read_gap if record.read_at is not None else seen.at
    return replace(record, not_before=min(record.not_before, max(seen.at, earliest)))


def _own_look(seen: Observation, policy: Policy) -> float:
    return seen.at + max(policy.own_look, policy.read_gap)


def _later(seen: Observation, policy: Policy) -> float:
    return seen.at + max(policy.poll_interval, policy.read_gap)


def _reason_key(reason: Reason) -> tuple[str, str, str]:
    return (reason.type, reason.category, reason.sub_category or "")


# -- deletion ----------------------------------------------------------------------------------


def dossier_deleted(record: Record, _: DossierDeleted, __: Policy) -> Record:
    return replace(done(record), deleted=True)


def still_there(record: Record, seen: DossierRead, policy: Policy) -> Record:
    """The deletion was answered, and the dossier can still be read: a lagging read, or it did not happen."""
    failures = record.failures + 1
    wait = seen.at + backoff(failures, seen.chance, policy, floor=policy.read_gap)
    return replace(record, failures=failures, deleted=failures % 3 != 0, not_before=wait)


def missing_in_deletion(record: Record, seen: TargetMissing, _: Policy) -> Record:
    """404 to DELETE: it is deleted. 404 to the read after it: that is the confirmation."""
    if seen.kind is EffectKind.DELETE_DOSSIER:
        return replace(done(record), deleted=True)
    return finish(record, seen.at)


def refused_in_deletion(record: Record, seen: EffectRefused, policy: Policy) -> Record:
    """A failing deletion is tried for ever, never held (design §4)."""
    failures = record.failures + 1
    wait = seen.at + backoff(failures, seen.chance, policy, floor=policy.read_gap)
    return replace(record, intent=None, failures=failures, not_before=wait)
