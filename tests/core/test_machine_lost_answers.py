"""Unanswered calls: a read settles each doubt before the effect is repeated (design §5)."""

import pytest
from story import (
    NOW,
    POLICY,
    UNKNOWNS,
    at_create,
    at_images,
    at_process,
    at_start,
    capture,
    deletes,
    doubted,
)

from agent.controller.create_barrier import CreateBarrier
from agent.core.assure_types import Status
from agent.core.effect import (
    CreateDossier,
    EffectKind,
    FindDossier,
    ReadDossier,
    ReadProcess,
    StartVerification,
    UploadImages,
)
from agent.core.next_effect import blocks_creates
from agent.core.observations import (
    DossierCreated,
    DossierSearched,
)
from agent.core.record import Phase
from agent.core.retry import start_spacing

# -- unknown: create dossier -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unanswered_create_is_searched_by_its_reference(how: str) -> None:
    """[I3]"""
    story = at_create()
    doubted(story, how)
    assert story.effect == FindDossier(reference="aa-a1-u1-1-1", since=NOW)
    assert story.record.priority == 0


def test_a_dossier_that_is_proven_absent_is_created_again_without_a_possible_orphan() -> None:
    """[I3] A short list proves nothing while the call may still act; then it does."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(POLICY.list_lag).sees(DossierSearched, dossier_id=None, complete=True)
    assert story.record.attempt == 1
    while not isinstance(story.effect, CreateDossier):
        story.wakes()
        if isinstance(story.effect, FindDossier):
            story.sees(DossierSearched, dossier_id=None, complete=True)
    assert story.effect == CreateDossier(reference="aa-a1-u1-1-2")
    assert NOW + POLICY.absence_grace < story.now < NOW + 2 * POLICY.absence_grace
    assert story.orphans == []


# -- the barrier -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_a_dossier_in_doubt_blocks_creates_until_a_late_list_lacks_it(how: str) -> None:
    """[I3]"""
    story = at_create()
    assert not blocks_creates(story.record, POLICY)
    doubted(story, how)
    assert blocks_creates(story.record, POLICY)
    story.sees(DossierSearched, dossier_id=None, complete=True)
    assert blocks_creates(story.record, POLICY)
    story.later(POLICY.list_lag).sees(DossierSearched, dossier_id=None, complete=True)
    assert not blocks_creates(story.record, POLICY)
    assert story.record.doubt is EffectKind.CREATE_DOSSIER


def test_a_doubtful_create_of_another_replica_blocks_new_creates() -> None:
    """[I3] Its dossier must be found before new ones displace it from the list."""
    story = at_create()
    barrier = CreateBarrier(POLICY)
    assert not barrier.follow([story.record], NOW)  # the call is in progress
    assert not barrier.active(NOW)
    story.unanswered(EffectKind.CREATE_DOSSIER)
    assert not barrier.follow([story.record], NOW + 1)
    assert barrier.active(NOW + 1)
    assert barrier.follow([], NOW + 2)  # the other replica found it
    assert not barrier.active(NOW + 2)


def test_a_found_dossier_blocks_no_creates() -> None:
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert not blocks_creates(story.record, POLICY)


def test_unanswered_creates_slow_down() -> None:
    """POST /dossiers answers 500 for an hour while the lists work. This must not make a busy loop. [I3]"""
    story = at_create()
    while story.now < NOW + 3600:
        if isinstance(story.effect, CreateDossier):
            story.unanswered(EffectKind.CREATE_DOSSIER)
        elif isinstance(story.effect, FindDossier):
            story.sees(DossierSearched, dossier_id=None, complete=True)
        else:
            story.wakes()
    assert story.count(EffectKind.CREATE_DOSSIER) < 200


# -- unknown: create process -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_after_an_unanswered_create_of_a_process_the_dossier_is_read(how: str) -> None:
    """[I2]"""
    story = at_process()
    doubted(story, how)
    assert story.effect is None
    assert isinstance(story.wakes(), ReadDossier)


# -- unknown: capture, upload, start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_after_an_unanswered_capture_the_dossier_is_deleted_and_another_attempt_begins(how: str) -> None:
    """No end user has the lost link. [I2, I3]"""
    story = at_process(capture())
    doubted(story, how)
    assert story.record.phase is Phase.DELETION
    assert not story.record.billed
    deletes(story)
    assert story.effect == CreateDossier(reference="aa-a1-u1-1-2")
    assert story.record.generation == 1


def test_unanswered_captures_slow_down() -> None:
    story = at_process(capture())
    while story.record.attempt < 8:
        story.unanswered(EffectKind.START_CAPTURE)
        deletes(story)
        story.sees(DossierCreated, dossier_id=f"D{story.record.attempt}")
    assert story.now - NOW > 15


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unanswered_upload_is_repeated_while_the_process_is_pending(how: str) -> None:
    story = at_images()
    doubted(story, how)
    assert isinstance(story.wakes(), ReadProcess)
    assert isinstance(story.reads(Status.PENDING), UploadImages)


@pytest.mark.parametrize("how", UNKNOWNS)
@pytest.mark.parametrize("status", [Status.PROCESSING, Status.ACCEPTED])
def test_an_unanswered_start_that_happened_is_not_repeated(how: str, status: Status) -> None:
    """[I2]"""
    story = at_start()
    doubted(story, how)
    story.wakes()
    story.reads(status)
    assert story.record.phase in (Phase.RESULT, Phase.DELETION)
    assert story.count(EffectKind.START_VERIFICATION) == 1


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unanswered_start_is_repeated_only_after_two_separate_pending_reads(how: str) -> None:
    """[I2]"""
    story = at_start()
    doubted(story, how)
    first_read = None
    while story.count(EffectKind.START_VERIFICATION) == 1:
        assert isinstance(story.wakes(), ReadProcess)
        first_read = story.now if first_read is None else first_read
        story.reads(Status.PENDING)
    assert first_read is not None
    assert story.now - first_read >= start_spacing(0, POLICY)
    assert story.effect == StartVerification(dossier_id="D1", process_id="P1")


def test_each_unanswered_start_needs_its_own_pending_reads() -> None:
    """[I2]"""
    story = at_start()
    for starts in (1, 2, 3):
        story.unanswered(EffectKind.START_VERIFICATION)
        since = story.now
        while story.count(EffectKind.START_VERIFICATION) == starts:
            story.wakes()
            story.reads(Status.PENDING)
        assert story.now - since >= start_spacing(0, POLICY)


# -- what is expected to be gone ---------------------------------------------------------------------------------------
