"""The order of the steps on the capture page. Pure.

The steps are welcome, country, document, a picture for each required side, and check. A link that names the document
skips country and document. A step that needs an earlier answer leads back to the first step without one.
"""

from agent.sandbox.model import DEPICTIONS, Capture, Process

COUNTRY = "country"
DOCUMENT = "document"
CHECK = "check"
CANCEL = "cancel"

STEPS = ("Document", "Pictures", "Check")


def steps(capture: Capture, process: Process) -> tuple[str, ...]:
    """The steps after the welcome, in order."""
    asked = () if capture.named else (COUNTRY, DOCUMENT)
    return (*asked, *process.needed, CHECK)


def first_open(capture: Capture, process: Process) -> str:
    """The first step without an answer, or `check` when all have one."""
    return next(step for step in steps(capture, process) if not _answered(step, capture, process))


def reachable(step: str, capture: Capture, process: Process) -> bool:
    """True if all steps before this one have an answer."""
    row = steps(capture, process)
    return step in row and row.index(step) <= row.index(first_open(capture, process))


def before(step: str, capture: Capture, process: Process) -> str:
    """The step to go back to. Empty for the welcome."""
    row = steps(capture, process)
    place = row.index(step)
    return row[place - 1] if place else ""


def current_step(step: str) -> int:
    """The index of the step in STAGES."""
    return 1 if step in DEPICTIONS else 2 if step == CHECK else 0


def _answered(step: str, capture: Capture, process: Process) -> bool:
    if step == COUNTRY:
        return capture.country_chosen
    if step == DOCUMENT:
        return capture.document_id is not None
    return step in process.images
