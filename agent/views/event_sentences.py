"""Events of the audit log in plain words. They contain no personal data: events have none [I6]."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.effect import EffectKind
from agent.core.record import Phase
from agent.views.phrases import EFFECTS, PHASES, capitalized

# By the name of the observation.
EVENTS = {
    "Admitted": "The agent admitted the request file",
    "BudgetExhausted": "The start budget of the day is used",
    "CaptureStarted": "Assure started the capture flow",
    "ClaimsDisclosed": "The operator saw the claims",
    "ClaimsEncryptionFailed": "The agent read the result, but cannot encrypt the claims",
    "ClaimsErased": "The claims became unreadable",
    "ClockCorrected": "The clock of this machine was corrected",
    "CommandApplied": "The agent executed a command of the operator",
    "DocumentChanged": "The request file changed",
    "DocumentRemoved": "The request file is gone",
    "DocumentReturned": "The request file is back",
    "DocumentTypeGone": "The country and type no longer mean the admitted document",
    "DossierCreated": "Assure created the dossier",
    "DossierDeleted": "Assure deleted the dossier",
    "DossierRead": "The agent read the dossier",
    "DossierSearched": "The agent searched for the dossier",
    "EffectDelayed": "Assure did nothing now, and the agent tries again",
    "EffectRefused": "Assure refused the call",
    "EffectUnanswered": "Assure did not answer, so the call may have had an effect",
    "HistoryLost": "The store was lost or restored",
    "HoldResolved": "The operator resolved the hold",
    "ImagesCompared": "The agent compared the images at Assure with the admitted ones",
    "ImagesDiscarded": "The agent deleted the image files",
    "ImagesInvalid": "An image file is not the admitted one",
    "ImagesUploaded": "Assure accepted the images",
    "ImagesVerified": "The image files are the admitted ones",
    "NameErased": "The operator erased the name, labels and paths",
    "PersonalDataDisclosed": "The operator saw personal data",
    "ProcessCreated": "Assure created the process",
    "ProcessRead": "The agent read the process",
    "RerunRequested": "The operator requested another verification",
    "ResultAvailable": "Assure reported a result",
    "Resumed": "The agent continued after an unanswered call",
    "RetryRequested": "The agent tries again",
    "StartReserved": "The agent reserved a start of the budget",
    "TargetMissing": "Assure has no such dossier or process",
    "TimerFired": "The time of the next step came",
    "VerificationStarted": "Assure started the verification",
}


def event_sentence(kind: str, changes: Mapping[str, Any], status: int | None = None, trouble: str | None = None) -> str:
    """The event and its consequences. `status` and `trouble` are of Assure's answer, if the event has one."""
    answer = ", ".join(filter(None, (f"HTTP {status}" if status is not None else None, trouble)))
    first = EVENTS.get(kind, spaced(kind).capitalize()) + (f" ({answer})" if answer else "")
    return ". ".join([first, *map(capitalized, _consequences(changes))]) + "."


def _consequences(changes: Mapping[str, Any]) -> Iterator[str]:
    """The consequences of the event, the most important first."""
    if (generation := changes.get("generation")) is not None and generation > 1:
        yield f"generation {generation} begins"
    if changes.get("outcome"):
        yield f"outcome: {changes['outcome']}"
    if changes.get("hold"):
        yield f"held: {changes['hold']['reason']} ({changes['hold']['id']})"
    if changes.get("billed"):
        yield "counts as billed"
    if changes.get("doubt"):
        yield f"unknown whether it happened: {_effect(changes['doubt'])}"
    if changes.get("phase") == Phase.DONE:
        yield PHASES[Phase.DONE]
    if changes.get("intent"):
        yield f"next: {_effect(changes['intent']['effect'])}"


def _effect(kind: str) -> str:
    return EFFECTS[EffectKind(kind)]


def spaced(name: str) -> str:
    """`DossierCreated` as `dossier created`."""
    return re.sub(r"(?<!^)(?=[A-Z])", " ", name).lower()
