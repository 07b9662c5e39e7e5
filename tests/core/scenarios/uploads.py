"""Upload requests."""

from dataclasses import replace

from story import POLICY, Story, at_create, at_deletion, at_done, at_images, at_process, at_result, at_start, deletes
from story import upload as document

from agent.core import observations as o
from agent.core.assure_types import Depiction, Status, StatusReason
from agent.core.effect import EffectKind
from agent.core.record import HoldAnswer


def accepted() -> Story:
    """An upload request passes through every phase, with one effect at a time. [I1, I4, I5]

    The step with the outcome also has the intent to delete the dossier.
    """
    story = at_done()
    story.prologue = 0
    return story


def images_read_back() -> Story:
    """With `readBack` the agent compares the images at Assure, and reads the process before the start."""
    story = at_images(document(read_back=True))
    story.sees(o.ImagesUploaded)
    story.sees(o.ImagesCompared)
    story.reads(Status.PENDING)
    return story


def image_at_assure_differs() -> Story:
    """Assure returns another image, so the request is held before the start. `retry` uploads the images again."""
    story = at_images(document(read_back=True))
    story.sees(o.ImagesUploaded)
    story.sees(o.ImagesCompared, differing=(Depiction.FRONT,))
    _retry(story)
    return story


def rejected_with_reasons() -> Story:
    """The result has codes and booleans only, and its reasons are sorted. [I6]"""
    story = at_result()
    story.wakes()
    reasons = (StatusReason(type="b", category="x"), StatusReason(type="a", category="y", sub_category="z"))
    story.reads(Status.REJECTED, reasons=reasons, checks=(("mrz", True),))
    return story


def start_answered_with_a_final_status() -> Story:
    """The answer to the start is already final. The agent still reads the process before it decides."""
    story = at_start()
    story.sees(o.VerificationStarted, status=Status.ACCEPTED)
    story.wakes()
    return story


def process_created_after_its_start() -> Story:
    """The new process is already in progress, so the agent only reads it. [I2]"""
    story = at_process()
    story.sees(o.ProcessCreated, process_id="P1", status=Status.PROCESSING, document_pages=1)
    return story


def step_without_effect() -> Story:
    """A step that may not request an effect leaves the record due."""
    story = at_create()
    story.sees(o.DossierCreated, ask=False, dossier_id="D1")
    story.wakes()
    return story


def image_changed_before_the_dossier() -> Story:
    """A changed image holds the request before a dossier is created. The agent checks again, under the same hold id.

    The hold ends when the image is back.
    """
    story = Story(document())
    story.wakes()
    story.sees(o.ImagesInvalid, depiction=Depiction.FRONT, reason="changed")
    story.wakes()
    story.sees(o.ImagesInvalid, depiction=Depiction.FRONT, reason="changed")
    story.wakes()
    story.sees(o.ImagesVerified)
    return story


def image_missing_at_the_upload() -> Story:
    """A missing image holds the request at the upload. Afterwards the same process continues."""
    story = at_images()
    story.sees(o.ImagesInvalid, depiction=Depiction.BACK, reason="missing", kind=EffectKind.UPLOAD_IMAGES)
    story.wakes()
    story.sees(o.ImagesVerified)
    return story


def back_image_added() -> Story:
    """A document of two pages without a back image is held unbilled. A back image starts the next generation."""
    story = _back_image_required()
    story.sees(o.DocumentChanged, desired=document("with-back"))
    deletes(story)
    return story


def back_image_not_needed() -> Story:
    """`retry` of a hold for the back image creates another process, which may have one page. [I2]"""
    story = _back_image_required()
    _retry(story)
    deletes(story)
    return story


def retention() -> Story:
    """The dossier stays for the retention after the outcome."""
    story = at_deletion(document(retention=3600.0))
    story.wakes()
    return story


def image_files_deleted() -> Story:
    """With IMAGES_AFTER_UPLOAD=delete, the answer to the upload requests the deletion of the image files."""
    story = at_result(policy=replace(POLICY, discard_images=True))
    story.wakes()
    story.reads(Status.ACCEPTED)
    deletes(story)
    story.sees(o.ImagesDiscarded, results=((Depiction.FRONT, "deleted"), (Depiction.BACK, "changed")))
    story.prologue = 0
    return story


def start_reserved() -> Story:
    """With a start budget, a start is reserved before the dossier is created."""
    story = Story(document(), policy=replace(POLICY, budgeted=True))
    story.wakes()
    story.sees(o.StartReserved)
    return story


def budget_exhausted() -> Story:
    """A request without a reserved start creates nothing and has no deadline. [I3]"""
    story = Story(document(deadline=60.0), policy=replace(POLICY, budgeted=True))
    story.wakes()
    story.sees(o.BudgetExhausted, until=story.now + 86400.0)
    story.wakes()
    return story


def budget_raised() -> Story:
    """A request that waits for the budget reserves a start at once when the budget may have changed."""
    story = Story(document(), policy=replace(POLICY, budgeted=True))
    story.wakes()
    story.sees(o.BudgetExhausted, until=story.now + 86400.0)
    story.sees(o.RetryRequested)
    return story


def _back_image_required() -> Story:
    story = at_process(document(back=False))
    story.sees(o.ProcessCreated, process_id="P1", status=Status.PENDING, document_pages=2)
    return story


def _retry(story: Story) -> None:
    assert story.record.hold is not None
    story.sees(o.HoldResolved, hold_id=story.record.hold.id, answer=HoldAnswer.RETRY)
