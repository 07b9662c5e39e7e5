"""Commands of the operator, and hints of results."""

from dataclasses import replace

from story import POLICY, Story, at_create, at_done, at_result, listed, upload

from agent.core import observations as o
from agent.core.answer import Evidence
from agent.core.assure_types import DossierReading, Status
from agent.core.effect import EffectKind
from agent.core.record import HoldAnswer


def retry() -> Story:
    """`retry` repeats the refused call."""
    story = _refused_create()
    _resolve(story, HoldAnswer.RETRY)
    return story


def abandon() -> Story:
    """`abandon` ends a request that has nothing at Assure. [I3]"""
    story = _refused_create()
    _resolve(story, HoldAnswer.ABANDON)
    return story


def adopt() -> Story:
    """An adopted dossier is read before anything is created in it. [I2]"""
    story = _refused_create()
    _resolve(story, HoldAnswer.ADOPT, dossier_id="D9")
    return story


def adopt_the_dossier_of_another_request() -> Story:
    """The agent changes nothing in a dossier of another request, and does not delete it. [I2, I3]"""
    return _adopted_from_another(recovering=False)


def adopt_the_dossier_of_another_request_during_recovery() -> Story:
    """The agent changes nothing in a dossier of another request, and does not delete it. [I2, I3]"""
    return _adopted_from_another(recovering=True)


def adopt_without_a_dossier_id() -> Story:
    """`adopt` without a dossier id changes nothing."""
    story = _refused_create()
    _resolve(story, HoldAnswer.ADOPT)
    return story


def resolve_another_hold() -> Story:
    """A decision with the id of another hold changes nothing."""
    story = _refused_create()
    story.sees(o.HoldResolved, hold_id="h-000000", answer=HoldAnswer.ABANDON)
    return story


def verify_a_changed_document() -> Story:
    """`retry` of a hold for a changed document ends this generation. The changed document is verified next."""
    story = _changed_after_start()
    _resolve(story, HoldAnswer.RETRY, desired=upload("two"))
    return story


def decline_a_changed_document_when_done() -> Story:
    """`abandon` declines a document that changed after the outcome. The outcome stays."""
    story = at_done()
    story.sees(o.DocumentChanged, desired=upload("two"))
    _resolve(story, HoldAnswer.ABANDON)
    return story


def abandon_a_running_verification_for_a_change() -> Story:
    """`abandon` of a hold for a changed document ends the running verification and declines the document. [I3]"""
    story = _changed_after_start()
    _resolve(story, HoldAnswer.ABANDON)
    return story


def adopt_for_a_changed_document() -> Story:
    """`adopt` of a hold for a changed document changes nothing."""
    story = _changed_after_start()
    _resolve(story, HoldAnswer.ADOPT, dossier_id="D9")
    return story


def personal_data_shown() -> Story:
    """The display of personal data is recorded in the audit log and changes nothing else. [I5]"""
    story = at_result()
    story.sees(o.PersonalDataDisclosed)
    return story


def rerun() -> Story:
    """A rerun token starts one generation. The same token again starts none. [I2]"""
    story = at_done()
    wanted = replace(story.record.desired, rerun="command-1")
    story.sees(o.RerunRequested, desired=wanted)
    story.sees(o.ImagesVerified, ask=False)
    story.sees(o.RerunRequested, desired=wanted, ask=False)
    return story


def result_available() -> Story:
    """A hint that the result is available starts a read at once. Only the read decides."""
    story = at_result(policy=replace(POLICY, poll_fallback=900.0))
    story.wakes()
    story.reads(Status.PROCESSING)
    story.later(5).sees(o.ResultAvailable)
    story.reads(Status.ACCEPTED)
    return story


def result_available_too_early() -> Story:
    """A hint directly after a read waits for the shortest time between two reads."""
    story = at_result()
    story.wakes()
    story.reads(Status.PROCESSING)
    story.sees(o.ResultAvailable)
    return story


def result_available_after_a_failed_read() -> Story:
    """A hint does not shorten the backoff of failed reads."""
    story = at_result()
    story.wakes()
    story.sees(o.EffectRefused, kind=EffectKind.READ_PROCESS, evidence=Evidence(status=400))
    story.sees(o.ResultAvailable)
    return story


def _refused_create() -> Story:
    story = at_create()
    story.sees(o.EffectRefused, kind=EffectKind.CREATE_DOSSIER, evidence=Evidence(status=403))
    return story


def _changed_after_start() -> Story:
    story = at_result()
    story.sees(o.DocumentChanged, desired=upload("two"))
    return story


def _adopted_from_another(recovering: bool) -> Story:
    story = _refused_create()
    _resolve(story, HoldAnswer.ADOPT, dossier_id="D9")
    story.policy = replace(POLICY, recovering=recovering)
    processes = (listed("P1", Status.ACCEPTED),)
    reading = DossierReading(dossier_id="D9", reference=f"aa-other-{12 * 'ab'}-1-1", processes=processes)
    story.sees(o.DossierRead, reading=reading)
    _resolve(story, HoldAnswer.ABANDON)
    return story


def _resolve(story: Story, answer: HoldAnswer, **fields: object) -> None:
    assert story.record.hold is not None
    story.sees(o.HoldResolved, hold_id=story.record.hold.id, answer=answer, **fields)
