"""The machine and time: deadline, hold ttl, suspension (design §4)."""

import pytest
from world import (
    NOW,
    POLICY,
    Story,
    at_deletion,
    at_images,
    at_look,
    at_process,
    at_result,
    at_start,
    capture,
    listed,
    upload,
)

from agent.core.answer import Evidence
from agent.core.effect import (
    CreateDossier,
    DeleteDossier,
    EffectKind,
    ReadProcess,
    VerifyImages,
)
from agent.core.observation import (
    DocumentChanged,
    DocumentReturned,
    EffectDelayed,
    EffectRefused,
    ImagesVerified,
)
from agent.core.record import Outcome
from agent.core.remote import Status

DAY = 86400.0


# -- deadline, hold ttl, suspension ------------------------------------------------------------------------------------


def test_before_the_first_create_there_is_no_deadline() -> None:
    story = Story(upload(deadline=60.0))
    story.wakes()
    story.later(10 * DAY).sees(ImagesVerified)
    assert isinstance(story.effect, CreateDossier)


@pytest.mark.parametrize("at", [at_process, at_images, at_look])
def test_what_is_not_billed_expires_at_the_deadline(at: object) -> None:
    story = at(upload(deadline=60.0))  # type: ignore[operator]
    kind = story.effect.kind
    story.later(60).sees(EffectDelayed, kind=kind)
    assert story.record.outcome is Outcome.EXPIRED
    assert isinstance(story.effect, DeleteDossier)


def test_the_deadline_reads_once_more_before_it_decides() -> None:
    story = at_result(upload(deadline=60.0))
    while story.now < NOW + 60:
        story.wakes()
        if story.now < NOW + 60:
            story.reads(Status.PROCESSING)
    assert isinstance(story.effect, ReadProcess)
    assert story.record.outcome is None
    story.reads(Status.PROCESSING)
    assert story.record.outcome is Outcome.EXPIRED


def test_a_last_look_is_given_up_when_it_was_asked_often_and_long_enough() -> None:
    """[I3] Asked often, not only for long: while Assure answers nobody no look is asked, and nothing can be deleted."""
    story = at_result(upload(deadline=60.0))
    story.wakes()
    story.unanswered(EffectKind.READ_PROCESS)
    tried = story.record.failures
    story.later(DAY).wakes()
    assert (story.record.outcome, type(story.effect)) == (None, ReadProcess)
    while story.record.outcome is None:
        story.unanswered(EffectKind.READ_PROCESS)
        tried = story.record.failures or tried + 1
        if story.record.outcome is None:
            story.wakes()
    assert story.record.outcome is Outcome.EXPIRED
    assert tried == POLICY.last_tries


def test_a_last_look_is_asked_for_an_hour_however_often_it_was_asked() -> None:
    """[I3]"""
    story = at_result(upload(deadline=60.0))
    tried = 0
    while story.record.outcome is None:
        if isinstance(story.wakes(), ReadProcess):
            story.unanswered(EffectKind.READ_PROCESS)
            tried += 1
    assert tried > POLICY.last_tries
    assert POLICY.last_look <= story.now - NOW - 60 <= POLICY.last_look + POLICY.backoff_cap


def test_a_final_status_in_the_last_look_wins() -> None:
    story = at_result(upload(deadline=60.0))
    story.later(60).wakes()
    story.reads(Status.REJECTED)
    assert story.record.outcome is Outcome.REJECTED


def test_the_last_look_at_a_capture_without_a_process_expires() -> None:
    story = at_result(capture(deadline=60.0))
    story.later(60).wakes()
    story.reads_dossier()
    assert story.record.outcome is Outcome.EXPIRED


def test_a_capture_that_shows_final_in_the_last_look_is_read_before_the_deadline_decides() -> None:
    """Design §4: the deadline reads once more; a final status read before the delete intent wins."""
    story = at_result(capture(deadline=60.0))
    story.later(60).wakes()
    story.reads_dossier(listed("P7", Status.ACCEPTED))
    assert story.record.outcome is None
    assert isinstance(story.effect, ReadProcess)


def test_a_question_about_the_file_does_not_take_the_last_look_away() -> None:
    """Design §4: held changed-after-start, the observation goes on; the deadline reads once more."""
    story = at_result(upload(deadline=60.0))
    story.sees(DocumentChanged, desired=upload("two", deadline=60.0))
    assert story.record.state == "held"
    story.later(60).wakes()
    assert story.record.outcome is None
    assert isinstance(story.effect, ReadProcess)


def test_a_start_in_doubt_at_the_deadline_has_its_last_look_and_is_not_asked_again() -> None:
    """[I2]"""
    story = at_start(upload(deadline=60.0))
    story.unanswered(EffectKind.START_VERIFICATION)
    story.later(60).wakes()
    assert isinstance(story.effect, ReadProcess)
    story.reads(Status.PENDING)
    assert story.record.outcome is Outcome.EXPIRED
    assert story.count(EffectKind.START_VERIFICATION) == 1


def test_a_start_that_was_delayed_over_the_deadline_is_not_asked_any_more() -> None:
    story = at_start(upload(deadline=60.0))
    story.sees(EffectDelayed, kind=EffectKind.START_VERIFICATION, retry_after=100.0)
    assert story.wakes() is None  # the deadline
    assert isinstance(story.wakes(), ReadProcess)  # what Assure asked us to wait
    story.reads(Status.PENDING)
    assert story.record.outcome is Outcome.EXPIRED
    assert story.count(EffectKind.START_VERIFICATION) == 1


def test_the_last_look_keeps_its_distance_from_the_look_before_the_start() -> None:
    story = at_look(upload(deadline=60.0))
    story.later(59.9).reads(Status.PENDING)
    story.sees(EffectDelayed, kind=EffectKind.START_VERIFICATION, chance=0.15)
    looked_at = story.now
    story.wakes()  # the deadline
    assert isinstance(story.wakes(), ReadProcess)
    assert story.now - looked_at >= POLICY.read_gap


def test_a_hold_keeps_the_dossier_no_longer_than_its_ttl() -> None:
    story = at_images(upload(deadline=30 * DAY))
    story.later(DAY).sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=Evidence(status=400))
    held_at = story.now
    story.wakes()
    assert story.now - held_at == POLICY.hold_ttl
    assert story.record.outcome is Outcome.EXPIRED
    assert isinstance(story.effect, DeleteDossier)


def test_a_hold_does_not_outlive_the_deadline() -> None:
    story = at_images(upload(deadline=DAY))
    story.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=Evidence(status=400))
    story.wakes()
    assert story.now - NOW == DAY
    assert story.record.outcome is Outcome.EXPIRED


def test_a_suspended_request_that_was_not_begun_waits_for_the_file_alone() -> None:
    story = Story(upload(suspend=True))
    assert story.record.due_at is None
    assert story.record.state == "suspended"
    story.sees(DocumentChanged, desired=upload(suspend=False))
    assert isinstance(story.effect, VerifyImages)
    assert story.record.generation == 1


def test_a_suspended_request_keeps_its_privacy_clock() -> None:
    story = at_result(upload(deadline=60.0))
    story.sees(DocumentChanged, desired=upload(deadline=60.0, suspend=True))
    assert story.effect is None
    story.wakes()
    assert story.now - NOW == 60
    assert isinstance(story.effect, ReadProcess)
    story.reads(Status.PROCESSING)
    assert story.record.outcome is Outcome.EXPIRED


def test_suspension_does_not_keep_a_dossier_from_its_deletion() -> None:
    story = at_deletion()
    story.sees(EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(DocumentChanged, desired=upload(suspend=True))
    assert isinstance(story.effect or story.wakes(), DeleteDossier)


def test_a_suspension_and_its_end_do_not_read_earlier_than_the_gap_allows() -> None:
    story = at_result()
    story.wakes()
    story.reads(Status.PROCESSING)
    story.later(0.1).sees(DocumentChanged, desired=upload(suspend=True))
    story.later(0.1).sees(DocumentReturned, desired=upload())


def test_a_suspension_and_its_end_do_not_overrule_retry_after() -> None:
    story = at_images()
    story.sees(EffectDelayed, kind=EffectKind.UPLOAD_IMAGES, retry_after=60.0)
    story.sees(DocumentChanged, desired=upload(suspend=True))
    story.later(1).sees(DocumentChanged, desired=upload())
    assert story.effect is None
