"""The machine and people: answered holds, reruns, the budget, results sighted in a list (design §4, §8)."""

from dataclasses import replace

import pytest
from story import NOW, POLICY, Story, at_create, at_done, at_result, listed, upload

from agent.core.answer import Evidence
from agent.core.assure_types import DossierReading, Status
from agent.core.effect import (
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    EffectKind,
    ReadDossier,
    ReadProcess,
    ReserveStart,
)
from agent.core.observations import (
    BudgetExhausted,
    DocumentChanged,
    DossierCreated,
    DossierRead,
    EffectRefused,
    HoldResolved,
    PersonalDataDisclosed,
    ProcessCreated,
    RerunRequested,
    ResultAvailable,
    RetryRequested,
    StartReserved,
)
from agent.core.record import HoldAnswer, HoldReason, Outcome, Phase


def answered(story: Story, answer: HoldAnswer, **fields: object) -> None:
    assert story.record.hold is not None
    story.sees(HoldResolved, hold_id=story.record.hold.id, answer=answer, **fields)


def refused_at_create() -> Story:
    story = at_create()
    story.sees(EffectRefused, kind=EffectKind.CREATE_DOSSIER, evidence=Evidence(status=403))
    assert story.record.hold is not None
    return story


def test_a_retry_asks_the_refused_call_again() -> None:
    story = refused_at_create()
    answered(story, HoldAnswer.RETRY)
    assert isinstance(story.effect, CreateDossier)
    assert story.record.hold is None


def test_an_abandoned_request_ends_and_leaves_nothing_at_assure() -> None:
    """[I3]"""
    story = refused_at_create()
    answered(story, HoldAnswer.ABANDON)
    assert (story.record.phase, story.record.outcome) == (Phase.DONE, Outcome.ABANDONED)


def test_an_adopted_dossier_is_read_before_anything_is_created_in_it() -> None:
    """[I2]"""
    story = refused_at_create()
    answered(story, HoldAnswer.ADOPT, dossier_id="D9")
    assert story.effect == ReadDossier(dossier_id="D9")
    assert story.record.phase is Phase.PROCESS


@pytest.mark.parametrize("recovering", [False, True])
def test_a_dossier_that_was_made_for_somebody_else_is_not_touched(recovering: bool) -> None:
    """[I2, I3] A person may mistake one for another: it is theirs, and so is what is in it."""
    story = refused_at_create()
    answered(story, HoldAnswer.ADOPT, dossier_id="D9")
    story.policy = replace(POLICY, recovering=recovering)
    theirs = DossierReading(
        dossier_id="D9", reference=f"aa-other-{12 * 'ab'}-1-1", processes=(listed("P1", Status.ACCEPTED),)
    )
    story.sees(DossierRead, reading=theirs)
    assert (story.effect, story.record.phase, story.record.dossier_id) == (None, Phase.DOSSIER, None)
    assert story.record.hold is not None
    assert story.record.hold.reason is (HoldReason.HISTORY_LOST if recovering else HoldReason.UNEXPECTED_ANSWER)
    assert story.record.hold.evidence == "dossier-of-another"
    answered(story, HoldAnswer.ABANDON)
    assert (story.record.phase, story.record.outcome) == (Phase.DONE, Outcome.ABANDONED)
    assert EffectKind.DELETE_DOSSIER not in story.kinds()


def test_an_answer_to_another_question_changes_nothing() -> None:
    story = refused_at_create()
    before = story.record
    story.sees(HoldResolved, hold_id="h-000000", answer=HoldAnswer.ABANDON)
    assert story.record == before


def test_a_changed_document_is_verified_when_a_person_says_so() -> None:
    story = at_result()
    changed = upload("two")
    story.sees(DocumentChanged, desired=changed)
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.CHANGED_AFTER_START
    answered(story, HoldAnswer.RETRY, desired=changed)
    assert story.record.next == changed
    assert story.record.phase is Phase.DELETION


def test_a_changed_document_that_a_person_leaves_unheeded_is_not_asked_about_again() -> None:
    story = at_done()
    changed = upload("two")
    story.sees(DocumentChanged, desired=changed)
    answered(story, HoldAnswer.ABANDON)
    assert story.record.hold is None
    assert story.record.declined == changed.essence
    assert story.record.outcome is Outcome.ACCEPTED


def test_who_abandons_a_change_gives_up_the_verification_that_runs() -> None:
    """[I3] As with every other hold: the outcome is `abandoned`, and the dossier is deleted."""
    story = at_result()
    changed = upload("two")
    story.sees(DocumentChanged, desired=changed)
    answered(story, HoldAnswer.ABANDON)
    assert (story.record.phase, story.record.outcome) == (Phase.DELETION, Outcome.ABANDONED)
    assert story.effect == DeleteDossier(dossier_id="D1")
    assert (story.record.next, story.record.declined) == (None, changed.essence)


def test_nothing_can_be_adopted_for_a_changed_document() -> None:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two"))
    before = story.record
    answered(story, HoldAnswer.ADOPT, dossier_id="D9")
    assert story.record == before


def test_that_personal_values_were_shown_is_history_and_changes_nothing_else() -> None:
    """[I5]"""
    story = at_result()
    before = story.record
    story.sees(PersonalDataDisclosed)
    assert story.record.shown_at == story.now
    assert replace(story.record, shown_at=None, version=before.version) == before


def test_a_rerun_is_obeyed_once_per_token() -> None:
    """[I2]"""
    story = at_done()
    wanted = replace(story.record.desired, rerun="command-1")
    story.sees(RerunRequested, desired=wanted)
    assert story.record.generation == 2
    before = story.record
    story.record = replace(before, intent=None)
    story.sees(RerunRequested, desired=wanted, ask=False)
    assert story.record.next is None


def test_a_start_is_reserved_before_a_dossier_is_created() -> None:
    story = Story(upload(), policy=replace(POLICY, budgeted=True))
    assert isinstance(story.wakes(), ReserveStart)
    story.sees(StartReserved)
    assert story.record.reserved_at == story.now
    assert not isinstance(story.effect, ReserveStart)


def test_who_waits_for_the_budget_creates_nothing_and_never_expires() -> None:
    """[I3]"""
    story = Story(upload(deadline=60.0), policy=replace(POLICY, budgeted=True))
    story.wakes()
    story.sees(BudgetExhausted, until=NOW + 86400.0)
    assert story.record.state == "waiting"
    assert not story.record.progressing
    assert story.record.due_at == NOW + 86400.0
    assert isinstance(story.wakes(), ReserveStart)
    assert story.record.opened_at is None


def test_a_raised_budget_is_asked_again_at_once() -> None:
    story = Story(upload(), policy=replace(POLICY, budgeted=True))
    story.wakes()
    story.sees(BudgetExhausted, until=NOW + 86400.0)
    story.sees(RetryRequested)
    assert isinstance(story.effect, ReserveStart)


def test_a_sighted_result_is_read_by_itself_before_it_counts() -> None:
    story = at_result()
    story.policy = replace(POLICY, poll_fallback=900.0)
    story.wakes()
    story.reads(Status.PROCESSING)
    assert story.record.due_at == story.now + 900.0
    story.later(5).sees(ResultAvailable)
    assert isinstance(story.effect, ReadProcess)
    story.reads(Status.ACCEPTED)
    assert story.record.outcome is Outcome.ACCEPTED


def test_a_sighted_result_reads_no_process_more_often_than_the_gap() -> None:
    story = at_result()
    story.wakes()
    story.reads(Status.PROCESSING)
    story.sees(ResultAvailable)
    assert story.effect is None
    assert story.record.due_at == story.now + POLICY.min_read_interval


def test_a_sighted_result_does_not_hurry_looks_that_go_wrong() -> None:
    story = at_result()
    story.wakes()
    story.sees(EffectRefused, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=400))
    paced = story.record.due_at
    story.sees(ResultAvailable)
    assert story.effect is None
    assert story.record.due_at == paced


def test_a_two_page_document_whose_hold_is_retried_gets_another_process() -> None:
    """[I2] Nothing was billed."""
    story = at_create(upload(back=False))
    story.sees(DossierCreated, dossier_id="D1")
    assert isinstance(story.effect, CreateProcess)
    story.sees(ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=2)
    assert story.record.hold is not None
    answered(story, HoldAnswer.RETRY)
    assert story.record.phase is Phase.DELETION
    assert not story.record.billed
