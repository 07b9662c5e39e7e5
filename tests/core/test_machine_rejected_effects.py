"""Effects that Assure objects to, and that a read shows not to have happened: repeated in growing intervals.

A start is billed, so only success proves anything about it. Assure may need the images again (contract §7).
"""

from collections.abc import Callable

import pytest
from story import LOST_CONNECTION, POLICY, Story, at_images, at_start

from agent.core.answer import Evidence, Trouble
from agent.core.assure_types import Status
from agent.core.effect import EffectKind
from agent.core.observations import (
    EffectUnanswered,
    HoldResolved,
    Resumed,
)
from agent.core.record import HoldAnswer, HoldReason
from agent.core.retry import start_spacing

START, UPLOAD = EffectKind.START_VERIFICATION, EffectKind.UPLOAD_IMAGES
SURPRISING = Evidence(status=201, cause="foreign-body", digest="0123456789abcdef")
DOWN = Evidence(status=503, cause="server-error")
TROUBLE = [pytest.param(LOST_CONNECTION, id="reset"), pytest.param(DOWN, id="503"), pytest.param(None, id="crash")]


def answered(story: Story, evidence: Evidence | None) -> None:
    """Deliver this answer to the open effect. None: the agent crashed."""
    assert story.record.intent is not None
    if evidence is None:
        story.sees(Resumed)
    else:
        story.sees(EffectUnanswered, kind=story.record.intent.kind, evidence=evidence)


def stays_pending(story: Story) -> None:
    """Deliver `pending` to reads, until a changing call or a hold follows."""
    while story.record.intent is None and story.record.hold is None:
        if story.effect is None:
            story.wakes()
        story.reads(Status.PENDING)


def again(story: Story, evidence: Evidence | None) -> None:
    """Deliver this answer; reads then show that the effect did not happen."""
    answered(story, evidence)
    stays_pending(story)


@pytest.mark.parametrize(("at", "evidence", "asked"), [(at_start, SURPRISING, START), (at_images, SURPRISING, UPLOAD)])
def test_an_effect_with_unexpected_answers_is_repeated_three_times_and_then_held(
    at: Callable[[], Story], evidence: Evidence, asked: EffectKind
) -> None:
    """[I1, I2]"""
    story = at()
    while story.record.hold is None:
        again(story, evidence)
    assert story.record.hold.reason is HoldReason.UNEXPECTED_ANSWER
    assert story.record.hold.evidence == f"{asked} 201 foreign-body 0123456789abcdef"
    assert story.count(asked) == 1 + POLICY.unexpected_answers
    story.sees(HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
    stays_pending(story)
    again(story, evidence)
    assert story.record.hold is None, "`retry` restarts the count"


@pytest.mark.parametrize("evidence", TROUBLE)
def test_a_failing_start_is_repeated_in_growing_intervals_and_never_held(evidence: Evidence | None) -> None:
    """An outage holds no request. A start is billed, so its repeats come at growing intervals. [I1, I2]"""
    story, pauses = at_start(), list[float]()
    for _ in range(7 + POLICY.start_repeats):
        asked = story.now
        again(story, evidence)
        assert story.record.hold is None
        pauses.append(story.now - asked)
    least = start_spacing(0, POLICY)
    for number, pause in enumerate(pauses):
        distance = min(least * 2 ** max(0, number - POLICY.start_repeats), POLICY.max_start_interval)
        assert distance <= pause <= distance + 2 * POLICY.backoff_cap
    reads = story.count(EffectKind.READ_PROCESS)
    assert reads < 90, "reads come less often as well"


def test_a_failing_upload_is_repeated_in_growing_intervals_and_never_held() -> None:
    """[I1]"""
    story = at_images()
    began = story.now
    for _ in range(12):
        again(story, DOWN)
        assert story.record.hold is None
    assert story.now - began > 120


@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.OVERSIZED])
def test_a_missing_answer_is_not_an_objection(trouble: Trouble) -> None:
    story = at_start()
    answered(story, Evidence(trouble=trouble, cause=trouble.value))
    assert story.record.objection is None
