"""Observations: facts that reached the agent, named in the past tense, each with its time.

`at` is in seconds since the epoch. `jitter` in [0, 1) spreads the times that a rule schedules. Both come in as values,
so that a step is a pure function. First the facts from outside, then the answers to effects.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.answer import CallResult, Evidence
from agent.core.assure_types import Depiction, DossierReading, FoundDossier, ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.record import Desired


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The base of all observations."""

    at: float
    jitter: float = 0.5


# -- time ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Observation):
    """The time the record waited for has come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Observation):
    """We ended, or lost the answer, between an intent and its answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAvailable(Observation):
    """A list, or somebody else, says that the verification came to its end. Only our own read decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested(Observation):
    """What it waits for may have changed meanwhile: the budget, or its images. It looks again now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected(Observation):
    """The clock was wrong and was set right by `by` seconds. What it wrote after `since` is wrong as well.

    With a negative `by` every time after `at` is wrong, in any field.
    """

    by: float
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLost(Observation):
    """The store was lost, or is an older copy, so the record may be behind. `found` is what Assure shows of it."""

    found: tuple[FoundDossier, ...] = ()


# -- a person -----------------------------------------------------------------------------------------


class HoldAnswer(StrEnum):
    """What a person may say to a hold."""

    RETRY = "retry"  # go on, or verify the document that the question is about
    ABANDON = "abandon"  # give it up; the document that the question is about is left to a later rerun
    ADOPT = "adopt"  # use this dossier at Assure


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldResolved(Observation):
    """A person answered a hold. `desired` is the document in the source now, `dossier_id` the one to adopt."""

    hold_id: str
    answer: HoldAnswer
    desired: Desired | None = None
    dossier_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRequested(Observation):
    """A person asked for a fresh verification of the document in the source."""

    desired: Desired
    name: str = ""  # see `DocumentChanged`


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataDisclosed(Observation):
    """A person is about to be shown personal values that Assure has of it. Nothing follows; it is for the history."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsDisclosed(PersonalDataDisclosed):
    """A person is about to be shown the claims that are kept of it."""


# -- what is kept, and what is not any more ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsErased(Observation):
    """The claims of this generation were made unreadable: their time was over, or the name was forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesDiscarded(Observation):
    """The image files of this generation were deleted here (IMAGES_AFTER_UPLOAD).

    `results` has a word for each depiction: deleted, missing; or why the file was left: changed, outside, unreadable.
    """

    results: tuple[tuple[Depiction, str], ...]


# -- the source ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChanged(Observation):
    """The file of this name holds another document than the one we follow.

    `name` is for a record whose own was forgotten: it can be asked for, and missed, by its name again.
    """

    desired: Desired
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReturned(Observation):
    """The file holds the document we follow, after it was removed or had held another one."""

    desired: Desired
    name: str = ""  # see `DocumentChanged`


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRemoved(Observation):
    """The name is in no file any more, confirmed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Observation):
    """The base of the answers to one effect.

    `result` is the class of the answer (`agent.core.answer`), `evidence` is what is kept of it.
    """

    evidence: Evidence = Evidence()
    result: CallResult = CallResult.DONE


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReserved(Answered):
    """The budget has room: one start is ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExhausted(Answered):
    """The budget of the day is spent; the next one begins at `until`."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesVerified(Answered):
    """The image files are what was admitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesInvalid(Answered):
    """An image file is not what was admitted; nothing was sent. `reason` is a token: missing, changed, ..."""

    result: CallResult = CallResult.REFUSED
    depiction: Depiction
    reason: str
    kind: EffectKind = EffectKind.VERIFY_IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierCreated(Answered):
    """Assure has a new dossier."""

    dossier_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierSearched(Answered):
    """Assure's lists were searched for the dossier. `complete`: GET dossiers had every dossier (`Listing.complete`)."""

    dossier_id: str | None
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCreated(Answered):
    """Assure has a new process."""

    process_id: str
    status: Status
    document_pages: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTypeGone(Answered):
    """Country and type no longer mean the admitted id; nothing was sent. `reason` is a token: not-listed, ..."""

    result: CallResult = CallResult.REFUSED
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStarted(Answered):
    """Assure started a capture flow. `link` is a bearer secret and goes to its own table only [I6]."""

    link: str

    def __repr__(self) -> str:
        return f"CaptureStarted(at={self.at})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesUploaded(Answered):
    """Assure took the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesCompared(Answered):
    """Assure returned the images; those in `differing` are not what was sent."""

    differing: tuple[Depiction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStarted(Answered):
    """Assure started the verification: it is billed. Its reply may carry a final status already (contract §8)."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedClaims:
    """Claims that only the vault can open, for their own table only [I6]. `expires_at` in seconds since the epoch."""

    key_id: str  # the key of the day on which they expire
    wrapped_key: bytes = field(repr=False)  # their own key under that one
    ciphertext: bytes = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRead(Answered):
    """GET process was answered. `encrypted_claims` are the claims of an accepted process that are to be kept."""

    reading: ProcessReading
    encrypted_claims: EncryptedClaims | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsEncryptionFailed(Answered):
    """GET process said accepted, and the claims could not be sealed. `reason` is a token: no-key, disk."""

    reading: ProcessReading
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierRead(Answered):
    """GET dossier was answered."""

    reading: DossierReading


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierDeleted(Answered):
    """DELETE was answered with success, or with Assure's 404."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMissing(Answered):
    """Assure's own 404 for the dossier or process that the effect was about."""

    result: CallResult = CallResult.REFUSED
    kind: EffectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRefused(Answered):
    """It certainly did not happen, and asking again will not help."""

    result: CallResult = CallResult.REFUSED
    kind: EffectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDelayed(Answered):
    """It certainly did not happen; come back later (`retry_after` in seconds, when Assure said so)."""

    result: CallResult = CallResult.BUSY
    kind: EffectKind
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectUnanswered(Answered):
    """It may have happened: no answer, or none that proves anything."""

    result: CallResult = CallResult.UNKNOWN
    kind: EffectKind


ANSWERED_EFFECT: dict[type[Answered], EffectKind] = {
    StartReserved: EffectKind.RESERVE_START,
    BudgetExhausted: EffectKind.RESERVE_START,
    ImagesVerified: EffectKind.VERIFY_IMAGES,
    DossierCreated: EffectKind.CREATE_DOSSIER,
    DossierSearched: EffectKind.FIND_DOSSIER,
    ProcessCreated: EffectKind.CREATE_PROCESS,
    DocumentTypeGone: EffectKind.CREATE_PROCESS,
    CaptureStarted: EffectKind.START_CAPTURE,
    ImagesUploaded: EffectKind.UPLOAD_IMAGES,
    ImagesCompared: EffectKind.COMPARE_IMAGES,
    VerificationStarted: EffectKind.START_VERIFICATION,
    ProcessRead: EffectKind.READ_PROCESS,
    ClaimsEncryptionFailed: EffectKind.READ_PROCESS,
    DossierRead: EffectKind.READ_DOSSIER,
    DossierDeleted: EffectKind.DELETE_DOSSIER,
}


def answered_effect(observation: Observation) -> EffectKind | None:
    """The kind of effect that the observation answers, or None for time and source."""
    if isinstance(observation, ImagesInvalid | TargetMissing | EffectRefused | EffectDelayed | EffectUnanswered):
        return observation.kind
    return ANSWERED_EFFECT.get(type(observation)) if isinstance(observation, Answered) else None
