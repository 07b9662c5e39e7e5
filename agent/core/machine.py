"""The state machine: one table with the allowed observations of each phase, and the phases that each may lead to.

A record changes only by `step`. `step` is total over the table, pure and deterministic. It has four parts:

1. The rule of the table applies the observation to the record: new facts, and at most one new phase.
2. `apply_terminations` withdraws, supersedes or expires the record. It does so only while no effect is open, so that
   every dossier stays accounted for.
3. `next_effect.py` derives the next effect from the record alone. An effect that changes something at Assure becomes an
   intent in the record, so that the store commits it before the agent performs it [I4].
4. The difference between the records becomes the audit event [I5].

Two rules follow. First, the record alone decides what the agent reads after a crash. The observation `Resumed` answers
an open intent, and is equivalent to an unknown answer. Second, an unknown answer is a `doubt` in the record. The doubt
blocks its own effect until a read has settled it. Only then may the agent repeat a create or a start call [I2, I3].

A record may be out of date, because the store was lost or is an older copy. `HistoryLost` then carries the dossiers
that Assure lists under the references of the request. The agent adopts the dossier of a later attempt with a doubt. So
it reads the dossier before it creates anything in it. A request without a dossier at Assure is held, because a finished
request leaves no trace there. A second start might bill it twice [I2]. The same applies to another attempt and to the
next generation.

An observation that the table does not allow is a bug: `step` raises `Impossible`, and the record is unchanged. The
rules in `rules/` propose a phase. The table alone defines the allowed phases, and `step` checks each proposal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.core.attempt import attempt_result, call_result
from agent.core.audit import ANSWER, Event, audited, difference, digested_fields_changed
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
    """One row: the rule that applies the observation, and the phases that it may lead to besides the current one."""

    rule: Rule
    to: tuple[Phase, ...] = ()


def admit(record: Record, at: float, policy: Policy) -> Step:
    """The first step of a request, without an effect. A recovery holds it until Assure is searched."""
    settled = replace(record, admitted_at=at, phase_at=at, not_before=at, reruns=applied_reruns(record, record.desired))
    if policy.recovering:
        settled = recovery.hold_history_lost(settled, at)
    ready = replace(settled, due_at=next_due_at(settled, at, policy))
    return Step(before=None, record=ready, events=(Event(at=at, type="Admitted", changes=audited(ready)),))


def step(record: Record, observation: Observation, policy: Policy, request_effect: bool = True) -> Step:
    """Apply one observation to a record. Raises `Impossible` if the table does not allow it.

    With `request_effect` false, the step requests no effect and the record stays due: for a shutdown, and for batches.
    """
    at, kind = observation.at, answered_effect(observation)
    row = TABLE[record.phase].get(type(observation))
    if row is None or not _expected(record, observation, kind, policy):
        raise Impossible(
            f"{type(observation).__name__} in phase {record.phase} with intent {record.intent} is not in the table"
        )
    applied = count_late_read(record, row.rule(record, observation, policy), kind, at, policy)
    terminated = recovery.hold_if_recovering(record, apply_terminations(applied, at, policy), observation, policy)
    _refuse_phases(record, row, applied, terminated)
    due_at = next_due_at(terminated, at, policy)
    effect = next_effect(terminated, at, due_at, policy) if request_effect else None
    same = terminated.phase is record.phase and terminated.generation == record.generation
    after = replace(
        terminated,
        version=record.version + 1,
        phase_at=terminated.phase_at if same else at,
        **{"due_at": due_at} if effect is None or not effect.kind.mutates else _intend(terminated, effect, at),
    )
    changes = difference(record, after)
    if not changes and vars(replace(after, version=record.version)) == vars(record):
        return Step(before=record, record=record, effect=effect)
    answered = attempt_result(record, observation)
    if answered is not None:
        changes[ANSWER] = answered.result.value
    event = Event(at=at, type=type(observation).__name__, changes=changes)
    return Step(
        before=record,
        record=after,
        events=(event,) if changes or digested_fields_changed(record, after) else (),
        effect=effect,
        orphan=possible_orphan(record, observation, after, policy),
        link=observation.link if isinstance(observation, CaptureStarted) else None,
        encrypted_claims=observation.encrypted_claims if isinstance(observation, ProcessRead) else None,
        answered=answered,
        call_result=call_result(observation, kind),
    )


def _expected(record: Record, observation: Observation, kind: EffectKind | None, policy: Policy) -> bool:
    """True if the record expects this answer: its open intent, or its next read. `Resumed` answers any intent."""
    if record.intent is not None:
        return isinstance(observation, Resumed) or record.intent.kind is kind
    return kind is None or (not kind.mutates and effect_for(record, observation.at, policy).kind is kind)


def _refuse_phases(record: Record, row: Row, applied: Record, terminated: Record) -> None:
    if applied.phase is not record.phase and applied.phase not in row.to:
        raise Impossible(f"{record.phase} -> {applied.phase} is not in the row of TABLE")
    if terminated.phase is not applied.phase and terminated.phase not in TERMINATIONS[applied.phase]:
        raise Impossible(f"{applied.phase} -> {terminated.phase} is not in TERMINATIONS")


def _intend(record: Record, effect: Effect, at: float) -> dict[str, Any]:
    """The fields that the intent of this effect changes. After a crash, the record is due at once."""
    kind, number = effect.kind, record.intents + 1
    return {
        "intent": Intent(kind=kind, number=number, at=at),
        "intents": number,
        "billed": record.billed or kind is EffectKind.START_VERIFICATION,
        "opened_at": record.opened_at if record.opened_at is not None else at,
        "due_at": at,
    }


_DELETING = (Phase.DELETION,)  # `close` with a dossier
_COMPLETED = (Phase.DONE, Phase.DOSSIER)  # `finish`: nothing is left at Assure

ANYWHERE: dict[type[Observation], Row] = {
    TimerFired: Row(failures.timer_fired),
    DocumentChanged: Row(documents.document_changed),
    DocumentReturned: Row(documents.document_returned),
    DocumentRemoved: Row(documents.document_removed),
    ResultAvailable: Row(failures.timer_fired),  # has a meaning in RESULT only
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

# The phases that `apply_terminations` may set, for a withdrawn, superseded or expired request.
TERMINATIONS: dict[Phase, tuple[Phase, ...]] = {
    Phase.DOSSIER: (*_COMPLETED,),
    Phase.PROCESS: _DELETING,
    Phase.IMAGES: _DELETING,
    Phase.VERIFICATION: _DELETING,
    Phase.RESULT: _DELETING,
    Phase.DELETION: (),
    Phase.DONE: (Phase.DOSSIER,),
}
