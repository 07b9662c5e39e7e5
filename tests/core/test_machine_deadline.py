"""Reads after the deadline (design §4)."""

from collections.abc import Callable

import pytest
from story import (
    NOW,
    POLICY,
    Story,
    at_images,
    at_process,
    at_read_before_start,
    at_result,
    listed,
    upload,
)

from agent.core.answer import Evidence
from agent.core.assure_types import Status
from agent.core.effect import (
    DeleteDossier,
    EffectKind,
    ReadDossier,
    ReadProcess,
)
from agent.core.observations import (
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesUploaded,
)
from agent.core.record import HoldReason, Outcome

DAY = 86400.0


# -- deadline, hold ttl, suspension ------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [at_process, at_images, at_read_before_start])
def test_an_unbilled_request_expires_at_the_deadline(at: object) -> None:
    story = at(upload(deadline=60.0))  # type: ignore[operator]
    kind = story.effect.kind
    story.later(60).sees(EffectDelayed, kind=kind)
    assert story.record.outcome is Outcome.EXPIRED
    assert isinstance(story.effect, DeleteDossier)


def late(seen: Callable[[Story], object] = lambda story: story.unanswered(EffectKind.READ_PROCESS)) -> Story:
    """A request past its deadline whose reads give no result, until the deadline decides."""
    story = at_result(upload(deadline=60.0)).later(60)
    while story.record.outcome is None:
        if isinstance(story.wakes(), ReadProcess):
            seen(story)
    return story


def reads_since(story: Story, after: float) -> int:
    """The number of reads of its process since then."""
    return sum(isinstance(effect, ReadProcess) and at >= after for at, effect in story.asked)


def test_reads_after_the_deadline_continue_for_an_hour() -> None:
    """[I3]"""
    story = late()
    assert story.record.outcome is Outcome.EXPIRED
    assert reads_since(story, NOW + 60) > POLICY.late_read_limit
    assert POLICY.late_read_window <= story.now - NOW - 60 <= POLICY.late_read_window + POLICY.backoff_cap


def test_reads_after_the_deadline_end_only_after_many_reads() -> None:
    """While the circuit breaker is open, there are no reads and no deletions. Time alone decides nothing. [I3]"""
    story = at_result(upload(deadline=60.0))
    story.wakes()
    story.unanswered(EffectKind.READ_PROCESS)
    story.later(DAY).wakes()
    while story.record.outcome is None:
        assert isinstance(story.effect, ReadProcess)
        story.unanswered(EffectKind.READ_PROCESS)
        if story.record.outcome is None:
            story.wakes()
    assert story.record.outcome is Outcome.EXPIRED
    assert reads_since(story, NOW + 60) == POLICY.late_read_limit


def test_failed_reads_before_the_deadline_do_not_count() -> None:
    story = at_result(upload(deadline=7200.0))
    while story.record.failures < 2 * POLICY.late_read_limit:
        if isinstance(story.wakes(), ReadProcess):
            story.unanswered(EffectKind.READ_PROCESS)
    story.later(DAY).wakes()
    assert isinstance(story.effect, ReadProcess)
    story.reads(Status.ACCEPTED)
    assert story.record.outcome is Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("seen", "evidence"),
    [
        (EffectUnanswered, Evidence(status=200, cause="unreadable")),
        (EffectRefused, Evidence(status=403, cause="error-body")),
    ],
)
def test_unexpected_answers_after_the_deadline_are_repeated_for_an_hour(
    seen: type[EffectUnanswered | EffectRefused], evidence: Evidence
) -> None:
    """The request is held. A page of a proxy must not end it within seconds."""
    asked = []

    def page(story: Story) -> None:
        story.sees(seen, kind=EffectKind.READ_PROCESS, evidence=evidence)
        asked.append(story.record.hold)

    story = late(page)
    assert [hold.reason for hold in asked if hold is not None][:1] == [HoldReason.UNEXPECTED_ANSWER]
    assert story.record.outcome is Outcome.EXPIRED
    assert story.now - NOW - 60 >= POLICY.late_read_window


def test_a_start_in_doubt_without_a_listed_process_ends_after_the_deadline() -> None:
    """[I1, I3] Each read is answered, and none gives a result."""
    story = at_process(upload(deadline=3600.0))
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(ImagesUploaded)
    story.reads_dossier(listed("P1"))
    story.unanswered(EffectKind.START_VERIFICATION)
    while story.record.outcome is None:
        assert story.now < NOW + DAY
        if isinstance(story.wakes(), ReadDossier):
            story.reads_dossier()
    assert story.record.outcome is Outcome.EXPIRED
