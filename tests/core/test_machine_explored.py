"""Random walks of the state machine in a model of Assure. Every state keeps the invariants [I1, I2, I3, I5].

A walk meets all classes of answers, late calls, lagging lists, crashes between an intent and its answer, and edits of
the file. Then failures end, and the record must settle.
"""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from story import (
    DUTCH_PASSPORT,
    NOW,
    AssureModel,
    RandomChoices,
    capture,
    check_reads,
    check_step,
    edits,
    observation_from_source,
    seeds,
    unadmitted,
    upload,
)

from agent.core.audit import Audited, replay
from agent.core.effect import CreateDossier, Effect, EffectKind, ReserveStart, StartVerification
from agent.core.machine import TABLE, TERMINATIONS, admit, step
from agent.core.next_effect import next_due_at
from agent.core.observations import (
    BudgetExhausted,
    ClaimsDisclosed,
    ClaimsErased,
    ClockCorrected,
    HistoryLost,
    HoldResolved,
    ImagesDiscarded,
    Observation,
    PersonalDataDisclosed,
    RerunRequested,
    ResultAvailable,
    Resumed,
    RetryRequested,
    StartReserved,
    TimerFired,
)
from agent.core.policy import Policy
from agent.core.record import Desired, HoldAnswer, Phase, Record
from agent.core.rules.recovery import proves_store_is_stale
from agent.core.step import Step

PARTS, WALKS, LENGTH, CALM = 4, 500, 36, 400
Edge = tuple[Phase, str, Phase]
reached: Counter[Edge] = Counter()
heeded: Counter[tuple[Phase, Phase]] = Counter()
walked_here: set[int] = set()


class Walk:
    """One record with its model of Assure."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.policy = Policy(
            hold_ttl=random.choice((300.0, 7 * 86400.0)), budgeted=random.random() < 0.3, poll_fallback=5.0
        )
        fields = {"deadline": random.choice((120.0, 900.0, 86400.0)), "retention": random.choice((0.0, 0.0, 60.0))}
        fields |= {"claims_ttl": random.choice((None, None, 3600.0))}
        self.policy = replace(self.policy, discard_images=random.random() < 0.3)
        make = random.choice((upload, upload, capture))
        if make is upload:
            fields |= {"back": random.random() < 0.7, "read_back": random.random() < 0.3}
            fields |= {"document_type": random.choice((None, DUTCH_PASSPORT))}
        self.file: Desired | None = make(**fields)
        self.original = self.file
        self.assure = AssureModel(
            RandomChoices(random), lag=random.choice((0.0, 4.0)), adversities=random.choice((0.0, 0.15, 0.4, 0.7))
        )
        self.restless = random.choice((0.05, 0.2, 0.6))  # how often the file changes
        self.now = NOW
        self.history: Audited = {}
        self.orphans: set[str] = set()
        self.asked: list[tuple[float, Effect]] = []
        self.bound: dict[int, str] = {}
        self.log: list[str] = []
        self.effect: Effect | None = None
        self.take(admit(unadmitted(self.file), self.now, self.policy))

    # -- one step ---------------------------------------------------------------------------------

    def see(self, observation: Observation, *, ask: bool = True) -> None:
        before = self.record
        self.log.append(f"{observation.at - NOW:10.2f} {before.phase:12} {observation}")
        barred = not self.assure.settle_all and self.random.random() < 0.1  # by an unanswered create of another record
        taken = step(before, observation, replace(self.policy, creates_blocked=barred), ask)
        assert not (barred and isinstance(taken.effect, CreateDossier)), "created behind the barrier [I3]"
        self.count(before, observation, taken.record)
        self.take(taken)

    def count(self, before: Record, observation: Observation, after: Record) -> None:
        folded = TABLE[before.phase][type(observation)].rule(before, observation, self.policy)
        reached[before.phase, type(observation).__name__, folded.phase] += 1
        if after.phase is not folded.phase or after.generation != folded.generation:
            heeded[folded.phase, after.phase] += 1

    def take(self, taken: Step) -> None:
        self.record, self.effect = taken.record, taken.effect
        self.history = replay([self.history, *(event.changes for event in taken.events)])
        if taken.orphan is not None:
            self.orphans.add(taken.orphan)
        check_step(taken, self.history)
        if taken.effect is not None:
            self.log.append(f"{'':10} -> {taken.effect.kind}")
            self.asked.append((self.now, taken.effect))
            check_reads(self.asked, self.policy)
        self.never_two_starts(taken)
        self.every_dossier_is_accounted_for()
        self.nothing_is_unknown()

    def never_two_starts(self, taken: Step) -> None:
        record = self.record
        if isinstance(taken.effect, StartVerification):
            bound = self.bound.setdefault(record.generation, taken.effect.process_id)
            assert bound == taken.effect.process_id, "one process per generation is started [I2]"
        starts = self.assure.starts_of(f"aa-{record.agent}-{record.uid}-{record.generation}-")
        assert len(starts) <= 1, f"started more than once: {starts} [I2]"

    def every_dossier_is_accounted_for(self) -> None:
        record = self.record
        in_question = EffectKind.CREATE_DOSSIER in (record.doubt, record.intent and record.intent.kind)
        for dossier in self.assure.open_dossiers():
            ours = dossier.dossier_id == record.dossier_id and record.phase is not Phase.DONE
            searched = dossier.reference == record.reference and in_question
            assert ours or searched or dossier.reference in self.orphans, (
                f"{dossier.dossier_id} belongs to no record [I3]"
            )

    def nothing_is_unknown(self) -> None:
        signs = [one for one in self.assure.shown(self.now) if proves_store_is_stale(self.record, one)]
        assert not signs, "a sound record is taken for one that is behind"

    # -- what happens next ------------------------------------------------------------------------

    def moves(self) -> None:
        if self.effect is not None:
            self.answers(self.effect)
        elif self.random.random() < (0.1 if self.record.hold is None else 0.4):
            self.person()
        elif self.random.random() < (self.restless if self.record.due_at is not None else 0.9):
            self.edit()
        else:
            self.wait()

    def person(self) -> None:
        """The operator resolves a hold, requests a rerun or changes the budget; or a list reports a result."""
        record, at = self.record, self.now
        if record.intent is not None:
            return
        observations: list[Observation] = [ResultAvailable(at=at), RetryRequested(at=at), PersonalDataDisclosed(at=at)]
        observations += [ClaimsDisclosed(at=at), ClaimsErased(at=at), ImagesDiscarded(at=at, results=())]
        observations += [ClockCorrected(at=at, by=-3600.0, since=at), ClockCorrected(at=at, by=30.0, since=at - 60.0)]
        if self.file is not None:
            observations.append(
                RerunRequested(at=at, desired=replace(self.file, rerun=self.random.choice(("p1", "p2"))))
            )
        if record.hold is not None:
            answer = self.random.choice((HoldAnswer.RETRY, HoldAnswer.ABANDON, HoldAnswer.ADOPT))
            orphans = [one.dossier_id for one in self.assure.open_dossiers()]
            found = orphans[0] if orphans else None
            about = record.hold.reason.about_document
            observations += 5 * [
                HoldResolved(
                    at=at,
                    hold_id=record.hold.id,
                    answer=answer,
                    desired=self.file if about else None,
                    dossier_id=found,
                )
            ]
        self.see(self.random.choice(observations))

    def answers(self, effect: Effect) -> None:
        if isinstance(effect, ReserveStart):
            granted = self.assure.settle_all or self.random.random() < 0.7
            answer = StartReserved(at=self.now) if granted else BudgetExhausted(at=self.now, until=self.now + 50.0)
            self.see(answer)
            return
        if not self.assure.settle_all and self.random.random() < 0.05:
            self.assure.crash(effect, self.now)
            self.now += self.random.choice((2.0, 30.0, 300.0))
            self.see(Resumed(at=self.now, jitter=self.random.random()))
            return
        answer, self.now = self.assure.perform(effect, self.now)
        ending = not self.assure.settle_all and self.random.random() < 0.05
        self.see(answer, ask=not ending)

    def edit(self) -> None:
        asked = self.record.hold is not None and self.record.hold.reason.about_document
        taken_back = asked and self.random.random() < 0.5
        self.file = self.record.desired if taken_back else edits(self.random, self.file, self.original)
        self.scan()

    def scan(self) -> None:
        news = observation_from_source(self.record, self.file, self.now) if self.record.intent is None else None
        if news is not None:
            self.see(news)

    def wait(self) -> None:
        if self.record.due_at is None:
            return
        patience = (
            self.record.desired.deadline / 50 if self.assure.settle_all and self.record.phase is Phase.RESULT else 0.0
        )
        self.now = max(self.now, self.record.due_at) + patience
        self.see(TimerFired(at=self.now, jitter=self.random.random()))

    def settles(self) -> None:
        """End all failures, and advance the clock until the record is not due."""
        self.assure.settle_all = True
        for _ in range(CALM):
            if self.effect is None and self.record.due_at is None:
                break
            if self.effect is not None:
                self.answers(self.effect)
            else:
                self.wait()
            if self.record.intent is None and self.effect is None:
                self.scan()
        else:
            raise AssertionError(f"not settled: {self.record}")
        assert self.record.state in ("done", "held", "suspended"), self.record.state
        if self.record.phase is Phase.DONE:
            left = [one.reference for one in self.assure.open_dossiers() if one.reference not in self.orphans]
            assert not left, "nothing is left at Assure [I3]"


def walked(random: Random) -> None:
    walk = Walk(random)
    try:
        for _ in range(random.randrange(LENGTH)):
            walk.moves()
            assert walk.record.due_at == next_due_at(walk.record, walk.now, walk.policy), "due follows from the record"
        walk.settles()
    except Exception as error:
        error.add_note("\n".join(line[:230] for line in walk.log[-60:]))
        raise


@pytest.mark.parametrize("part", range(PARTS))
def test_every_walk_keeps_the_invariants_and_settles(part: int) -> None:
    """[I1, I2, I3, I4, I5]"""
    for random in seeds(f"walk {part}", WALKS):
        walked(random)
    walked_here.add(part)


# Edges that the table declares for every phase, and that cannot occur in these phases.
NEVER_NEEDED = {
    (Phase.DONE, "TimerFired", Phase.DONE),
    (Phase.PROCESS, "DocumentReturned", Phase.PROCESS),
    (Phase.IMAGES, "DocumentReturned", Phase.IMAGES),
    (Phase.IMAGES, "ProcessRead", Phase.RESULT),
    # See scenarios/refusals.py.
    (Phase.VERIFICATION, "DossierRead", Phase.IMAGES),
    # Four unexpected answers in a row are too rare for a walk: see scenarios/commands.py.
    (Phase.DOSSIER, "HoldResolved", Phase.PROCESS),
    (Phase.PROCESS, "DossierRead", Phase.DOSSIER),
    (Phase.VERIFICATION, "HoldResolved", Phase.DELETION),
    (Phase.RESULT, "HoldResolved", Phase.DELETION),
    # See scenarios/claims.py.
    (Phase.IMAGES, "ClaimsEncryptionFailed", Phase.RESULT),
    (Phase.VERIFICATION, "ClaimsEncryptionFailed", Phase.RESULT),
}


def test_the_walks_take_every_edge_of_the_table() -> None:
    """Every edge is taken by a walk or listed as an exception."""
    if len(walked_here) < PARTS:
        pytest.skip("some of the walks ran in another process")
    declared = {
        (phase, observation.__name__, to)
        for phase, rows in TABLE.items()
        for observation, row in rows.items()
        for to in (row.to or (phase,))
        if observation is not HistoryLost  # see test_machine_recovery.py
    }
    assert declared - set(reached) <= NEVER_NEEDED
    assert {(phase, to) for phase, tos in TERMINATIONS.items() for to in tos} <= set(heeded)
