"""The machine: one table that says, for each phase, which observations it knows and where they may lead.

The theory. A record moves only by `step`, which is total over the table, pure and deterministic. A step has four parts:

1. the rule of the table folds the observation into the record: facts, and at most a new phase;
2. `apply_terminations` withdraws, supersedes or expires the record, but only while no effect is open, so that every
   dossier stays accounted for;
3. `next_effect.py` derives the next effect from the record alone; an effect that changes the remote becomes an intent
   in the record, so that it is committed before it is performed [I4];
4. the difference becomes the audit event [I5].

Two rules follow. After a crash the record alone decides what to ask again: an open intent is answered by `Resumed`,
which is the same as an unknown answer. An unknown answer is a `doubt` in the record. The doubt blocks its own effect
until a read has settled it; only then may a create or a start be repeated [I2, I3].

A record may be out of date, because the store was lost or is an older copy. `HistoryLost` then carries what Assure
shows under its references. The dossier of a later attempt is adopted with a doubt, so the rule above
holds: it is read before anything is created in it. What cannot be shown is held, because a request that was done
leaves no trace at Assure: starting it once more may bill it twice [I2]. So is what would follow: another attempt, or
the next generation.

An observation that the table does not allow is our bug: `Impossible` is raised and the record is untouched.
The rules in `rules/` propose a phase; this table alone says which may follow, and every step is held against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.core.attempt import Attempted, attempt_result, call_result
from agent.core.audit import ANSWER, Event, difference, digested_fields_changed
from agent.core.effect import Effect, EffectKind
from agent.core.errors import Impossible
from agent.core.fast_replace import replace
from agent.core.lost_answers import possible_orphan
from agent.core.next_effect import effect_for, next_due_at, next_effect
from agent.core.observations import (
    BudgetExhausted,
    CaptureStarted,
    ClaimsDisclosed,
    ClaimsEncryptionFailed,
    ClaimsErased,
    ClockCorrected,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DocumentTypeGone,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    HistoryLost,
    HoldResolved,
    ImagesCompared,
    ImagesDiscarded,
    ImagesInvalid,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    PersonalDataDisclosed,
    ProcessCreated,
    ProcessRead,
    RerunRequested,
    ResultAvailable,
    Resumed,
    RetryRequested,
    StartReserved,
    TargetMissing,
    TimerFired,
    VerificationStarted,
    answered_effect,
)
from agent.core.policy import Policy
from agent.core.record import Intent, Phase, Record
from agent.core.rules import clock_correction, documents, failures, holds, phases, recovery
from agent.core.rules.termination import apply_terminations, count_late_read
from agent.core.rules.transitions import applied_reruns
from agent.core.step import Step

Rule = Callable[[Record, Any, Policy], Record]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the rule that folds the observation in, and the phases it may lead to besides its own."""

    rule: Rule
    to: tuple[Phase, ...] = ()


def admit(record: Record, at: float, policy: Policy) -> Step:
    """The first step of a request: nothing is asked yet. While the store is recovering it waits to be looked for."""
    settled = replace(record, admitted_at=at, phase_at=at, not_before=at, reruns=applied_reruns(record, record.desired))
    if policy.recovering:
        settled = recovery.hold_history_lost(settled, at)
    ready = replace(settled, due_at=next_due_at(settled, at, policy))
    return Step(before=None, record=ready, events=(_event("Admitted", None, ready, at),))


def step(record: Record, observation: Observation, policy: Policy, request_effect: bool = True) -> Step:
    """Fold one observation into a record. Raises `Impossible` where the table does not allow it.

    With `request_effect` false the step requests no effect, and the record stays due: for a shutdown, and for batches.
    """
    row = TABLE[record.phase].get(type(observation))
    if row is None or not _expected(record, observation, policy):
        raise Impossible(
            f"{type(observation).__name__} in phase {record.phase} with intent {record.intent} is not in the table"
        )
    folded = count_late_read(record, row.rule(record, observation, policy), observation, policy)
    heeded = recovery.hold_if_recovering(
        record, apply_terminations(folded, observation.at, policy), observation, policy
    )
    _allowed(record, row, folded, heeded)
    effect = next_effect(heeded, observation.at, policy) if request_effect else None
    intended = _intend(heeded, effect, observation.at)
    scheduled = replace(intended, due_at=next_due_at(intended, observation.at, policy))
    if vars(scheduled) == vars(record):  # as `==`, which builds two tuples of fifty first
        return Step(before=record, record=record, effect=effect)
    same = scheduled.phase is record.phase and scheduled.generation == record.generation
    entered = scheduled.phase_at if same else observation.at
    after = replace(scheduled, version=record.version + 1, phase_at=entered)
    answered = attempt_result(record, observation)
    event = _event(type(observation).__name__, record, after, observation.at, answered)
    return Step(
        before=record,
        record=after,
        events=(event,) if event.changes or digested_fields_changed(record, after) else (),
        effect=effect,
        orphan=possible_orphan(record, observation, after, policy),
        link=observation.link if isinstance(observation, CaptureStarted) else None,
        encrypted_claims=observation.encrypted_claims if isinstance(observation, ProcessRead) else None,
        answered=answered,
        call_result=call_result(observation),
    )


def _expected(record: Record, observation: Observation, policy: Policy) -> bool:
    """An answer needs its open intent, or the read that the record asks for. `Resumed` alone may find any intent."""
    kind = answered_effect(observation)
    if record.intent is not None:
        return isinstance(observation, Resumed) or record.intent.kind is kind
    return kind is None or (not kind.mutates and effect_for(record, observation.at, policy).kind is kind)


def _allowed(record: Record, row: Row, folded: Record, terminated: Record) -> None:
    if folded.phase not in (record.phase, *row.to):
        raise Impossible(f"{record.phase} -> {folded.phase} is not in the row of TABLE")
    if terminated.phase is not folded.phase and terminated.phase not in TERMINATIONS[folded.phase]:
        raise Impossible(f"{folded.phase} -> {terminated.phase} is not in TERMINATIONS")


def _intend(record: Record, effect: Effect | None, at: float) -> Record:
    if effect is None or not effect.kind.mutates:
        return record
    number = record.intents + 1
    return replace(
        record,
        intent=Intent(kind=effect.kind, number=number, at=at),
        intents=number,
        billed=record.billed or effect.kind is EffectKind.START_VERIFICATION,
        opened_at=record.opened_at if record.opened_at is not None else at,
    )


def _event(name: str, before: Record | None, after: Record, at: float, answered: Attempted | None = None) -> Event:
    changes = difference(before, after)
    if answered is not None:
        changes[ANSWER] = answered.result.value
    return Event(at=at, type=name, changes=changes)


_DELETING = (Phase.DELETION,)  # `close` with a dossier
_COMPLETED = (Phase.DONE, Phase.DOSSIER)  # `finish`: nothing is left at Assure

ANYWHERE: dict[type[Observation], Row] = {
    TimerFired: Row(failures.timer_fired),
    DocumentChanged: Row(documents.document_changed),
    DocumentReturned: Row(documents.document_returned),
    DocumentRemoved: Row(documents.document_removed),
    ResultAvailable: Row(failures.timer_fired),  # of no meaning outside of its phase
    RetryRequested: Row(failures.timer_fired),
    RerunRequested: Row(documents.rerun_requested),
    PersonalDataDisclosed: Row(documents.personal_data_disclosed),
    HistoryLost: Row(recovery.history_lost, (Phase.PROCESS,)),
    ClaimsDisclosed: Row(documents.personal_data_disclosed),
    ClaimsErased: Row(documents.claims_erased),
    ClockCorrected: Row(clock_correction.clock_corrected),
    ImagesDiscarded: Row(documents.images_discarded),
}
FAILURES: dict[type[Observation], Row] = {
    Resumed: Row(failures.resumed),
    EffectRefused: Row(failures.refused),
    EffectDelayed: Row(failures.delayed),
    EffectUnanswered: Row(failures.unanswered),
}
OPENED: dict[type[Observation], Row] = {
    TargetMissing: Row(failures.missing, _DELETING),
    HoldResolved: Row(holds.hold_resolved, _DELETING),
}
TABLE: dict[Phase, dict[type[Observation], Row]] = {
    Phase.DOSSIER: {
        **ANYWHERE,
        **FAILURES,
        StartReserved: Row(phases.start_reserved),
        BudgetExhausted: Row(phases.budget_exhausted),
        RetryRequested: Row(phases.retry_requested),
        HoldResolved: Row(holds.hold_resolved, (Phase.PROCESS, *_COMPLETED)),
        ImagesVerified: Row(phases.images_verified),
        ImagesInvalid: Row(phases.images_invalid),
        DossierCreated: Row(phases.dossier_created, (Phase.PROCESS,)),
        DossierSearched: Row(phases.dossier_searched, (Phase.PROCESS,)),
    },
    Phase.PROCESS: {
        **ANYWHERE,
        **FAILURES,
        **OPENED,
        ProcessCreated: Row(phases.process_created, (Phase.IMAGES, Phase.RESULT)),
        DocumentTypeGone: Row(phases.document_type_gone),
        DossierRead: Row(phases.dossier_read_for_process, (Phase.DOSSIER, Phase.IMAGES, Phase.RESULT)),
        CaptureStarted: Row(phases.capture_started, (Phase.RESULT,)),
        Resumed: Row(failures.resumed, _DELETING),
        EffectUnanswered: Row(failures.unanswered, _DELETING),
    },
    Phase.IMAGES: {
        **ANYWHERE,
        **FAILURES,
        **OPENED,
        RetryRequested: Row(phases.retry_requested),
        ImagesVerified: Row(phases.images_verified),
        ImagesInvalid: Row(phases.images_invalid),
        ImagesUploaded: Row(phases.images_uploaded, (Phase.VERIFICATION,)),
        ImagesCompared: Row(phases.images_compared, (Phase.VERIFICATION,)),
        ProcessRead: Row(phases.process_read_for_images, (Phase.RESULT, *_DELETING)),
        ClaimsEncryptionFailed: Row(phases.claims_encryption_failed, (Phase.RESULT,)),
    },
    Phase.VERIFICATION: {
        **ANYWHERE,
        **FAILURES,
        **OPENED,
        ProcessRead: Row(phases.process_read_for_start, (Phase.IMAGES, Phase.RESULT, *_DELETING)),
        ClaimsEncryptionFailed: Row(phases.claims_encryption_failed, (Phase.RESULT,)),
        DossierRead: Row(phases.dossier_read_for_start, (Phase.IMAGES, Phase.RESULT)),
        VerificationStarted: Row(phases.verification_started, (Phase.RESULT,)),
    },
    Phase.RESULT: {
        **ANYWHERE,
        **FAILURES,
        **OPENED,
        ProcessRead: Row(phases.process_read, _DELETING),
        ClaimsEncryptionFailed: Row(phases.claims_encryption_failed),
        RetryRequested: Row(phases.retry_requested),
        DossierRead: Row(phases.dossier_read_for_result),
        ResultAvailable: Row(phases.result_available),
    },
    Phase.DELETION: {
        **ANYWHERE,
        **FAILURES,
        DossierDeleted: Row(phases.dossier_deleted),
        DossierRead: Row(phases.dossier_not_deleted),
        TargetMissing: Row(phases.missing_in_deletion, _COMPLETED),
        EffectRefused: Row(phases.refused_in_deletion),
        HoldResolved: Row(holds.hold_resolved),
    },
    Phase.DONE: {**ANYWHERE, HoldResolved: Row(holds.hold_resolved)},
}

# The phases that `apply_terminations` may set: withdrawn, superseded or expired.
TERMINATIONS: dict[Phase, tuple[Phase, ...]] = {
    Phase.DOSSIER: (*_COMPLETED,),
    Phase.PROCESS: _DELETING,
    Phase.IMAGES: _DELETING,
    Phase.VERIFICATION: _DELETING,
    Phase.RESULT: _DELETING,
    Phase.DELETION: (),
    Phase.DONE: (Phase.DOSSIER,),
}
