"""Claims: stored in the step with the outcome or read again, and never lost to a deletion."""

import pytest
from story import (
    NOW,
    POLICY,
    Story,
    at_result,
    deletes,
    sealed,
    upload,
)

from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.errors import Impossible
from agent.core.observations import (
    ClaimsEncryptionFailed,
    DocumentRemoved,
    HoldResolved,
    ProcessRead,
    TimerFired,
)
from agent.core.record import HoldAnswer, Outcome, Phase

ACCEPTED = ProcessReading(process_id="P1", status=Status.ACCEPTED, checks=(("nonExpired", True),))
CLAIMS = upload(claims_ttl=3600.0)


def fails(story: Story, reason: str = "disk") -> None:
    """The encryption of the claims fails."""
    story.sees(ClaimsEncryptionFailed, reading=ACCEPTED, reason=reason)


def held() -> Story:
    """An accepted request, held because its claims cannot be encrypted."""
    story = at_result(CLAIMS)
    story.wakes()
    fails(story)
    while story.record.hold is None:
        story.wakes()
        fails(story)
    return story


def test_claims_and_outcome_are_one_step_and_no_repr_shows_them() -> None:
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


def test_an_accepted_result_without_its_claims_raises_impossible() -> None:
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


def test_a_request_held_for_claims_is_read_at_least_once_a_minute() -> None:
    story = held()
    for _ in range(10):
        story.wakes()
        fails(story)
    reads = [at for at, effect in story.asked if effect.kind is EffectKind.READ_PROCESS]
    assert story.record.due_at is not None
    assert story.record.due_at - reads[-1] <= POLICY.backoff_cap
    assert len([step for step in story.steps if step.events and step.events[0].type == "ClaimsEncryptionFailed"]) == 2


@pytest.mark.parametrize("ending", ["deadline", "abandon", "removed"])
def test_the_known_result_is_the_outcome_after_every_end_of_the_hold(ending: str) -> None:
    """The outcome is kept without its claims, because it was billed. No hold blocks the request without end [I1]."""
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
