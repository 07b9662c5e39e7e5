"""The machine and the file: changed, removed, back again, asked to run anew (design §4)."""

from dataclasses import replace

import pytest
from story import (
    NOW,
    Story,
    at_deletion,
    at_done,
    at_images,
    at_process,
    at_result,
    at_start,
    deletes,
    upload,
)

from agent.core.assure_types import Status
from agent.core.effect import (
    DeleteDossier,
    EffectKind,
    ReadProcess,
    VerifyImages,
)
from agent.core.errors import Impossible
from agent.core.observations import DocumentChanged, DocumentRemoved, DocumentReturned, EffectDelayed, ImagesVerified
from agent.core.record import HoldReason, Outcome, Phase

DAY = 86400.0


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_removed_before_anything_was_created_is_done_at_once() -> None:
    story = Story(upload())
    story.sees(DocumentRemoved)
    assert story.record.phase is Phase.DONE
    assert story.record.outcome is Outcome.WITHDRAWN


@pytest.mark.parametrize("at", [at_process, at_images, at_start])
def test_a_file_that_is_removed_before_the_outcome_is_withdrawn_and_its_dossier_deleted(at: object) -> None:
    story = at()  # type: ignore[operator]
    story.sees(EffectDelayed, kind=story.effect.kind)
    story.sees(DocumentRemoved)
    assert story.record.outcome is Outcome.WITHDRAWN
    assert isinstance(story.effect, DeleteDossier)


def test_a_removal_waits_for_the_open_effect() -> None:
    """[I3]"""
    story = at_process()
    with pytest.raises(Impossible):
        story.sees(DocumentRemoved)


def test_a_file_that_is_removed_after_the_outcome_leaves_the_outcome() -> None:
    story = at_done()
    story.sees(DocumentRemoved)
    assert story.record.outcome is Outcome.ACCEPTED
    assert not story.record.present


def test_a_removal_in_retention_deletes_at_once_and_the_outcome_stands() -> None:
    story = at_deletion(upload(retention=DAY))
    assert isinstance(story.sees(DocumentRemoved), DeleteDossier)
    assert story.record.outcome is Outcome.ACCEPTED


def test_a_changed_file_that_is_not_billed_is_superseded_and_its_dossier_deleted_first() -> None:
    """[I3]"""
    story = at_images()
    story.sees(EffectDelayed, kind=EffectKind.UPLOAD_IMAGES)
    story.sees(DocumentChanged, desired=upload("two"))
    assert isinstance(story.effect, DeleteDossier)
    assert story.record.generation == 1
    deletes(story)
    assert story.record.generation == 2
    assert story.record.desired.essence == "two"
    assert story.record.intents == 4
    assert isinstance(story.effect, VerifyImages)


def test_a_changed_file_before_anything_was_created_starts_over_at_once() -> None:
    story = Story(upload())
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.generation == 2
    assert isinstance(story.effect, VerifyImages)


def test_a_changed_file_after_the_start_is_held_and_the_observation_goes_on() -> None:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.CHANGED_AFTER_START
    assert isinstance(story.wakes(), ReadProcess)
    story.reads(Status.ACCEPTED)
    deletes(story)
    assert story.record.outcome is Outcome.ACCEPTED
    assert story.record.generation == 1
    assert story.record.state == "held"


def test_the_old_document_back_clears_the_question() -> None:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two"))
    story.sees(DocumentReturned, desired=upload())
    assert story.record.hold is None


def test_a_changed_file_after_the_end_is_held() -> None:
    story = at_done()
    story.sees(DocumentChanged, desired=upload("two"))
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.CHANGED_AFTER_START
    assert story.record.generation == 1


def test_the_same_change_told_twice_changes_nothing() -> None:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two"))
    story.later(10).sees(DocumentChanged, ask=False, desired=upload("two"))
    assert not story.step.changed


def test_labels_retention_deadline_and_suspension_are_applied_in_place() -> None:
    story = at_result()
    changed = upload(labels=(("team", "b"),), retention=60.0, deadline=2 * DAY)
    story.sees(DocumentChanged, desired=changed)
    assert story.record.generation == 1
    assert story.record.hold is None
    assert story.record.desired.retention == 60.0
    assert story.record.desired.labels == (("team", "b"),)


def test_a_shorter_deadline_counts_at_once() -> None:
    story = at_images()
    story.later(120).sees(EffectDelayed, kind=EffectKind.UPLOAD_IMAGES)
    story.sees(DocumentChanged, desired=upload(deadline=60.0))
    assert story.record.outcome is Outcome.EXPIRED


def test_a_retention_that_changes_in_retention_moves_the_deletion() -> None:
    story = at_deletion(upload(retention=DAY))
    story.sees(DocumentChanged, desired=upload(retention=60.0))
    assert isinstance(story.wakes(), DeleteDossier)
    assert story.now - NOW < 120


def test_images_admitted_stay_when_a_document_changes_in_place() -> None:
    story = at_result()
    other = tuple(replace(image, sha256="0" * 64) for image in story.desired.images)
    story.sees(DocumentChanged, desired=upload(retention=60.0, images=other))
    assert story.record.desired.images == story.desired.images


def test_a_rerun_token_is_obeyed_exactly_once() -> None:
    story = at_done()
    story.sees(DocumentChanged, desired=upload(rerun="t1"))
    assert story.record.generation == 2
    story.sees(ImagesVerified, ask=False)
    story.sees(DocumentChanged, ask=False, desired=upload())
    story.sees(DocumentChanged, ask=False, desired=upload(rerun="t1"))
    assert story.record.generation == 2
    assert story.record.reruns == ("t1",)


def test_a_rerun_token_that_comes_with_a_change_makes_it_a_new_generation_after_billing() -> None:
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two", rerun="t1"))
    deletes(story)
    assert story.record.generation == 2
    assert story.record.hold is None
    assert not story.record.billed


def test_a_token_that_was_there_at_admission_asks_for_nothing_more() -> None:
    story = at_done(upload(rerun="t1"))
    story.sees(DocumentChanged, desired=upload(rerun=None))
    story.sees(DocumentChanged, desired=upload(rerun="t1"))
    assert story.record.generation == 1


def test_a_file_that_is_back_with_the_same_words_after_its_end_starts_nothing() -> None:
    story = at_done()
    story.sees(DocumentRemoved)
    story.sees(DocumentReturned, desired=upload())
    assert story.effect is None
    assert story.record.generation == 1
    assert story.record.state == "done"


def test_a_file_that_was_withdrawn_unbilled_and_is_back_starts_over() -> None:
    story = at_process()
    story.sees(EffectDelayed, kind=EffectKind.CREATE_PROCESS)
    story.sees(DocumentRemoved)
    deletes(story)
    story.sees(DocumentReturned, desired=upload())
    assert story.record.generation == 2
    assert isinstance(story.effect, VerifyImages)


def test_a_file_that_was_withdrawn_after_billing_and_is_back_is_held() -> None:
    story = at_result()
    story.sees(DocumentRemoved)
    deletes(story)
    story.sees(DocumentReturned, desired=upload())
    assert story.effect is None
    assert story.record.hold is not None
    assert story.record.hold.reason is HoldReason.REAPPEARED_AFTER_START


def test_a_file_that_was_withdrawn_unbilled_and_is_back_with_another_label_starts_over() -> None:
    """No request is ever lost [I1]: it is wanted, and nothing is under way for it."""
    story = Story(upload())
    story.sees(DocumentRemoved)
    story.sees(DocumentChanged, desired=upload(retention=60.0))
    assert story.record.phase is not Phase.DONE


def test_a_file_that_was_withdrawn_after_billing_and_is_back_with_another_label_is_held() -> None:
    """Design §4: withdrawn after billing and back again: held `reappeared-after-start`."""
    story = at_result()
    story.sees(DocumentRemoved)
    deletes(story)
    story.sees(DocumentChanged, desired=upload(retention=60.0))
    assert story.record.hold is not None


def test_a_billed_generation_is_never_attempted_again() -> None:
    """Rerun asked for, file removed, file back, all while the old dossier is being deleted: two starts. [I2]"""
    story = at_result()
    story.sees(DocumentChanged, desired=upload("two", rerun="t1"))
    story.sees(EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(DocumentRemoved)
    story.sees(DocumentReturned, desired=upload())
    deletes(story)
    assert story.record.phase is Phase.DONE or story.record.generation == 2


def test_a_rerun_that_is_taken_back_before_it_began_does_not_verify_the_old_document_again() -> None:
    """Design §4: the same name and digest again: same generation, nothing starts."""
    story = at_deletion()
    story.sees(EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(DocumentChanged, ask=False, desired=upload("two", rerun="t1"))
    story.sees(DocumentReturned, ask=False, desired=upload())
    story.wakes()
    deletes(story)
    assert story.record.generation == 1
    assert story.record.outcome is Outcome.ACCEPTED
