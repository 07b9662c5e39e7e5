"""Failed calls, 404 and unexpected answers."""

from story import Story, at_deletion, at_images, at_result

from agent.core import observations as o
from agent.core.answer import Evidence
from agent.core.assure_types import Status
from agent.core.effect import EffectKind

_UNEXPECTED = Evidence(status=200, cause="unreadable", digest="0123456789abcdef")


def deletion_answered_with_404() -> Story:
    """A 404 to the deletion counts as deleted, and a read confirms it."""
    story = at_deletion()
    story.sees(o.TargetMissing, kind=EffectKind.DELETE_DOSSIER)
    story.sees(o.TargetMissing, kind=EffectKind.READ_DOSSIER)
    return story


def deletion_unanswered() -> Story:
    """An unanswered deletion is repeated. Only then a 404 is expected, so that it does not open the circuit breaker."""
    story = at_deletion()
    story.unanswered(EffectKind.DELETE_DOSSIER)
    story.wakes()
    story.sees(o.DossierDeleted)
    return story


def deletion_without_effect() -> Story:
    """A dossier that can still be read is deleted again after three reads. [I3]"""
    story = at_deletion()
    story.sees(o.DossierDeleted)
    for _ in range(3):
        story.reads_dossier()
        story.wakes()
    return story


def deletion_refused() -> Story:
    """A refused deletion is repeated and never held."""
    story = at_deletion()
    for _ in range(3):
        story.sees(o.EffectRefused, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=403))
        story.wakes()
    return story


def single_404() -> Story:
    """One 404 does not mean that the process is lost."""
    story = at_result()
    story.wakes()
    story.sees(o.TargetMissing, kind=EffectKind.READ_PROCESS)
    story.wakes()
    story.reads(Status.ACCEPTED)
    return story


def process_lost() -> Story:
    """Several 404 over `missing_grace` mean that the process is lost. The dossier is deleted nevertheless."""
    story = at_result()
    while story.record.outcome is None:
        story.wakes()
        story.sees(o.TargetMissing, kind=EffectKind.READ_PROCESS)
    return story


def dossier_lost_during_the_upload() -> Story:
    """A 404 to an upload is confirmed in the same way."""
    story = at_images()
    while story.record.outcome is None:
        if story.effect is None:
            story.wakes()
        story.sees(o.TargetMissing, kind=EffectKind.UPLOAD_IMAGES)
    return story


def unexpected_answers_to_a_read() -> Story:
    """The read is repeated three times after unexpected answers, then the request is held."""
    story = at_result()
    while story.record.hold is None:
        story.wakes()
        story.sees(o.EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=_UNEXPECTED)
    return story


def server_errors() -> Story:
    """Server errors are repeated with growing waits and never held."""
    story = at_result()
    for _ in range(6):
        story.wakes()
        story.sees(o.EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=503))
    return story


def delayed_read() -> Story:
    """Assure delays a read. Without Retry-After the waits grow; a call that was not sent counts as no failure."""
    story = at_result()
    for evidence in (Evidence(status=429), Evidence(status=429), Evidence(cause="not-sent"), Evidence(status=429)):
        story.wakes()
        story.sees(o.EffectDelayed, kind=EffectKind.READ_PROCESS, evidence=evidence)
    return story
