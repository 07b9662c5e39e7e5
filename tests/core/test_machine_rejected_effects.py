"""Effects that Assure itself objects to while a read says that they did not happen: again, ever later, not for ever.

A start is billed, so none of its answers but success proves anything; the images may be owed once more (contract §7).
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from story import LOST_CONNECTION, NOW, POLICY, REFUSED, Story, at_images, at_process, at_start, listed, upload

from agent.core.answer import Evidence, Trouble
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import EffectKind, ReadProcess, StartVerification, UploadImages
from agent.core.observations import (
    DocumentChanged,
    EffectRefused,
    EffectUnanswered,
    HoldResolved,
    ImagesUploaded,
    ProcessRead,
    Resumed,
)
from agent.core.record import HoldAnswer, HoldReason, Outcome, Phase
from agent.core.retry import start_spacing

START, UPLOAD = EffectKind.START_VERIFICATION, EffectKind.UPLOAD_IMAGES
SURPRISING = Evidence(status=201, cause="foreign-body", digest="0123456789abcdef")
DOWN = Evidence(status=503, cause="server-error")
TROUBLE = [pytest.param(LOST_CONNECTION, id="reset"), pytest.param(DOWN, id="503"), pytest.param(None, id="crash")]


def answered(story: Story, evidence: Evidence | None) -> None:
    """The open effect is answered so; None: we crashed."""
    assert story.record.intent is not None
    if evidence is None:
        story.sees(Resumed)
    else:
        story.sees(EffectUnanswered, kind=story.record.intent.kind, evidence=evidence)


def stays_pending(story: Story) -> None:
    """Reads say `pending`, until something that changes Assure is asked for, or a person."""
    while story.record.intent is None and story.record.hold is None:
        if story.effect is None:
            story.wakes()
        story.reads(Status.PENDING)


def again(story: Story, evidence: Evidence | None) -> None:
    """Answered so, and it did not happen."""
    answered(story, evidence)
    stays_pending(story)


def test_a_look_of_an_earlier_life_is_the_first_of_the_two_only_from_its_end_on() -> None:
    """[I2] The clock may have been set between the lives: the two looks are that far apart in this one."""
    story = at_start()
    story.unanswered(START)
    story.wakes()
    story.reads(Status.PENDING)
    distance = start_spacing(0, POLICY)
    story.later(distance)
    story.policy = replace(POLICY, started_at=story.now)  # killed, the clock set forward, and started again
    story.wakes()
    story.reads(Status.PENDING)
    assert story.count(START) == 1
    while story.count(START) == 1:
        story.wakes()
        if isinstance(story.effect, ReadProcess):
            story.reads(Status.PENDING)
    assert story.now >= story.policy.started_at + distance


def test_a_refused_start_is_asked_again_once_after_the_images_were_sent_again_and_then_held() -> None:
    """[I1, I2]"""
    story = at_start()
    again(story, REFUSED)
    assert isinstance(story.effect, UploadImages)
    assert story.record.billed
    story.sees(ImagesUploaded)
    story.reads(Status.PENDING)
    assert story.effect == StartVerification(dossier_id="D1", process_id="P1")
    again(story, REFUSED)
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.REFUSED
    assert story.record.hold.evidence == "start_verification 400 error-body"
    assert (story.count(START), story.count(UPLOAD)) == (2, 2)
    assert story.record.phase is Phase.VERIFICATION


def test_a_person_who_says_retry_has_the_process_read_and_the_start_asked_again() -> None:
    """[I1, I2] What was read before the hold proves nothing any more."""
    story = at_start()
    again(story, REFUSED)
    story.sees(ImagesUploaded)
    story.reads(Status.PENDING)
    again(story, REFUSED)
    assert story.record.hold is not None
    story.later(86000.0 - 600).sees(HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
    assert isinstance(story.effect or story.wakes(), ReadProcess)
    assert isinstance(story.reads(Status.PENDING), StartVerification)
    again(story, REFUSED)
    assert story.record.hold is not None
    assert story.count(UPLOAD) == 2


def test_a_refused_start_that_happened_all_the_same_is_observed() -> None:
    """Assure's "already started" after a start that was thought not to have happened. [I2]"""
    story = at_start()
    answered(story, REFUSED)
    story.wakes()
    story.reads(Status.PROCESSING)
    assert story.record.phase is Phase.RESULT
    assert (story.count(START), story.count(UPLOAD)) == (1, 1)


def test_images_that_are_refused_after_a_start_say_that_it_may_have_happened() -> None:
    """Both pending reads lagged behind: what was billed is observed and not left to a person. [I1, I2]"""
    story = at_start()
    again(story, REFUSED)
    story.sees(EffectRefused, kind=UPLOAD, evidence=REFUSED)
    assert isinstance(story.wakes(), ReadProcess)
    story.reads(Status.PROCESSING)
    assert story.record.phase is Phase.RESULT


def test_images_that_are_refused_after_a_start_while_the_process_is_pending_are_held() -> None:
    """[I1]"""
    story = at_start()
    again(story, REFUSED)
    story.sees(EffectRefused, kind=UPLOAD, evidence=REFUSED)
    stays_pending(story)
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.REFUSED


def test_after_an_unknown_create_the_images_are_owed_once_more_as_well() -> None:
    """The dossier is read then, and not only the process. [I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(ImagesUploaded)
    story.reads_dossier(listed("P1"))
    answered(story, REFUSED)
    while story.record.phase is Phase.VERIFICATION:
        story.wakes()
        story.reads_dossier(listed("P1"))
    assert isinstance(story.effect, UploadImages)


def test_at_the_deadline_the_process_is_read_once_more_though_its_images_are_owed() -> None:
    """A start was asked for: only Assure says whether it happened; and it is no time to send images. [I2]"""
    story = at_start()
    answered(story, REFUSED)
    while story.record.phase is Phase.VERIFICATION:
        story.wakes()
        reading = ProcessReading(process_id="P1", status=Status.PENDING)
        story.sees(ProcessRead, reading=reading, ask=False)
    story.sees(DocumentChanged, desired=upload(deadline=story.now - NOW + 2), ask=False)
    assert isinstance(story.later(5).wakes(), ReadProcess)
    story.reads(Status.PENDING)
    assert story.record.outcome is Outcome.EXPIRED
    assert story.count(UPLOAD) == 1


@pytest.mark.parametrize(("at", "evidence", "asked"), [(at_start, SURPRISING, START), (at_images, SURPRISING, UPLOAD)])
def test_a_surprise_is_asked_again_three_times_and_then_held(
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
    assert story.record.hold is None, "a person's answer begins the count anew"


@pytest.mark.parametrize("evidence", TROUBLE)
def test_a_start_in_trouble_is_repeated_ever_later_and_never_held(evidence: Evidence | None) -> None:
    """An outage is nobody's question; but it is billed, and 5 s apart it is not asked for. [I1, I2]"""
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
    assert reads < 90, "looks come less often as well"


def test_an_upload_in_trouble_is_repeated_ever_later_and_never_held() -> None:
    """[I1]"""
    story = at_images()
    began = story.now
    for _ in range(12):
        again(story, DOWN)
        assert story.record.hold is None
    assert story.now - began > 120


def test_a_success_begins_the_count_of_an_upload_anew() -> None:
    story = at_images()
    for _ in range(POLICY.unexpected_answers):
        again(story, SURPRISING)
    story.sees(ImagesUploaded)
    assert story.record.repeats == 0


@pytest.mark.parametrize("trouble", [Trouble.TIMEOUT, Trouble.OVERSIZED])
def test_no_answer_is_no_objection(trouble: Trouble) -> None:
    story = at_start()
    answered(story, Evidence(trouble=trouble, cause=trouble.value))
    assert story.record.objection is None
