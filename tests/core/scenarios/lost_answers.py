"""Answers that never arrive. A read settles each doubt before the effect is repeated."""

from dataclasses import replace

from story import POLICY, Story, at_create, at_images, at_process, at_start, deletes, listed, upload

from agent.core import observations as o
from agent.core.answer import Evidence
from agent.core.assure_types import Status
from agent.core.effect import CreateDossier, EffectKind, FindDossier

_UNEXPECTED = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")


def create_found() -> Story:
    """The search finds the dossier of an unanswered create. There is no possible orphan. [I3]"""
    story = _create_in_doubt()
    story.sees(o.DossierSearched, dossier_id="D9", complete=True)
    return story


def create_proven_absent() -> Story:
    """Complete lists lack the dossier long enough, so another is created. There is no possible orphan. [I3]"""
    story = _create_in_doubt()
    while not isinstance(story.effect, CreateDossier):
        if isinstance(story.effect, FindDossier):
            story.sees(o.DossierSearched, dossier_id=None, complete=True)
        else:
            story.wakes()
    return story


def create_found_late() -> Story:
    """The dossier appears in a later list and is used. [I3]"""
    story = _create_in_doubt()
    story.later(POLICY.list_lag).sees(o.DossierSearched, dossier_id=None, complete=True)
    story.wakes()
    story.sees(o.DossierSearched, dossier_id="D9", complete=True)
    return story


def create_not_provable() -> Story:
    """A full list proves nothing. Another dossier is created, and the reference becomes a possible orphan. [I3]"""
    story = _create_in_doubt()
    story.later(POLICY.list_lag).sees(o.DossierSearched, dossier_id=None, complete=False)
    story.wakes()
    return story


def create_answered_late() -> Story:
    """The delays count from the end of the call, which may act until its timeout. [I3]"""
    story = at_create()
    story.later(POLICY.request_timeout).unanswered(EffectKind.CREATE_DOSSIER)
    story.later(0.1).sees(o.DossierSearched, dossier_id=None, complete=True)
    return story


def create_in_doubt_and_suspended() -> Story:
    """A suspension does not stop the search, because GET dossiers lists the newest 100 only. [I3]"""
    story = _create_in_doubt()
    story.sees(o.DossierSearched, dossier_id=None, complete=True)
    story.sees(o.DocumentChanged, desired=upload(suspend=True))
    story.wakes()
    story.sees(o.DossierSearched, dossier_id="D9", complete=True)
    return story


def create_in_doubt_and_removed() -> Story:
    """The agent finds the dossier before it applies the removal of the file. [I3]"""
    story = _create_in_doubt()
    story.sees(o.DossierSearched, dossier_id=None, complete=True)
    story.sees(o.DocumentRemoved)
    story.wakes()
    story.sees(o.DossierSearched, dossier_id="D9", complete=True)
    return story


def create_in_doubt_suspended_and_removed() -> Story:
    """The search continues soon when a suspended request is removed."""
    story = _create_in_doubt()
    story.sees(o.DossierSearched, dossier_id=None, complete=True)
    story.sees(o.DocumentChanged, desired=upload(suspend=True))
    story.sees(o.DocumentRemoved)
    return story


def create_in_doubt_held_and_removed() -> Story:
    """The search continues soon when a held request is removed, because the hold no longer matters."""
    story = _create_in_doubt()
    while story.record.hold is None:
        if story.effect is None:
            story.wakes()
        story.sees(o.EffectUnanswered, kind=EffectKind.FIND_DOSSIER, evidence=_UNEXPECTED)
    story.sees(o.DocumentRemoved)
    return story


def create_in_doubt_at_the_deadline() -> Story:
    """The doubt is settled before the deadline decides. [I3]"""
    story = at_create(upload(deadline=60.0))
    story.unanswered(EffectKind.CREATE_DOSSIER)
    story.later(60).sees(o.DossierSearched, dossier_id=None, complete=False)
    return story


def creates_blocked() -> Story:
    """The create barrier blocks the create call of another request, and nothing else. [I3]"""
    blocked = replace(POLICY, creates_blocked=True)
    story = Story(upload(), policy=blocked)
    story.wakes()
    story.sees(o.ImagesVerified)
    story.wakes()
    story.policy = POLICY
    story.wakes()
    story.policy = blocked
    story.sees(o.DossierCreated, dossier_id="D1")
    return story


def process_found() -> Story:
    """After an unanswered create, the oldest matching pending process is used. [I2]"""
    story = _process_in_doubt()
    story.reads_dossier(
        listed("P3", created_at="3"),
        listed("P2", created_at="2"),
        listed("P1", created_at="1", process_type="documentSelfie"),
        listed("P0", created_at="0", provider="another"),
    )
    return story


def process_found_after_its_start() -> Story:
    """A process that is not pending is observed and never started. [I2]"""
    story = _process_in_doubt()
    story.reads_dossier(listed("P1"), listed("P2", Status.PROCESSING))
    return story


def process_not_found() -> Story:
    """A process that is not in the dossier is created again after the delay for lagging reads. [I2]"""
    story = _process_in_doubt()
    story.reads_dossier()
    story.wakes()
    story.reads_dossier()
    story.wakes()
    return story


def process_without_back_image() -> Story:
    """A listed process has no page count. Without a back image the agent creates another one."""
    story = at_process(upload(back=False))
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(o.ProcessCreated, process_id="P2", status=Status.PENDING, document_pages=1)
    return story


def process_answered_late() -> Story:
    """The delay for lagging reads counts from the end of the call."""
    story = at_process()
    story.later(POLICY.request_timeout).unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier()
    return story


def second_process_before_the_start() -> Story:
    """After an unanswered create, the read before the start is GET dossier. Another process forbids the start. [I2]"""
    story = _process_in_doubt()
    story.reads_dossier(listed("P1"))
    story.sees(o.ImagesUploaded)
    story.reads_dossier(listed("P1"), listed("P2", Status.ACCEPTED))
    return story


def process_missing_before_the_start() -> Story:
    """A dossier without the process proves nothing, so the agent does not start. [I2]"""
    story = _process_in_doubt()
    story.reads_dossier(listed("P1"))
    story.sees(o.ImagesUploaded)
    story.reads_dossier()
    return story


def upload_repeated() -> Story:
    """An unanswered upload is repeated while the process is pending."""
    story = at_images()
    story.unanswered(EffectKind.UPLOAD_IMAGES)
    story.wakes()
    story.reads(Status.PENDING)
    return story


def upload_after_a_start() -> Story:
    """An unanswered upload is not repeated after the process left `pending`. [I2]"""
    story = at_images()
    story.unanswered(EffectKind.UPLOAD_IMAGES)
    story.wakes()
    story.reads(Status.PROCESSING)
    return story


def start_repeated() -> Story:
    """An unanswered start is repeated after two reads of `pending` with enough time between them. [I2]"""
    story = at_start()
    story.unanswered(EffectKind.START_VERIFICATION)
    while story.count(EffectKind.START_VERIFICATION) == 1:
        story.wakes()
        story.reads(Status.PENDING)
    return story


def start_resumed() -> Story:
    """After a crash the open intent is an unanswered call. The read shows that the start happened. [I2]"""
    story = at_start()
    story.sees(o.Resumed)
    story.wakes()
    story.reads(Status.PROCESSING)
    return story


def start_delayed() -> Story:
    """A delayed start did not happen and is repeated for the same process. [I2]"""
    story = at_start()
    story.sees(o.EffectDelayed, kind=EffectKind.START_VERIFICATION, retry_after=30.0)
    story.wakes()
    return story


def start_answered_with_404() -> Story:
    """A 404 to a start proves nothing, so a read decides. [I2]"""
    story = at_start()
    story.sees(o.TargetMissing, kind=EffectKind.START_VERIFICATION)
    story.wakes()
    return story


def removed_during_the_upload() -> Story:
    """A file that is removed before the outcome is withdrawn after the open call, and its dossier is deleted."""
    story = at_images()
    story.sees(o.EffectDelayed, kind=EffectKind.UPLOAD_IMAGES)
    story.sees(o.DocumentRemoved)
    deletes(story)
    return story


def _create_in_doubt() -> Story:
    story = at_create()
    story.unanswered(EffectKind.CREATE_DOSSIER)
    return story


def _process_in_doubt() -> Story:
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    return story
