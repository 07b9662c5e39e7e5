"""Claims in the machine: kept in the very step that has the outcome, or asked for again; never lost to a deletion."""

from dataclasses import replace

import pytest
from story import (
    NOW,
    POLICY,
    Story,
    at_images,
    at_look,
    at_result,
    at_start,
    deletes,
    sealed,
    upload,
)

from agent.core.assure_types import Depiction, ProcessReading, Status
from agent.core.effect import ClaimsRequest, EffectKind, ReadProcess
from agent.core.errors import Impossible
from agent.core.observations import (
    ClaimsEncryptionFailed,
    ClaimsErased,
    DocumentRemoved,
    HoldResolved,
    ImagesDiscarded,
    ImagesUploaded,
    ProcessRead,
    RetryRequested,
    TimerFired,
)
from agent.core.record import HoldAnswer, HoldReason, Outcome, Phase

ACCEPTED = ProcessReading(process_id="P1", status=Status.ACCEPTED, checks=(("nonExpired", True),))
CLAIMS = upload(claims_ttl=3600.0)


def fails(story: Story, reason: str = "disk") -> None:
    """The claims could not be sealed."""
    story.sees(ClaimsEncryptionFailed, reading=ACCEPTED, reason=reason)


def held() -> Story:
    """Accepted, and held because the claims could not be kept."""
    story = at_result(CLAIMS)
    story.wakes()
    fails(story)
    while story.record.hold is None:
        story.wakes()
        fails(story)
    return story


def test_every_read_that_may_be_final_asks_for_claims_and_none_does_without() -> None:
    for road in (at_look, at_result):
        story = road(CLAIMS)
        if story.effect is None:
            story.wakes()
        assert isinstance(story.effect, ReadProcess)
        assert story.effect.claims_request == ClaimsRequest(uid="u1", generation=1, ttl=3600.0)
    plain = at_look()
    assert isinstance(plain.effect, ReadProcess)
    assert plain.effect.claims_request is None


def test_outcome_claims_and_the_intent_to_delete_are_one_step() -> None:
    """[I4] And what is audited says until when they are kept, and nothing of them [I6]."""
    story = at_result(CLAIMS)
    story.wakes()
    story.sees(ProcessRead, reading=ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    assert story.record.outcome is Outcome.ACCEPTED
    assert story.record.intent is not None
    assert story.record.intent.kind is EffectKind.DELETE_DOSSIER
    assert story.step.encrypted_claims == sealed(NOW + 3600)
    assert story.step.events[0].changes["claimsUntil"] == NOW + 3600
    assert "ciphertext" not in repr((story.step, story.record))


def test_an_accepted_result_without_its_claims_is_our_bug_and_changes_nothing() -> None:
    story = at_result(CLAIMS)
    story.wakes()
    before = story.record
    with pytest.raises(Impossible, match="contains no claims"):
        story.sees(ProcessRead, reading=ACCEPTED)
    assert story.record is before


@pytest.mark.parametrize("status", [s for s in Status if s.final and s is not Status.ACCEPTED])
def test_other_results_have_no_claims(status: Status) -> None:
    story = at_result(CLAIMS)
    story.wakes()
    story.reads(status)
    assert story.record.outcome == status.value
    assert (story.step.encrypted_claims, story.record.claims_until) == (None, None)


def test_claims_that_cannot_be_kept_stop_the_deletion_and_then_a_person_is_asked() -> None:
    story = held()
    record = story.record
    assert (record.phase, record.outcome, record.state) == (Phase.RESULT, None, "held")
    assert record.hold is not None
    assert (record.hold.reason, record.hold.evidence) == (HoldReason.CLAIMS_NOT_KEPT, "disk")
    assert record.result is not None
    assert record.result.status is Status.ACCEPTED
    assert story.count(EffectKind.DELETE_DOSSIER) == 0
    assert story.count(EffectKind.READ_PROCESS) == 1 + POLICY.unexpected_answers


def test_it_heals_by_itself_once_claims_can_be_kept() -> None:
    story = held()
    story.wakes()
    assert isinstance(story.effect, ReadProcess)
    story.sees(ProcessRead, reading=ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    assert (story.record.outcome, story.record.hold) == (Outcome.ACCEPTED, None)
    assert story.record.claims_until == NOW + 3600
    deletes(story)


def test_it_is_looked_at_at_once_when_the_agent_starts_with_other_settings() -> None:
    story = held()
    story.later(5).sees(RetryRequested)
    assert isinstance(story.effect, ReadProcess)


def test_while_it_is_held_it_is_looked_at_once_a_minute_at_most() -> None:
    story = held()
    for _ in range(10):
        story.wakes()
        fails(story)
    looks = [at for at, effect in story.asked if effect.kind is EffectKind.READ_PROCESS]
    assert story.record.due_at is not None
    assert story.record.due_at - looks[-1] <= POLICY.backoff_cap
    assert len([step for step in story.steps if step.events and step.events[0].type == "ClaimsEncryptionFailed"]) == 2


@pytest.mark.parametrize("ending", ["deadline", "abandon", "removed"])
def test_whatever_ends_the_wait_the_result_that_was_read_is_the_outcome(ending: str) -> None:
    """It was paid for: without its claims, but not without its outcome. And nothing blocks for ever [I1]."""
    story = held()
    assert story.record.hold is not None
    if ending == "deadline":
        assert story.record.opened_at is not None
        story.now = story.record.opened_at + story.record.desired.deadline
        story.sees(TimerFired)
    elif ending == "abandon":
        story.sees(HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.ABANDON)
    else:
        story.sees(DocumentRemoved)
    assert (story.record.outcome, story.record.claims_until) == (Outcome.ACCEPTED, None)
    assert story.record.result is not None
    deletes(story)
    assert story.record.phase is Phase.DONE


def test_a_result_that_is_read_before_the_start_was_answered_is_kept_in_the_same_way() -> None:
    story = at_start(CLAIMS)
    story.unanswered(EffectKind.START_VERIFICATION)
    story.wakes()
    fails(story)
    assert (story.record.phase, story.record.billed) == (Phase.RESULT, True)
    story = at_images(CLAIMS)
    story.unanswered(EffectKind.UPLOAD_IMAGES)
    story.wakes()
    fails(story)
    assert (story.record.phase, story.record.billed) == (Phase.RESULT, True)
    story.wakes()
    story.sees(ProcessRead, reading=ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    assert story.record.outcome is Outcome.ACCEPTED


def test_that_claims_are_erased_is_told_and_changes_nothing_else() -> None:
    story = at_result(CLAIMS)
    story.wakes()
    story.sees(ProcessRead, reading=ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    deletes(story)
    before = story.record
    story.later(3600).sees(ClaimsErased)
    assert story.step.events[0].changes == {"claimsUntil": None}
    assert replace(story.record, claims_until=before.claims_until, version=before.version) == before


def test_images_are_owed_their_deletion_only_when_the_upload_was_answered_under_that_setting() -> None:
    story = at_images(policy=replace(POLICY, discard_images=True))
    assert not story.record.discard
    story.sees(ImagesUploaded)
    assert story.record.discard
    assert story.step.events[0].changes["discard"] is True
    assert not at_result().record.discard


def test_what_became_of_the_images_is_told() -> None:
    story = at_result(policy=replace(POLICY, discard_images=True))
    story.wakes()
    story.reads(Status.ACCEPTED)
    deletes(story)
    story.sees(ImagesDiscarded, results=((Depiction.FRONT, "deleted"), (Depiction.BACK, "changed")))
    changes = story.step.events[0].changes
    assert changes == {"discard": None, "discarded": [["front", "deleted"], ["back", "changed"]]}
