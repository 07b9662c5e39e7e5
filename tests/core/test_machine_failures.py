"""The machine in trouble: deletions that fail, 404, holds, surprises and delays (design §4, §5)."""

import pytest
from story import (
    NOW,
    POLICY,
    UNKNOWNS,
    Story,
    at_create,
    at_deletion,
    at_images,
    at_process,
    at_result,
    at_start,
    capture,
    deletes,
    doubted,
    upload,
)

from agent.core.answer import Evidence
from agent.core.assure_types import Depiction, Status
from agent.core.effect import (
    CreateDossier,
    DeleteDossier,
    EffectKind,
    ReadDossier,
    StartCapture,
    UploadImages,
    VerifyImages,
)
from agent.core.observations import (
    DocumentChanged,
    DossierDeleted,
    EffectDelayed,
    EffectRefused,
    EffectUnanswered,
    ImagesInvalid,
    ImagesVerified,
    ProcessCreated,
    TargetMissing,
)
from agent.core.record import HoldReason, Outcome, Phase

DAY = 86400.0
SURPRISING = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")

# -- deletion ----------------------------------------------------------------------------------------------------------


def test_a_404_to_the_deletion_is_a_deletion_and_is_confirmed() -> None:
    story = at_deletion()
    story.sees(TargetMissing, kind=EffectKind.DELETE_DOSSIER)
    assert isinstance(story.effect, ReadDossier)
    story.sees(TargetMissing, kind=EffectKind.READ_DOSSIER)
    assert story.record.phase is Phase.DONE


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unknown_deletion_is_repeated_and_then_confirmed(how: str) -> None:
    story = at_deletion()
    doubted(story, how)
    assert isinstance(story.wakes(), DeleteDossier)
    story.sees(DossierDeleted)
    assert isinstance(story.effect, ReadDossier)


def test_a_dossier_that_can_still_be_read_is_deleted_again() -> None:
    """[I3]"""
    story = at_deletion()
    story.sees(DossierDeleted)
    while not isinstance(story.effect, DeleteDossier):
        if story.effect is None:
            story.wakes()
        else:
            story.reads_dossier()
    assert story.count(EffectKind.DELETE_DOSSIER) == 2


def test_a_refused_deletion_is_tried_for_ever_and_never_held() -> None:
    story = at_deletion()
    for _ in range(50):
        story.sees(EffectRefused, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=403))
        assert story.record.hold is None
        assert isinstance(story.wakes(), DeleteDossier)


def test_surprises_in_the_deletion_are_never_held() -> None:
    story = at_deletion()
    story.sees(DossierDeleted)
    for _ in range(10):
        story.sees(EffectUnanswered, kind=EffectKind.READ_DOSSIER, evidence=SURPRISING)
        assert isinstance(story.wakes(), ReadDossier)


def test_retention_keeps_the_dossier_for_as_long_as_it_says() -> None:
    story = at_deletion(upload(retention=3600.0))
    assert story.effect is None
    assert story.record.state == "waiting"
    known = story.now
    assert isinstance(story.wakes(), DeleteDossier)
    assert story.now - known == 3600.0


# -- 404 elsewhere -----------------------------------------------------------------------------------------------------


def test_one_404_is_not_gone() -> None:
    story = at_result()
    story.wakes()
    story.sees(TargetMissing, kind=EffectKind.READ_PROCESS)
    assert story.record.phase is Phase.RESULT
    story.wakes()
    story.reads(Status.ACCEPTED)
    assert story.record.outcome is Outcome.ACCEPTED


def test_a_confirmed_404_is_lost_and_the_dossier_is_deleted_all_the_same() -> None:
    story = at_result()
    since = None
    confirmations = 0
    while story.record.outcome is None:
        story.wakes()
        since = story.now if since is None else since
        story.sees(TargetMissing, kind=EffectKind.READ_PROCESS)
        confirmations += 1
    assert since is not None
    assert story.record.outcome is Outcome.LOST
    assert confirmations >= POLICY.missing_confirmations
    assert story.now - since >= POLICY.missing_grace
    assert isinstance(story.effect, DeleteDossier)


def test_a_success_between_two_404_begins_the_count_anew() -> None:
    story = at_result()
    for _ in range(20):
        story.wakes()
        story.sees(TargetMissing, kind=EffectKind.READ_PROCESS)
        story.wakes()
        story.reads(Status.PROCESSING)
    assert story.record.phase is Phase.RESULT


def test_a_404_to_an_effect_that_changes_is_confirmed_as_well() -> None:
    story = at_images()
    while story.record.outcome is None:
        assert isinstance(story.effect, UploadImages)
        story.sees(TargetMissing, kind=EffectKind.UPLOAD_IMAGES)
        if story.record.outcome is None:
            story.wakes()
    assert story.record.outcome is Outcome.LOST


# -- holds -------------------------------------------------------------------------------------------------------------


def test_a_document_of_two_pages_without_a_back_image_is_held_before_anything_is_billed() -> None:
    story = at_process(upload(back=False))
    story.sees(ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=2)
    assert story.effect is None
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.BACK_IMAGE_REQUIRED
    assert not story.record.billed


def test_a_back_image_that_is_added_begins_a_new_generation() -> None:
    story = at_process(upload(back=False))
    story.sees(ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=2)
    story.sees(DocumentChanged, desired=upload("with-back"))
    deletes(story)
    assert story.record.generation == 2
    assert story.record.hold is None


def test_images_that_changed_are_held_before_a_dossier_is_created_and_cured_when_they_are_back() -> None:
    story = Story(upload())
    story.wakes()
    story.sees(ImagesInvalid, depiction=Depiction.FRONT, reason="changed")
    assert story.record.state == "held"
    held_at = story.now
    assert isinstance(story.wakes(), VerifyImages)
    assert story.now - held_at == POLICY.image_recheck_interval
    story.sees(ImagesVerified)
    assert story.record.hold is None
    assert isinstance(story.effect, CreateDossier)


def test_images_that_changed_at_the_upload_are_held_and_cured_without_a_new_process() -> None:
    story = at_images()
    story.sees(ImagesInvalid, depiction=Depiction.BACK, reason="missing", kind=EffectKind.UPLOAD_IMAGES)
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.IMAGES_CHANGED
    assert isinstance(story.wakes(), VerifyImages)
    assert isinstance(story.sees(ImagesVerified), UploadImages)
    assert story.count(EffectKind.CREATE_PROCESS) == 1


def test_the_id_of_a_hold_stays_while_the_question_stays() -> None:
    story = Story(upload())
    story.wakes()
    story.sees(ImagesInvalid, depiction=Depiction.FRONT, reason="changed")
    first = story.record.hold
    story.wakes()
    story.sees(ImagesInvalid, depiction=Depiction.FRONT, reason="changed")
    assert story.record.hold == first


@pytest.mark.parametrize("at", [at_create, at_process, at_images, at_start])
def test_what_assure_refuses_is_held_and_not_asked_again(at: object) -> None:
    story = at()  # type: ignore[operator]
    story.sees(EffectRefused, kind=story.effect.kind, evidence=Evidence(status=400))
    assert story.effect is None
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.REFUSED
    assert story.record.due_at == NOW + DAY  # the privacy clock alone


def test_a_surprise_is_asked_again_three_times_before_it_is_held() -> None:
    story = at_result()
    for surprise in range(1, POLICY.unexpected_answers + 2):
        assert story.record.hold is None
        story.wakes()
        story.sees(EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=SURPRISING)
        assert story.record.unexpected_answers == surprise
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.UNEXPECTED_ANSWER
    assert story.record.hold.evidence == "read_process 200 unreadable 0123456789abcdef"


def test_server_trouble_is_no_surprise_and_is_asked_for_as_long_as_it_takes() -> None:
    story = at_result()
    for _ in range(50):
        story.wakes()
        story.sees(EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=503))
    assert story.record.hold is None


@pytest.mark.parametrize("kind", [EffectKind.CREATE_DOSSIER, EffectKind.CREATE_PROCESS, EffectKind.UPLOAD_IMAGES])
def test_who_is_told_to_come_back_later_comes_back_then(kind: EffectKind) -> None:
    """429 and 401."""
    at = {
        EffectKind.CREATE_DOSSIER: at_create,
        EffectKind.CREATE_PROCESS: at_process,
        EffectKind.UPLOAD_IMAGES: at_images,
    }
    story = at[kind]()
    story.sees(EffectDelayed, kind=kind, retry_after=17.0)
    assert story.effect is None
    asked = story.wakes()
    assert asked is not None
    assert asked.kind is kind
    assert story.now - NOW == 17.0


def test_a_capture_that_was_delayed_keeps_its_dossier() -> None:
    story = at_process(capture())
    story.sees(EffectDelayed, kind=EffectKind.START_CAPTURE, retry_after=5.0)
    assert story.wakes() == StartCapture(dossier_id="D1", options=story.desired.capture)  # type: ignore[arg-type]


def test_delays_grow_up_to_a_cap() -> None:
    story = at_result()
    waits = []
    for _ in range(12):
        story.wakes()
        story.sees(EffectDelayed, kind=EffectKind.READ_PROCESS)
        assert story.record.due_at is not None
        waits.append(story.record.due_at - story.now)
    assert waits == sorted(waits)
    assert waits[0] >= POLICY.min_read_interval
    assert waits[-1] <= POLICY.backoff_cap
