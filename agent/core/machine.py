"""The machine: one table that says, for each phase, which observations it knows and where they may lead.

The theory. A record moves only by `step`, which is total over the table, pure and deterministic. A step has four parts:

1. the rule of the table folds the observation into the record: facts, and at most a new phase;
2. what people want meanwhile is heeded (`heed`): withdrawn, superseded, expired; only when no effect is open, so that
   nothing is left unaccounted for;
3. what is owed is read from the record alone (`owed.py`); an effect that changes the remote becomes an intent in the
   record, so that it is committed before it is performed [I4];
4. the difference becomes the audit event [I5].

Two rules follow. After a crash the record alone decides what to ask again: an open intent is answered by `Resumed`,
which is the same as an unknown answer. And an unknown answer is a `doubt` in the record, which stands in the way of
its own effect until a read has settled it; only then may a create or a start be repeated [I2, I3].

A record that may be behind what happened, because the store was lost or is an older copy, is told so by `HistoryLost`,
with what Assure shows under its references. The dossier of a later attempt is adopted with a doubt, so the rule above
holds: it is read before anything is created in it. What cannot be shown is held, because a request that was done
leaves no trace at Assure: starting it once more may bill it twice [I2]. So is what would follow: another attempt, or
the next generation.

An observation that the table does not allow is our bug: `Impossible` is raised and the record is untouched.
The rules in `rules/` propose a phase; this table alone says which may follow, and every step is held against it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.core.attempt import Attempted, attempted, heard
from agent.core.audit import Event, difference, relabelled
from agent.core.effect import Effect, EffectKind
from agent.core.errors import Impossible
from agent.core.fast_replace import replace
from agent.core.lost_answers import orphaned
from agent.core.next_effect import asked, due, owed
from agent.core.observations import (
    BudgetSpent,
    CameDue,
    CaptureStarted,
    ClaimsErased,
    ClaimsShown,
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
    ImagesUnfit,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    PersonalShown,
    ProcessCreated,
    ProcessRead,
    Reconsidered,
    RerunAsked,
    ResultSighted,
    Resumed,
    Sealed,
    SealingFailed,
    StartReserved,
    TargetMissing,
    VerificationStarted,
    answer_to,
)
from agent.core.policy import Policy
from agent.core.record import Hold, Intent, Phase, Record
from agent.core.rules import clock_correction, documents, failures, holds, phases, recovery
from agent.core.rules.termination import heed, looked
from agent.core.rules.transitions import obeyed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one observation leads to.

    Commit `record`, `events`, `orphan`, `link` and `sealed` together, then perform `effect`.
    """

    before: Record | None
    record: Record
    events: tuple[Event, ...] = ()
    effect: Effect | None = None
    orphan: str | None = None  # a reference that may still turn up at Assure: watch for it
    link: str | None = None  # a capture link, for its own table only [I6]
    sealed: Sealed | None = None  # encrypted claims, for their own table only [I6]
    answered: Attempted | None = None  # how the open intent was answered, when it was
    heard: tuple[str, str] | None = None  # the answer to a call, a read among them, and its trace id: for the log

    @property
    def changed(self) -> bool:
        """True when there is something to commit."""
        return self.record is not self.before

    @property
    def hasty(self) -> bool:
        """True when nothing but the pace changed and a read is asked for: it may be committed with the answer."""
        reads = self.effect is not None and not self.effect.kind.changes
        return self.changed and reads and not self.events and self.answered is None

    @property
    def held(self) -> Hold | None:
        """The hold that began with this step; not one that only got other evidence."""
        before, hold = self.before, self.record.hold
        known = before is not None and before.hold is not None and hold is not None and before.hold.id == hold.id
        return None if known else hold

    @property
    def withdraws(self) -> bool:
        """True when the file was taken away before the outcome: it counts against the guard, whatever follows."""
        before = self.before
        return before is not None and before.present and not self.record.present and before.outcome is None


Rule = Callable[[Record, Any, Policy], Record]


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the rule that folds the observation in, and the phases it may lead to besides its own."""

    rule: Rule
    to: tuple[Phase, ...] = ()


def admit(record: Record, at: float, policy: Policy) -> Step:
    """The first step of a request: nothing is asked yet. While the store is recovering it waits to be looked for."""
    settled = replace(record, admitted_at=at, phase_at=at, not_before=at, reruns=obeyed(record, record.desired))
    if policy.recovering:
        settled = recovery.unproven(settled, at)
    ready = replace(settled, due_at=due(settled, at, policy))
    return Step(before=None, record=ready, events=(_event("Admitted", None, ready, at),))


def step(record: Record, observation: Observation, policy: Policy, ask: bool = True) -> Step:
    """Fold one observation into a record. Raises `Impossible` where the table does not allow it.

    With `ask` false no effect is asked for: what is owed stays due (we are about to end, or many are folded at once).
    """
    row = TABLE[record.phase].get(type(observation))
    if row is None or not _expected(record, observation, policy):
        raise Impossible(
            f"{type(observation).__name__} in phase {record.phase} with intent {record.intent} is not in the table"
        )
    folded = looked(record, row.rule(record, observation, policy), observation, policy)
    heeded = recovery.asked_first(record, heed(folded, observation.at, policy), observation, policy)
    _allowed(record, row, folded, heeded)
    effect = owed(heeded, observation.at, policy) if ask else None
    intended = _intend(heeded, effect, observation.at)
    scheduled = replace(intended, due_at=due(intended, observation.at, policy))
    if vars(scheduled) == vars(record):  # as `==`, which builds two tuples of fifty first
        return Step(before=record, record=record, effect=effect)
    same = scheduled.phase is record.phase and scheduled.generation == record.generation
    entered = scheduled.phase_at if same else observation.at
    after = replace(scheduled, version=record.version + 1, phase_at=entered)
    event = _event(type(observation).__name__, record, after, observation.at)
    return Step(
        before=record,
        record=after,
        events=(event,) if event.changes or relabelled(record, after) else (),
        effect=effect,
        orphan=orphaned(record, observation, after, policy),
        link=observation.link if isinstance(observation, CaptureStarted) else None,
        sealed=observation.sealed if isinstance(observation, ProcessRead) else None,
        answered=attempted(record, observation),
        heard=heard(observation),
    )


def _expected(record: Record, observation: Observation, policy: Policy) -> bool:
    """An answer needs its open intent, or the read that the record asks for. `Resumed` alone may find any intent."""
    kind = answer_to(observation)
    if record.intent is not None:
        return isinstance(observation, Resumed) or record.intent.kind is kind
    return kind is None or (not kind.changes and asked(record, observation.at, policy).kind is kind)


def _allowed(record: Record, row: Row, folded: Record, heeded: Record) -> None:
    assert folded.phase in (record.phase, *row.to), f"{record.phase} -> {folded.phase} is not in its row"
    assert heeded.phase is folded.phase or heeded.phase in HEED[folded.phase], "not in HEED"


def _intend(record: Record, effect: Effect | None, at: float) -> Record:
    if effect is None or not effect.kind.changes:
        return record
    number = record.intents + 1
    return replace(
        record,
        intent=Intent(kind=effect.kind, number=number, at=at),
        intents=number,
        billed=record.billed or effect.kind is EffectKind.START_VERIFICATION,
        opened_at=record.opened_at if record.opened_at is not None else at,
    )


def _event(name: str, before: Record | None, after: Record, at: float) -> Event:
    return Event(at=at, type=name, changes=difference(before, after))


_GONE = (Phase.DELETION,)  # `close` with a dossier
_ONWARD = (Phase.DONE, Phase.DOSSIER)  # `finish`: nothing is left at Assure

ANYWHERE: dict[type[Observation], Row] = {
    CameDue: Row(failures.came_due),
    DocumentChanged: Row(documents.document_changed),
    DocumentReturned: Row(documents.document_returned),
    DocumentRemoved: Row(documents.document_removed),
    ResultSighted: Row(failures.came_due),  # of no meaning outside of its phase
    Reconsidered: Row(failures.came_due),
    RerunAsked: Row(documents.rerun_asked),
    PersonalShown: Row(documents.personal_shown),
    HistoryLost: Row(recovery.history_lost, (Phase.PROCESS,)),
    ClaimsShown: Row(documents.personal_shown),
    ClaimsErased: Row(documents.claims_erased),
    ClockCorrected: Row(clock_correction.clock_corrected),
    ImagesDiscarded: Row(documents.images_discarded),
}
TROUBLE: dict[type[Observation], Row] = {
    Resumed: Row(failures.resumed),
    EffectRefused: Row(failures.refused),
    EffectDelayed: Row(failures.delayed),
    EffectUnanswered: Row(failures.unanswered),
}
OPENED: dict[type[Observation], Row] = {
    TargetMissing: Row(failures.missing, _GONE),
    HoldResolved: Row(holds.hold_resolved, _GONE),
}
TABLE: dict[Phase, dict[type[Observation], Row]] = {
    Phase.DOSSIER: {
        **ANYWHERE,
        **TROUBLE,
        StartReserved: Row(phases.start_reserved),
        BudgetSpent: Row(phases.budget_spent),
        Reconsidered: Row(phases.reconsidered),
        HoldResolved: Row(holds.hold_resolved, (Phase.PROCESS, *_ONWARD)),
        ImagesVerified: Row(phases.images_verified),
        ImagesUnfit: Row(phases.images_unfit),
        DossierCreated: Row(phases.dossier_created, (Phase.PROCESS,)),
        DossierSearched: Row(phases.dossier_searched, (Phase.PROCESS,)),
    },
    Phase.PROCESS: {
        **ANYWHERE,
        **TROUBLE,
        **OPENED,
        ProcessCreated: Row(phases.process_created, (Phase.IMAGES, Phase.RESULT)),
        DocumentTypeGone: Row(phases.document_type_gone),
        DossierRead: Row(phases.dossier_read_for_process, (Phase.DOSSIER, Phase.IMAGES, Phase.RESULT)),
        CaptureStarted: Row(phases.capture_started, (Phase.RESULT,)),
        Resumed: Row(failures.resumed, _GONE),
        EffectUnanswered: Row(failures.unanswered, _GONE),
    },
    Phase.IMAGES: {
        **ANYWHERE,
        **TROUBLE,
        **OPENED,
        Reconsidered: Row(phases.reconsidered),
        ImagesVerified: Row(phases.images_verified),
        ImagesUnfit: Row(phases.images_unfit),
        ImagesUploaded: Row(phases.images_uploaded, (Phase.VERIFICATION,)),
        ImagesCompared: Row(phases.images_compared, (Phase.VERIFICATION,)),
        ProcessRead: Row(phases.process_read_for_images, (Phase.RESULT, *_GONE)),
        SealingFailed: Row(phases.sealing_failed, (Phase.RESULT,)),
    },
    Phase.VERIFICATION: {
        **ANYWHERE,
        **TROUBLE,
        **OPENED,
        ProcessRead: Row(phases.process_read_for_start, (Phase.IMAGES, Phase.RESULT, *_GONE)),
        SealingFailed: Row(phases.sealing_failed, (Phase.RESULT,)),
        DossierRead: Row(phases.dossier_read_for_start, (Phase.IMAGES, Phase.RESULT)),
        VerificationStarted: Row(phases.verification_started, (Phase.RESULT,)),
    },
    Phase.RESULT: {
        **ANYWHERE,
        **TROUBLE,
        **OPENED,
        ProcessRead: Row(phases.process_read, _GONE),
        SealingFailed: Row(phases.sealing_failed),
        Reconsidered: Row(phases.reconsidered),
        DossierRead: Row(phases.dossier_read_for_result),
        ResultSighted: Row(phases.result_sighted),
    },
    Phase.DELETION: {
        **ANYWHERE,
        **TROUBLE,
        DossierDeleted: Row(phases.dossier_deleted),
        DossierRead: Row(phases.still_there),
        TargetMissing: Row(phases.missing_in_deletion, _ONWARD),
        EffectRefused: Row(phases.refused_in_deletion),
        HoldResolved: Row(holds.hold_resolved),
    },
    Phase.DONE: {**ANYWHERE, HoldResolved: Row(holds.hold_resolved)},
}

# Where `heed` may lead from a phase: withdrawn, superseded or expired.
HEED: dict[Phase, tuple[Phase, ...]] = {
    Phase.DOSSIER: (*_ONWARD,),
    Phase.PROCESS: _GONE,
    Phase.IMAGES: _GONE,
    Phase.VERIFICATION: _GONE,
    Phase.RESULT: _GONE,
    Phase.DELETION: (),
    Phase.DONE: (Phase.DOSSIER,),
}
