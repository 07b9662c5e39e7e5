"""An older copy of the store: work that may have been done begins again only after a decision [I1, I2].

Each case is a record of the copy, and an observation after the restore. Meanwhile all of the work was done, billed and
deleted. Assure shows nothing, and a reference that is used again is billed again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from story import (
    Story,
    at_create,
    at_deletion,
    at_done,
    at_images,
    at_process,
    at_read_before_start,
    at_result,
    at_start,
    capture,
    deletes,
    listed,
    upload,
)

from agent.core.assure_types import DossierReading, FoundDossier, Status
from agent.core.effect import Effect, EffectKind
from agent.core.machine import step
from agent.core.observations import (
    BudgetExhausted,
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DossierDeleted,
    DossierRead,
    DossierSearched,
    HistoryLost,
    HoldResolved,
    ImagesVerified,
    Observation,
    ProcessCreated,
    RerunRequested,
    Resumed,
    StartReserved,
    TargetMissing,
    TimerFired,
)
from agent.core.policy import Policy
from agent.core.record import HoldAnswer, HoldReason, Outcome, Phase, Record

News = Callable[[Record, float], Observation]
RECOVERING = Policy(recovering=True)


# -- records of the copy -----------------------------------------------------------------------------------------------


def queued() -> Story:
    story = Story(upload(), policy=Policy(budgeted=True))
    story.wakes()
    story.sees(BudgetExhausted, until=story.now + 3600.0)
    assert story.record.queued
    return story


def suspended() -> Story:
    return Story(upload(suspend=True))


def create_unanswered() -> Story:
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    return story


def create_unanswered_and_changed() -> Story:
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.next is not None
    return story


def capture_unanswered() -> Story:
    story = at_process(capture())
    story.unanswered(EffectKind.START_CAPTURE)
    assert (story.record.phase, story.record.outcome) == (Phase.DELETION, None)
    return story


def capture_to_be_confirmed() -> Story:
    story = capture_unanswered()
    while story.record.intent is None:
        story.wakes()
    story.sees(DossierDeleted)
    assert story.record.deleted
    return story


def changed_in_time() -> Story:
    story = at_read_before_start()
    story.sees(DocumentChanged, desired=upload("two"))
    assert (story.record.phase, story.record.billed) == (Phase.DELETION, False)
    return story


def rerun_in_retention() -> Story:
    story = at_deletion(upload(retention=3600.0))
    story.sees(RerunRequested, desired=upload(rerun="t1"))
    assert story.record.next is not None
    return story


def withdrawn_and_back() -> Story:
    story = at_read_before_start()
    story.sees(DocumentRemoved)
    answered(story)
    story.sees(DocumentReturned, desired=upload())
    assert (story.record.phase, story.record.outcome) == (Phase.DELETION, Outcome.WITHDRAWN)
    return story


def withdrawn() -> Story:
    story = at_read_before_start()
    story.sees(DocumentRemoved)
    deletes(story)
    assert story.record.phase is Phase.DONE
    return story


def back_image_missing() -> Story:
    story = at_process(upload(back=False))
    story.sees(ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=2)
    assert story.record.hold is not None
    return story


def changed_after_start() -> Story:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.hold is not None
    return story


def answered(story: Story) -> None:
    """The deletion has no answer."""
    if story.record.intent is not None:
        story.unanswered(EffectKind.DELETE_DOSSIER)


# -- observations after the restore ------------------------------------------------------------------------------------


def changed(_: Record, at: float) -> Observation:
    return DocumentChanged(at=at, desired=upload("two"))


def other_capture(_: Record, at: float) -> Observation:
    return DocumentChanged(at=at, desired=capture("two"))


def rerun(record: Record, at: float) -> Observation:
    return DocumentChanged(at=at, desired=replace(record.desired, rerun="t1", digest="d-t1"))


def returned(record: Record, at: float) -> Observation:
    return DocumentReturned(at=at, desired=record.desired)


def resumes(record: Record, at: float) -> Observation:
    return DocumentChanged(at=at, desired=upload())


def retried(record: Record, at: float) -> Observation:
    """The decision for the hold in the copy, from the file or from an operator who does not know more."""
    assert record.hold is not None
    return HoldResolved(at=at, hold_id=record.hold.id, answer=HoldAnswer.RETRY, desired=upload("two"))


@dataclass(frozen=True)
class Road:
    """`copy` builds the record. `said` is delivered before the search at Assure, `later` before approval."""

    copy: Callable[[], Story]
    said: News | None = None
    later: News | None = None
    held: bool = True  # otherwise it ends without another start and without a hold


ROADS = {
    "queued for the budget": Road(queued),
    "suspended": Road(suspended),
    "suspended, and resumed by its file": Road(suspended, said=resumes),
    "suspended, and resumed by its file later": Road(suspended, later=resumes),
    "dossier intended": Road(at_create),
    "dossier in doubt": Road(create_unanswered),
    "dossier in doubt, and changed": Road(create_unanswered, said=changed),
    "dossier in doubt, and changed later": Road(create_unanswered, later=changed),
    "dossier in doubt, changed before": Road(create_unanswered_and_changed),
    "process intended": Road(at_process, held=False),
    "process intended, and changed": Road(at_process, said=changed),
    "capture intended": Road(lambda: at_process(capture())),
    "capture intended, and changed": Road(lambda: at_process(capture()), said=other_capture),
    "capture intended, and changed later": Road(lambda: at_process(capture()), later=other_capture),
    "capture unanswered": Road(capture_unanswered),
    "capture unanswered, and changed": Road(capture_unanswered, said=other_capture),
    "capture unanswered, and changed later": Road(capture_unanswered, later=other_capture),
    "capture unanswered, deletion to be confirmed": Road(capture_to_be_confirmed),
    "capture waiting": Road(lambda: at_result(capture()), held=False),
    "images intended": Road(at_images, held=False),
    "images intended, and changed": Road(at_images, said=changed),
    "images intended, and changed later": Road(at_images, later=changed),
    "start intended": Road(at_start, held=False),
    "changed before the start": Road(changed_in_time),
    "result waiting, and a rerun": Road(at_result, said=rerun),
    "result waiting, and a rerun later": Road(at_result, later=rerun),
    "retention, and a rerun": Road(lambda: at_deletion(upload(retention=3600.0)), said=rerun),
    "retention, and a rerun later": Road(lambda: at_deletion(upload(retention=3600.0)), later=rerun),
    "retention, a rerun before": Road(rerun_in_retention),
    "withdrawn and back": Road(withdrawn_and_back),
    "withdrawn, and back": Road(withdrawn, said=returned),
    "withdrawn, and back later": Road(withdrawn, later=returned),
    "done, and a rerun": Road(at_done, said=rerun),
    "done, and a rerun later": Road(at_done, later=rerun),
    "held for its back image": Road(back_image_missing),
    "held for its back image, and answered": Road(back_image_missing, said=retried),
    "held for its back image, and changed": Road(back_image_missing, said=changed),
    "held as changed after the start, and answered": Road(changed_after_start, said=retried),
    "held as changed after the start, and answered later": Road(changed_after_start, later=retried),
}


# -- an Assure without dossiers ----------------------------------------------------------------------------------------


@dataclass
class Bare:
    """The record, at an Assure that has nothing of it."""

    record: Record
    now: float
    policy: Policy = RECOVERING
    created: int = 0

    def sees(self, seen: Observation) -> None:
        """Apply the observation, and answer the requested effects."""
        taken = step(self.record, seen, self.policy)
        self.record = taken.record
        while taken.effect is not None:
            if taken.effect.kind is EffectKind.CREATE_DOSSIER:
                self.created += 1
                return
            taken = step(self.record, self.answer(taken.effect), self.policy)
            self.record = taken.record

    def answer(self, effect: Effect) -> Observation:
        match effect.kind:
            case EffectKind.RESERVE_START:
                return StartReserved(at=self.now)
            case EffectKind.VERIFY_IMAGES:
                return ImagesVerified(at=self.now)
            case EffectKind.FIND_DOSSIER:
                return DossierSearched(at=self.now, dossier_id=None, complete=True)
        return TargetMissing(at=self.now, kind=effect.kind)

    def goes_on(self) -> None:
        """Advance for hours, but not until the deadline."""
        until = self.now + 8 * 3600.0
        for _ in range(60):
            if self.created or self.record.due_at is None or self.record.due_at > until:
                return
            self.now = max(self.now, self.record.due_at)
            self.sees(TimerFired(at=self.now))
        raise AssertionError(f"it goes on for ever in phase {self.record.phase} [I1]")

    def answers(self, answer: HoldAnswer) -> None:
        assert self.record.hold is not None
        self.sees(HoldResolved(at=self.now, hold_id=self.record.hold.id, answer=answer))
        self.goes_on()


def put_back(road: Road) -> Bare:
    """Restore the copy: its open effect is unanswered, the source was scanned, and Assure was searched."""
    story = road.copy()
    bare = Bare(story.record, story.now + 60.0)
    if bare.record.intent is not None:
        bare.record = step(bare.record, Resumed(at=bare.now), RECOVERING, request_effect=False).record
    if road.said is not None:
        bare.record = step(bare.record, road.said(bare.record, bare.now), RECOVERING, request_effect=False).record
    bare.record = step(bare.record, HistoryLost(at=bare.now), RECOVERING, request_effect=False).record
    if road.later is not None:
        bare.sees(road.later(bare.record, bare.now))
    return bare


def is_held(record: Record) -> bool:
    return record.hold is not None and record.hold.reason is HoldReason.HISTORY_LOST


@pytest.mark.parametrize("name", ROADS)
def test_work_that_may_have_been_done_is_held_before_it_begins_again(name: str) -> None:
    """[I1] [I2] At once, during the recovery and after it."""
    road = ROADS[name]
    for policy in (RECOVERING, Policy()):
        bare = put_back(road)
        assert is_held(bare.record) is road.held, bare.record.hold
        bare.policy = policy
        bare.goes_on()
        assert bare.created == 0
        assert is_held(bare.record) is road.held
        assert road.held or bare.record.phase is Phase.DONE


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("name", [name for name, road in ROADS.items() if road.held])
def test_retry_starts_it_once(name: str, slow: bool) -> None:
    """[I1] [I2] Before or after the deletion of its dossier, and without a second hold."""
    bare = put_back(ROADS[name])
    if slow:
        bare.goes_on()
    bare.answers(HoldAnswer.RETRY)
    assert (bare.created, bare.record.hold) == (1 - bare.record.desired.suspend, None)


@pytest.mark.parametrize("slow", [True, False])
@pytest.mark.parametrize("name", [name for name, road in ROADS.items() if road.held])
def test_abandon_never_starts_it(name: str, slow: bool) -> None:
    """[I2] The unchanged file then changes nothing."""
    bare = put_back(ROADS[name])
    outcome = bare.record.outcome
    if slow:
        bare.goes_on()
    bare.answers(HoldAnswer.ABANDON)
    assert bare.created == 0
    assert (bare.record.phase, bare.record.hold) == (Phase.DONE, None)
    assert bare.record.outcome in (outcome, Outcome.ABANDONED)


def test_a_capture_that_appears_later_is_observed() -> None:
    """[I2] Its dossier was empty at the first search. The end user began before the approval."""
    bare = put_back(Road(lambda: at_process(capture())))
    assert is_held(bare.record)
    found = FoundDossier(generation=1, attempt=1, dossier_id="D1", processes=(listed("P1"),), opened_at=bare.now)
    bare.record = step(bare.record, HistoryLost(at=bare.now, found=(found,)), RECOVERING, request_effect=False).record
    assert (bare.record.hold, bare.record.phase) == (None, Phase.PROCESS)
    reading = DossierReading(dossier_id="D1", reference=None, processes=(listed("P1"),))
    taken = step(bare.record, DossierRead(at=bare.now + 1, reading=reading), Policy())
    assert (taken.record.phase, taken.record.billed) == (Phase.RESULT, True)
