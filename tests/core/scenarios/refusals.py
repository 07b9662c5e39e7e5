"""Assure refuses an effect that a read shows not to have happened. Only success proves anything about a start."""

from dataclasses import replace

from story import NOW, POLICY, REFUSED, Story, at_images, at_process, at_start, listed, upload

from agent.core import observations as o
from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.record import HoldAnswer, Phase
from agent.core.retry import start_spacing

_START, _UPLOAD = EffectKind.START_VERIFICATION, EffectKind.UPLOAD_IMAGES
_UNEXPECTED = Evidence(status=201, cause="foreign-body", digest="0123456789abcdef")


def start_refused_twice() -> Story:
    """After a refused start the images are uploaded again, once. The second refusal holds the request. [I1, I2]

    After `retry` the agent reads the process and repeats the start, but not the upload.
    """
    story = at_start()
    _refused_and_pending(story)
    story.sees(o.ImagesUploaded)
    story.reads(Status.PENDING)
    _refused_and_pending(story)
    assert story.record.hold is not None
    story.later(3600).sees(o.HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
    story.reads(Status.PENDING)
    _refused_and_pending(story)
    return story


def start_refused_but_happened() -> Story:
    """The read after a refused start shows that it happened. [I2]"""
    story = at_start()
    _answered(story, REFUSED)
    story.wakes()
    story.reads(Status.PROCESSING)
    return story


def images_refused_after_the_start() -> Story:
    """Images that are refused after a start may mean that it happened, so the agent reads the process. [I1, I2]"""
    story = at_start()
    _refused_and_pending(story)
    story.sees(o.EffectRefused, kind=_UPLOAD, evidence=REFUSED)
    story.wakes()
    story.reads(Status.PROCESSING)
    return story


def images_refused_while_pending() -> Story:
    """Images that are refused while the process stays pending hold the request. [I1]"""
    story = at_start()
    _refused_and_pending(story)
    story.sees(o.EffectRefused, kind=_UPLOAD, evidence=REFUSED)
    _stays_pending(story)
    return story


def start_refused_after_an_unanswered_create() -> Story:
    """After an unanswered create, GET dossier replaces GET process. The images are uploaded again. [I2]"""
    story = at_process()
    story.unanswered(EffectKind.CREATE_PROCESS)
    story.wakes()
    story.reads_dossier(listed("P1"))
    story.sees(o.ImagesUploaded)
    story.reads_dossier(listed("P1"))
    _answered(story, REFUSED)
    while story.record.phase is Phase.VERIFICATION:
        story.wakes()
        story.reads_dossier(listed("P1"))
    return story


def start_refused_before_the_deadline() -> Story:
    """At the deadline the agent reads the process instead of the second upload. [I2]"""
    story = at_start()
    _answered(story, REFUSED)
    while story.record.phase is Phase.VERIFICATION:
        story.wakes()
        story.sees(o.ProcessRead, reading=ProcessReading(process_id="P1", status=Status.PENDING), ask=False)
    story.sees(o.DocumentChanged, desired=upload(deadline=story.now - NOW + 2), ask=False)
    story.later(5).wakes()
    story.reads(Status.PENDING)
    return story


def start_in_doubt_over_a_restart() -> Story:
    """The time between the two reads of `pending` does not count time before a restart. [I2]"""
    story = at_start()
    story.unanswered(_START)
    story.wakes()
    story.reads(Status.PENDING)
    story.later(start_spacing(0, POLICY))
    story.policy = replace(POLICY, started_at=story.now)
    while story.count(_START) == 1:
        story.wakes()
        story.reads(Status.PENDING)
    return story


def unexpected_answers_to_an_upload() -> Story:
    """An upload with unexpected answers is repeated three times and then held. `retry` restarts the count. [I1]"""
    story = at_images()
    while story.record.hold is None:
        _answered(story, _UNEXPECTED)
        _stays_pending(story)
    story.sees(o.HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
    _answered(story, _UNEXPECTED)
    _stays_pending(story)
    return story


def upload_succeeds_after_unexpected_answers() -> Story:
    """A successful upload ends the count of repeats."""
    story = at_images()
    for _ in range(2):
        _answered(story, _UNEXPECTED)
        _stays_pending(story)
    story.sees(o.ImagesUploaded)
    return story


def _answered(story: Story, evidence: Evidence) -> None:
    assert story.record.intent is not None
    story.sees(o.EffectUnanswered, kind=story.record.intent.kind, evidence=evidence)


def _stays_pending(story: Story) -> None:
    while story.record.intent is None and story.record.hold is None:
        if story.effect is None:
            story.wakes()
        story.reads(Status.PENDING)


def _refused_and_pending(story: Story) -> None:
    _answered(story, REFUSED)
    _stays_pending(story)
