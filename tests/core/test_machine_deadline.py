"""The machine and time: deadline, hold ttl, suspension (design §4)."""

from collections.abc import Callable

import pytest
from story import (
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
    sealed,
    upload,
)

from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import (
    CreateDossier,
    DeleteDossier,
    EffectKind,
    ReadDossier,
    ReadProcess,
    VerifyImages,
)
from agent.core.observations import (
    DocumentChanged,
    DocumentReturned,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesUploaded,
    ImagesVerified,
    ProcessRead,
    SealingFailed,
)
from agent.core.record import HoldReason, Outcome

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


def late(seen: Callable[[Story], object] = lambda story: story.unanswered(EffectKind.READ_PROCESS)) -> Story:
    """A request whose deadline has come, and whose looks tell nothing, until it decides."""
    story = at_result(upload(deadline=60.0)).later(60)
    while story.record.outcome is None:
        if isinstance(story.wakes(), ReadProcess):
            seen(story)
    return story


def looks(story: Story, after: float) -> int:
    """How often its process was read since then."""
    return sum(isinstance(effect, ReadProcess) and at >= after for at, effect in story.asked)


def test_a_last_look_is_asked_for_an_hour_however_often_it_was_asked() -> None:
    """[I3]"""
    story = late()
    assert story.record.outcome is Outcome.EXPIRED
    assert looks(story, NOW + 60) > POLICY.last_tries
    assert POLICY.last_look <= story.now - NOW - 60 <= POLICY.last_look + POLICY.backoff_cap


def test_a_last_look_is_given_up_only_when_it_was_asked_often() -> None:
    """While Assure answers nobody no look is asked, and nothing could be deleted: time alone gives up nothing. [I3]"""
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
    assert looks(story, NOW + 60) == POLICY.last_tries


def test_what_went_wrong_before_the_deadline_is_no_last_look() -> None:
    story = at_result(upload(deadline=7200.0))
    while story.record.failures < 2 * POLICY.last_tries:
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
def test_answers_of_another_kind_to_the_last_look_are_asked_again_for_as_long(
    seen: type[EffectUnanswered | EffectRefused], evidence: Evidence
) -> None:
    """A person is told; but a page of somebody on the way takes no result away within seconds."""
    asked = []

    def page(story: Story) -> None:
        story.sees(seen, kind=EffectKind.READ_PROCESS, evidence=evidence)
        asked.append(story.record.hold)

    story = late(page)
    assert [hold.reason for hold in asked if hold is not None][:1] == [HoldReason.SURPRISE]
    assert story.record.outcome is Outcome.EXPIRED
    assert story.now - NOW - 60 >= POLICY.last_look


def test_who_is_held_for_answers_of_another_kind_has_a_last_look_all_the_same() -> None:
    """A page of somebody on the way, shortly before the deadline: nobody had the time to answer."""
    story = at_result(upload(deadline=60.0))
    while story.record.hold is None:
        story.wakes()
        story.sees(EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=200, cause="unreadable"))
    assert story.now < NOW + 60
    story.later(60).wakes()
    assert (story.record.outcome, type(story.effect)) == (None, ReadProcess)
    story.reads(Status.ACCEPTED)
    assert story.record.outcome is Outcome.ACCEPTED


def test_a_last_look_whose_claims_cannot_be_kept_is_tried_again_as_before_the_deadline() -> None:
    accepted = ProcessReading(process_id="P1", status=Status.ACCEPTED)
    story = at_result(upload(deadline=60.0, claims_ttl=DAY)).later(60)
    story.wakes()
    for _ in range(POLICY.surprises + 2):
        story.sees(SealingFailed, reading=accepted, reason="disk")
        assert story.record.outcome is None
        story.wakes()
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.CLAIMS_NOT_KEPT
    story.sees(ProcessRead, reading=accepted, sealed=sealed(story.now + DAY))
    assert (story.record.outcome, story.record.claims_until) == (Outcome.ACCEPTED, story.now + DAY)


def test_a_start_in_doubt_whose_process_is_not_in_its_dossier_ends_after_the_deadline() -> None:
    """[I1, I3] Each look is answered, and none tells anything."""
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
