"""Requests that keep the claims of an accepted result."""

from story import NOW, Story, at_images, at_read_before_start, at_result, at_start, deletes, sealed, upload

from agent.core import observations as o
from agent.core.assure_types import ProcessReading, Status
from agent.core.effect import EffectKind

_ACCEPTED = ProcessReading(process_id="P1", status=Status.ACCEPTED, checks=(("nonExpired", True),))
_CLAIMS = upload(claims_ttl=3600.0)


def kept_and_erased() -> Story:
    """Every read that may be final asks for claims. Outcome, claims and deletion intent are one step. [I4, I6]

    The later erasure only ends `claimsUntil`.
    """
    story = at_read_before_start(_CLAIMS)
    story.reads(Status.PENDING)
    story.sees(o.VerificationStarted, status=Status.PROCESSING)
    story.wakes()
    story.sees(o.ProcessRead, reading=_ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    deletes(story)
    story.later(3600).sees(o.ClaimsErased)
    story.prologue = 0
    return story


def encryption_fails_and_works_again() -> Story:
    """Claims that cannot be encrypted stop the deletion. After four reads the request is held.

    The agent continues to read, and the hold ends when the claims can be encrypted.
    """
    story = _held()
    story.wakes()
    _fails(story)
    story.wakes()
    story.sees(o.ProcessRead, reading=_ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    deletes(story)
    return story


def encryption_possible_after_a_restart() -> Story:
    """A held request reads again at once when the agent starts with other settings."""
    story = _held()
    story.later(5).sees(o.RetryRequested)
    return story


def encryption_fails_after_an_unanswered_start() -> Story:
    """The read that settles an unanswered start finds the result, and its claims cannot be encrypted."""
    story = at_start(_CLAIMS)
    story.unanswered(EffectKind.START_VERIFICATION)
    story.wakes()
    _fails(story)
    return story


def encryption_fails_after_an_unanswered_upload() -> Story:
    """The read that settles an unanswered upload finds the result, and its claims cannot be encrypted at first."""
    story = at_images(_CLAIMS)
    story.unanswered(EffectKind.UPLOAD_IMAGES)
    story.wakes()
    _fails(story)
    story.wakes()
    story.sees(o.ProcessRead, reading=_ACCEPTED, encrypted_claims=sealed(NOW + 3600))
    return story


def _fails(story: Story) -> None:
    story.sees(o.ClaimsEncryptionFailed, reading=_ACCEPTED, reason="disk")


def _held() -> Story:
    story = at_result(_CLAIMS)
    while story.record.hold is None:
        story.wakes()
        _fails(story)
    return story
