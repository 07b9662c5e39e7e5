"""Changes of the request file: changed, removed, back again, with a rerun token."""

from dataclasses import replace

from story import Story, at_deletion, at_done, at_images, at_process, at_result, deletes, upload

from agent.core import observations as o
from agent.core.assure_types import Status
from agent.core.effect import EffectKind

_DAY = 86400.0


def removed_at_once() -> Story:
    """A file that is removed before the first create call is withdrawn, and nothing is left to delete."""
    story = Story(upload())
    story.sees(o.DocumentRemoved)
    return story


def removed_when_done() -> Story:
    """The outcome stays when the file is removed afterwards."""
    story = at_done()
    story.sees(o.DocumentRemoved)
    return story


def removed_in_retention() -> Story:
    """A removed file ends the retention. The outcome stays."""
    story = at_deletion(upload(retention=_DAY))
    story.sees(o.DocumentRemoved)
    return story


def changed_at_once() -> Story:
    """A file that changes before the first create call starts the next generation at once."""
    story = Story(upload())
    story.sees(o.DocumentChanged, desired=upload("two"))
    return story


def changed_before_the_start() -> Story:
    """A file that changes before the billable act is superseded. Its dossier is deleted first. [I3]"""
    story = at_images()
    story.sees(o.EffectDelayed, kind=EffectKind.UPLOAD_IMAGES)
    story.sees(o.DocumentChanged, desired=upload("two"))
    deletes(story)
    return story


def changed_after_the_start() -> Story:
    """A file that changes after the billable act holds the request. The verification continues to its outcome."""
    story = at_result()
    story.sees(o.DocumentChanged, desired=upload("two"))
    story.later(1).sees(o.DocumentChanged, ask=False, desired=upload("two"))
    story.wakes()
    story.reads(Status.ACCEPTED)
    deletes(story)
    return story


def changed_after_the_start_and_back() -> Story:
    """The followed document is back, so the hold ends."""
    story = at_result()
    story.sees(o.DocumentChanged, desired=upload("two"))
    story.sees(o.DocumentReturned, desired=upload())
    return story


def changed_when_done() -> Story:
    """A file that changes after the outcome holds the request."""
    story = at_done()
    story.sees(o.DocumentChanged, desired=upload("two"))
    return story


def changed_in_place() -> Story:
    """Labels, retention and deadline apply without a new generation. The admitted images stay."""
    story = at_result()
    other = tuple(replace(image, sha256="0" * 64, path="other.jpg") for image in story.desired.images)
    changed = upload(labels=(("team", "b"),), retention=60.0, deadline=2 * _DAY, images=other)
    story.sees(o.DocumentChanged, desired=changed)
    return story


def retention_changed() -> Story:
    """A changed retention moves the deletion."""
    story = at_deletion(upload(retention=_DAY))
    story.sees(o.DocumentChanged, desired=upload(retention=60.0))
    story.wakes()
    return story


def rerun_token() -> Story:
    """A rerun token starts one generation. It starts none when the file drops it and gets it back."""
    story = at_done()
    story.sees(o.DocumentChanged, desired=upload(rerun="t1"))
    story.sees(o.ImagesVerified, ask=False)
    story.sees(o.DocumentChanged, ask=False, desired=upload())
    story.sees(o.DocumentChanged, ask=False, desired=upload(rerun="t1"))
    return story


def rerun_token_with_a_change() -> Story:
    """A change with a rerun token starts the next generation after billing, without a hold."""
    story = at_result()
    story.sees(o.DocumentChanged, desired=upload("two", rerun="t1"))
    deletes(story)
    return story


def rerun_token_at_admission() -> Story:
    """A rerun token in the admitted file starts no further generation."""
    story = at_done(upload(rerun="t1"))
    story.sees(o.DocumentChanged, desired=upload(rerun=None))
    story.sees(o.DocumentChanged, desired=upload(rerun="t1"))
    return story


def rerun_dropped_before_it_began() -> Story:
    """A rerun that the file drops before it began starts nothing."""
    story = at_deletion()
    story.sees(o.EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(o.DocumentChanged, ask=False, desired=upload("two", rerun="t1"))
    story.sees(o.DocumentReturned, ask=False, desired=upload())
    story.wakes()
    deletes(story)
    return story


def back_when_done() -> Story:
    """The same file is back after the outcome, and starts nothing."""
    story = at_done()
    story.sees(o.DocumentRemoved)
    story.sees(o.DocumentReturned, desired=upload())
    return story


def back_before_billing() -> Story:
    """A file that was withdrawn unbilled starts the next generation when it is back."""
    story = at_process()
    story.sees(o.EffectDelayed, kind=EffectKind.CREATE_PROCESS)
    story.sees(o.DocumentRemoved)
    deletes(story)
    story.sees(o.DocumentReturned, desired=upload())
    return story


def back_after_billing() -> Story:
    """A file that was withdrawn after billing is held when it is back."""
    story = at_result()
    story.sees(o.DocumentRemoved)
    deletes(story)
    story.sees(o.DocumentReturned, desired=upload())
    return story


def back_before_billing_with_a_change_in_place() -> Story:
    """A file that was withdrawn unbilled and is back with another retention starts the next generation. [I1]"""
    story = Story(upload())
    story.sees(o.DocumentRemoved)
    story.sees(o.DocumentChanged, desired=upload(retention=60.0))
    return story


def back_after_billing_with_a_change_in_place() -> Story:
    """A file that was withdrawn after billing and is back with another retention is held."""
    story = at_result()
    story.sees(o.DocumentRemoved)
    deletes(story)
    story.sees(o.DocumentChanged, desired=upload(retention=60.0))
    return story


def rerun_removed_and_back_during_the_deletion() -> Story:
    """After a rerun, a removal and a return during the deletion, the billed generation is not attempted again. [I2]"""
    story = at_result()
    story.sees(o.DocumentChanged, desired=upload("two", rerun="t1"))
    story.sees(o.EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(o.DocumentRemoved)
    story.sees(o.DocumentReturned, desired=upload())
    deletes(story)
    return story
