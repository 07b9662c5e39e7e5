"""The machine in doubt: an answer that is unknown is settled by a read before anything is repeated (design §5)."""

from dataclasses import replace

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
    at_start,
    capture,
    deletes,
    doubted,
    listed,
    upload,
)

from agent.core.answer import Evidence
from agent.core.assure_types import Status
from agent.core.effect import (
    CreateDossier,
    CreateProcess,
    DeleteDossier,
    EffectKind,
    FindDossier,
    ReadDossier,
    ReadProcess,
    StartVerification,
    UploadImages,
    VerifyImages,
)
from agent.core.errors import Impossible
from agent.core.next_effect import blocks_creates
from agent.core.observations import (
    DocumentChanged,
    DocumentRemoved,
    DossierCreated,
    DossierDeleted,
    DossierSearched,
    EffectDelayed,
    EffectUnanswered,
    ImagesUploaded,
    ImagesVerified,
    ProcessCreated,
    TargetMissing,
)
from agent.core.record import Outcome, Phase
from agent.core.retry import start_spacing

SURPRISING = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")

# -- unknown: create dossier -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unknown_dossier_is_looked_for_by_its_reference(how: str) -> None:
    """[I3]"""
    story = at_create()
    doubted(story, how)
    assert story.effect == FindDossier(reference="aa-a1-u1-1-1", since=NOW)
    assert story.record.priority == 0


def test_an_unknown_dossier_that_is_found_is_ours() -> None:
    """[I3]"""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert story.record.dossier_id == "D9"
    assert isinstance(story.effect, CreateProcess)
    assert story.orphans == []


def test_an_unknown_dossier_that_is_absent_too_early_is_looked_for_again() -> None:
    """[I3]"""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    assert story.sees(DossierSearched, dossier_id=None, complete=True) is None
    assert isinstance(story.wakes(), FindDossier)
    assert story.now - NOW == POLICY.list_lag


def test_an_unknown_dossier_that_is_proven_absent_is_created_anew_and_leaves_no_possible_orphan() -> None:
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


def test_a_dossier_that_shows_late_is_adopted_before_another_is_created() -> None:
    """[I3] The call acted long after we had given up waiting for its answer."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(POLICY.list_lag).sees(DossierSearched, dossier_id=None, complete=True)
    assert isinstance(story.wakes(), FindDossier)
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert story.record.dossier_id == "D9"
    assert story.count(EffectKind.CREATE_DOSSIER) == 1


def test_a_full_list_proves_nothing_another_is_created_and_the_reference_stays_on_the_books() -> None:
    """[I3]"""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(POLICY.list_lag).sees(DossierSearched, dossier_id=None, complete=False)
    assert story.orphans == ["aa-a1-u1-1-1"]
    assert story.wakes() == CreateDossier(reference="aa-a1-u1-1-2")


def test_an_unknown_dossier_is_looked_for_though_the_request_is_suspended_meanwhile() -> None:
    """[I3] Looking begins nothing, and a list of the last 100 does not wait."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id=None, complete=True)
    story.sees(DocumentChanged, desired=upload(suspend=True))
    assert isinstance(story.wakes(), FindDossier)
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert story.record.state == "suspended"
    assert story.effect is None


# -- the barrier -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_a_dossier_in_doubt_bars_others_until_a_list_lacks_it_that_had_to_show_it(how: str) -> None:
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


def test_a_dossier_that_is_found_bars_nobody_any_more() -> None:
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert not blocks_creates(story.record, POLICY)


def test_no_dossier_is_created_while_it_is_barred_and_all_else_goes_on() -> None:
    """[I3]"""
    barred = replace(POLICY, creates_blocked=True)
    story = Story(upload(), policy=barred)
    assert isinstance(story.wakes(), VerifyImages)
    assert story.sees(ImagesVerified) is None
    assert story.record.intent is None
    assert story.wakes() is None
    story.policy = POLICY
    assert isinstance(story.wakes(), CreateDossier)
    story.policy = barred
    assert isinstance(story.sees(DossierCreated, dossier_id="D1"), CreateProcess)


def test_a_dossier_in_doubt_is_settled_before_a_removal_is_heeded() -> None:
    """[I3]"""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id=None, complete=True)
    story.sees(DocumentRemoved)
    assert story.record.outcome is None
    story.wakes()
    story.sees(DossierSearched, dossier_id="D9", complete=True)
    assert story.record.outcome is Outcome.WITHDRAWN
    assert story.effect == DeleteDossier(dossier_id="D9")


def test_a_dossier_in_doubt_at_the_deadline_is_settled_and_then_expires() -> None:
    """[I3]"""
    story = at_create(upload(deadline=60.0))
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(60).sees(DossierSearched, dossier_id=None, complete=False)
    assert story.record.phase is Phase.DONE
    assert story.record.outcome is Outcome.EXPIRED
    assert story.orphans == ["aa-a1-u1-1-1"]


def test_the_grace_for_lagging_lists_counts_from_when_the_call_may_have_acted() -> None:
    """Design §5: absence is proved "after a grace for lagging reads"; a call may act until its timeout. [I3]"""
    story = at_create()
    story.later(POLICY.request_timeout).unanswered(EffectKind.CREATE_DOSSIER)
    story.later(0.1).sees(DossierSearched, dossier_id=None, complete=True)
    assert story.record.attempt == 1


def test_attempts_at_a_dossier_slow_down_when_none_is_ever_answered() -> None:
    """POST /dossiers answers 500 for an hour while the lists work: this may not make a loop of dossiers. [I3]"""
    story = at_create()
    while story.now < NOW + 3600:
        if isinstance(story.effect, CreateDossier):
            story.unanswered(EffectKind.CREATE_DOSSIER)
        elif isinstance(story.effect, FindDossier):
            story.sees(DossierSearched, dossier_id=None, complete=True)
        else:
            story.wakes()
    assert story.count(EffectKind.CREATE_DOSSIER) < 200


def test_a_removal_under_a_hold_with_a_dossier_in_doubt_does_not_wait_for_the_deadline() -> None:
    """Design §4: a removed file is withdrawn before the outcome; nobody will answer the hold any more."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    for _ in range(POLICY.unexpected_answers + 1):
        if story.effect is None:
            story.wakes()
        story.sees(EffectUnanswered, kind=EffectKind.FIND_DOSSIER, evidence=SURPRISING)
    assert story.record.state == "held"
    story.sees(DocumentRemoved)
    assert story.record.due_at is not None
    assert story.record.due_at < story.now + 3600


def test_a_removal_while_suspended_with_a_dossier_in_doubt_does_not_wait_for_the_deadline() -> None:
    """Design §4: a removed file is withdrawn before the outcome."""
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.sees(DossierSearched, dossier_id=None, complete=True)
    story.sees(DocumentChanged, desired=upload(suspend=True))
    story.sees(DocumentRemoved)
    assert story.record.due_at is not None
    assert story.record.due_at < story.now + 3600


# -- unknown: create process -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_after_an_unknown_process_the_dossier_is_read(how: str) -> None:
    """[I2]"""
    story = at_process()
    doubted(story, how)
    assert story.effect is None
    assert isinstance(story.wakes(), ReadDossier)


def test_the_oldest_pending_process_that_matches_is_adopted() -> None:
    """[I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(
        listed("P3", created_at="3"),
        listed("P2", created_at="2"),
        listed("P1", created_at="1", process_type="documentSelfie"),
        listed("P0", created_at="0", provider="another"),
    )
    assert story.record.process_id == "P2"
    assert isinstance(story.effect, UploadImages)


def test_an_unknown_process_that_is_not_pending_is_observed_and_never_started() -> None:
    """[I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"), listed("P2", Status.PROCESSING))
    assert story.record.phase is Phase.RESULT
    assert story.effect == ReadProcess(dossier_id="D1", process_id="P2")


def test_a_process_that_is_not_listed_is_created_again_after_the_grace() -> None:
    """[I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    assert story.reads_dossier() is None
    assert isinstance(story.wakes(), ReadDossier)
    assert story.reads_dossier() is None
    assert isinstance(story.wakes(), CreateProcess)
    assert story.now - NOW >= POLICY.list_lag


def test_without_a_back_image_a_listed_process_is_not_adopted() -> None:
    """A listed process does not tell its pages; only a fresh one proves that none is needed."""
    story = at_process(upload(back=False))
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    assert isinstance(story.reads_dossier(listed("P1")), CreateProcess)
    story.sees(ProcessCreated, process_id="P2", status=Status.PENDING, document_pages=1)
    assert story.record.process_id == "P2"


def test_after_an_unknown_process_all_of_the_dossier_is_read_before_the_start() -> None:
    """[I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    assert isinstance(story.sees(ImagesUploaded), ReadDossier)
    story.reads_dossier(listed("P1"), listed("P2", Status.ACCEPTED))
    assert story.record.phase is Phase.RESULT
    assert story.effect == ReadProcess(dossier_id="D1", process_id="P2")
    assert story.count(EffectKind.START_VERIFICATION) == 0


def test_a_dossier_that_does_not_list_our_process_proves_nothing_before_a_start() -> None:
    """Design §5: the read before the start has to show the process pending; a lagging list shows nothing. [I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(ImagesUploaded)
    assert not isinstance(story.reads_dossier(), StartVerification)


def test_the_grace_for_a_lagging_dossier_counts_from_when_the_process_may_have_been_created() -> None:
    """Design §5, as for dossiers."""
    story = at_process()
    story.later(POLICY.request_timeout).unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    assert not isinstance(story.reads_dossier(), CreateProcess)


# -- unknown: capture, upload, start -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNKNOWNS)
def test_after_an_unknown_capture_the_dossier_is_deleted_and_the_next_attempt_begins(how: str) -> None:
    """Nobody holds the lost link. [I2, I3]"""
    story = at_process(capture())
    doubted(story, how)
    assert story.record.phase is Phase.DELETION
    assert not story.record.billed
    deletes(story)
    assert story.effect == CreateDossier(reference="aa-a1-u1-1-2")
    assert story.record.generation == 1


def test_captures_that_are_never_answered_do_not_make_a_busy_loop_of_dossiers() -> None:
    story = at_process(capture())
    while story.record.attempt < 8:
        story.unanswered(EffectKind.START_CAPTURE)
        deletes(story)
        story.sees(DossierCreated, dossier_id=f"D{story.record.attempt}")
    assert story.now - NOW > 15


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unknown_upload_is_repeated_while_the_process_is_pending(how: str) -> None:
    story = at_images()
    doubted(story, how)
    assert isinstance(story.wakes(), ReadProcess)
    assert isinstance(story.reads(Status.PENDING), UploadImages)


def test_an_unknown_upload_is_not_repeated_on_a_process_that_moved() -> None:
    """[I2]"""
    story = at_images()
    story.unanswered(EffectKind.UPLOAD_IMAGES)
    story.wakes()
    story.reads(Status.PROCESSING)
    assert story.record.phase is Phase.RESULT
    assert story.count(EffectKind.UPLOAD_IMAGES) == 1


@pytest.mark.parametrize("how", UNKNOWNS)
@pytest.mark.parametrize("status", [Status.PROCESSING, Status.ACCEPTED])
def test_an_unknown_start_that_shows_has_happened(how: str, status: Status) -> None:
    """[I2]"""
    story = at_start()
    doubted(story, how)
    story.wakes()
    story.reads(status)
    assert story.record.phase in (Phase.RESULT, Phase.DELETION)
    assert story.count(EffectKind.START_VERIFICATION) == 1


@pytest.mark.parametrize("how", UNKNOWNS)
def test_an_unknown_start_is_repeated_only_after_two_pending_reads_far_enough_apart(how: str) -> None:
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


def test_each_unknown_start_counts_its_pending_reads_anew() -> None:
    """[I2]"""
    story = at_start()
    for starts in (1, 2, 3):
        story.unanswered(EffectKind.START_VERIFICATION)
        since = story.now
        while story.count(EffectKind.START_VERIFICATION) == starts:
            story.wakes()
            story.reads(Status.PENDING)
        assert story.now - since >= start_spacing(0, POLICY)


def test_a_start_that_was_delayed_is_asked_on_the_same_process() -> None:
    """401 and 429: it certainly did not happen. [I2]"""
    story = at_start()
    story.sees(EffectDelayed, kind=EffectKind.START_VERIFICATION, retry_after=30.0)
    assert story.wakes() == StartVerification(dossier_id="D1", process_id="P1")
    assert story.now - NOW >= 30


def test_a_404_to_a_start_is_no_proof_that_nothing_started() -> None:
    """Design §5: for start, every answer but exact success, 401 and 429 is unknown. [I2]"""
    story = at_start()
    try:
        story.sees(TargetMissing, kind=EffectKind.START_VERIFICATION)
    except Impossible:
        return
    assert isinstance(story.wakes(), ReadProcess)


# -- what is expected to be gone ---------------------------------------------------------------------------------------


def test_a_404_is_expected_only_where_the_dossier_was_deleted_or_lost_before() -> None:
    """Any other one may be another account's: it counts for the circuit (design §5)."""
    story = at_deletion()
    assert story.effect == DeleteDossier(dossier_id="D1")
    story.unanswered(EffectKind.DELETE_DOSSIER)
    assert story.wakes() == DeleteDossier(dossier_id="D1", expect_missing=True)
    story.sees(DossierDeleted)
    assert story.effect == ReadDossier(dossier_id="D1", expect_missing=True)
