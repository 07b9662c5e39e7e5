"""Deadline, HOLD_TTL and suspension."""

from story import (
    Story,
    at_deletion,
    at_images,
    at_read_before_start,
    at_result,
    at_start,
    capture,
    listed,
    sealed,
    upload,
)

from agent.core import observations as o
from agent.core.answer import Evidence
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import EffectKind

_DAY = 86400.0
_REFUSED = Evidence(status=400)


def none_before_the_first_create() -> Story:
    """There is no deadline before the first create call."""
    story = Story(upload(deadline=60.0))
    story.wakes()
    story.later(10 * _DAY).sees(o.ImagesVerified)
    return story


def one_more_read() -> Story:
    """At the deadline the agent reads the process once more. Without a final status the outcome is `expired`."""
    story = at_result(upload(deadline=12.0))
    for _ in range(3):
        story.wakes()
        story.reads(Status.PROCESSING)
    return story


def final_status_in_the_last_read() -> Story:
    """A final status in the read at the deadline is the outcome."""
    story = at_result(upload(deadline=60.0))
    story.later(60).wakes()
    story.reads(Status.REJECTED)
    return story


def capture_without_a_process() -> Story:
    """The read at the deadline finds no process of the capture."""
    story = at_result(capture(deadline=60.0))
    story.later(60).wakes()
    story.reads_dossier()
    return story


def capture_with_a_final_process() -> Story:
    """The read at the deadline finds a final process. The agent reads that process before the deadline decides."""
    story = at_result(capture(deadline=60.0))
    story.later(60).wakes()
    story.reads_dossier(listed("P7", Status.ACCEPTED))
    return story


def held_for_a_changed_document() -> Story:
    """A hold about the document does not replace the read at the deadline."""
    story = at_result(upload(deadline=60.0))
    story.sees(o.DocumentChanged, desired=upload("two", deadline=60.0))
    story.later(60).wakes()
    return story


def held_for_unexpected_answers() -> Story:
    """The operator had no time for a hold shortly before the deadline, so the agent reads once more."""
    story = at_result(upload(deadline=60.0))
    while story.record.hold is None:
        story.wakes()
        story.sees(o.EffectUnanswered, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=200, cause="unreadable"))
    story.later(60).wakes()
    story.reads(Status.ACCEPTED)
    return story


def claims_not_kept_in_the_last_read() -> Story:
    """When the claims of the read at the deadline cannot be encrypted, the agent repeats the read and then holds."""
    accepted = ProcessReading(process_id="P1", status=Status.ACCEPTED)
    story = at_result(upload(deadline=60.0, claims_ttl=_DAY)).later(60)
    story.wakes()
    for _ in range(5):
        story.sees(o.ClaimsEncryptionFailed, reading=accepted, reason="disk")
        story.wakes()
    story.sees(o.ProcessRead, reading=accepted, encrypted_claims=sealed(story.now + _DAY))
    return story


def unanswered_start() -> Story:
    """An unanswered start has its read at the deadline, and is not repeated. [I2]"""
    story = at_start(upload(deadline=60.0))
    story.unanswered(EffectKind.START_VERIFICATION)
    story.later(60).wakes()
    story.reads(Status.PENDING)
    return story


def delayed_start() -> Story:
    """A start that Assure delayed past the deadline is not repeated. The read waits as long as Assure asked."""
    story = at_start(upload(deadline=60.0))
    story.sees(o.EffectDelayed, kind=EffectKind.START_VERIFICATION, retry_after=100.0)
    story.wakes()
    story.wakes()
    story.reads(Status.PENDING)
    return story


def read_directly_before() -> Story:
    """The read at the deadline keeps the shortest time to the read before the start."""
    story = at_read_before_start(upload(deadline=60.0))
    story.later(59.9).reads(Status.PENDING)
    story.sees(o.EffectDelayed, kind=EffectKind.START_VERIFICATION, jitter=0.15)
    story.wakes()
    story.wakes()
    return story


def hold_ttl() -> Story:
    """A hold keeps the dossier for HOLD_TTL at most."""
    story = at_images(upload(deadline=30 * _DAY))
    story.later(_DAY).sees(o.EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=_REFUSED)
    story.wakes()
    return story


def hold_until_the_deadline() -> Story:
    """A hold does not extend the deadline."""
    story = at_images(upload(deadline=_DAY))
    story.sees(o.EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=_REFUSED)
    story.wakes()
    return story


def suspended_before_the_start() -> Story:
    """A suspended request without a dossier waits for its file."""
    story = Story(upload(suspend=True))
    story.sees(o.DocumentChanged, desired=upload(suspend=False))
    return story


def suspended_during_the_result() -> Story:
    """A suspension stops polls, but not the deadline."""
    story = at_result(upload(deadline=60.0))
    story.sees(o.DocumentChanged, desired=upload(deadline=60.0, suspend=True))
    story.wakes()
    story.reads(Status.PROCESSING)
    return story


def suspended_during_the_deletion() -> Story:
    """A suspension does not stop the deletion."""
    story = at_deletion()
    story.sees(o.EffectDelayed, kind=EffectKind.DELETE_DOSSIER)
    story.sees(o.DocumentChanged, desired=upload(suspend=True))
    story.wakes()
    return story


def suspended_and_resumed_between_reads() -> Story:
    """A suspension and its end do not shorten the time between two reads."""
    story = at_result()
    story.wakes()
    story.reads(Status.PROCESSING)
    story.later(0.1).sees(o.DocumentChanged, desired=upload(suspend=True))
    story.later(0.1).sees(o.DocumentReturned, desired=upload())
    return story


def suspended_and_resumed_after_a_delay() -> Story:
    """A suspension and its end do not shorten the Retry-After of Assure."""
    story = at_images()
    story.sees(o.EffectDelayed, kind=EffectKind.UPLOAD_IMAGES, retry_after=60.0)
    story.sees(o.DocumentChanged, desired=upload(suspend=True))
    story.later(1).sees(o.DocumentChanged, desired=upload())
    return story


def deadline_shortened_by_the_file() -> Story:
    """A shorter deadline of the file applies at once."""
    story = at_images()
    story.later(120).sees(o.EffectDelayed, kind=EffectKind.UPLOAD_IMAGES)
    story.sees(o.DocumentChanged, desired=upload(deadline=60.0))
    return story
