"""Observations: facts that reached the agent, named in the past tense, each with its time."""

from dataclasses import dataclass, field

from agent.core.answer import CallResult, Evidence
from agent.core.assure_types import Depiction, DossierReading, FoundDossier, ProcessReading, Status
from agent.core.effect import EffectKind
from agent.core.record import Desired, HoldAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The base of all observations."""

    at: float  # seconds since the epoch
    jitter: float = 0.5  # in [0, 1), spreads the times that a rule schedules; a value, so that a step is pure


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFired(Observation):
    """The record is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Observation):
    """The agent ended between an intent and its answer, or lost the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultAvailable(Observation):
    """A list or an event reports that the verification is finished. Only the agent's own read decides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested(Observation):
    """The start budget or the images may have changed, so the request tries again now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockCorrected(Observation):
    """The clock was wrong, and was corrected by `by` seconds."""

    by: float  # when negative, every time after `at` is wrong, in any field
    since: float  # when `by` is positive, times after this one are wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLost(Observation):
    """The record may be out of date: the store was lost or is an older copy. `found` is what Assure lists of it."""

    found: tuple[FoundDossier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldResolved(Observation):
    """The operator resolved a hold."""

    hold_id: str
    answer: HoldAnswer
    desired: Desired | None = None  # the document that is now in the source
    dossier_id: str | None = None  # the dossier to adopt


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalDataDisclosed(Observation):
    """The agent is about to show the operator the personal data of the request at Assure. It is for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsDisclosed(PersonalDataDisclosed):
    """The agent is about to show the operator the stored claims. It is for the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsErased(Observation):
    """The claims of this generation became unreadable: they expired, or the operator ran `forget`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesDiscarded(Observation):
    """The agent deleted the image files of this generation here (IMAGES_AFTER_UPLOAD)."""

    results: tuple[
        tuple[Depiction, str], ...
    ]  # deleted, missing, or the reason why it was left: changed, outside, unreadable


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentObserved(Observation):
    """The base of the observations of a document in the source."""

    desired: Desired
    name: str = ""  # restores the name of a record that was forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChanged(DocumentObserved):
    """The file of this name contains another document than the one that the agent follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReturned(DocumentObserved):
    """The file contains the followed document again, after it was removed or contained another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerunRequested(DocumentObserved):
    """The operator requested a new verification of the document in the source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRemoved(Observation):
    """No file contains the name, and a second scan confirmed that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Observation):
    """The base of the answers to one effect."""

    evidence: Evidence = Evidence()
    result: CallResult = CallResult.DONE  # the class of the answer (`agent.core.answer`)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartReserved(Answered):
    """The start budget had room, and one start was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetExhausted(Answered):
    """The start budget of the day is used; the next day begins at `until`."""

    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesVerified(Answered):
    """The image files match their digests at admission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierCreated(Answered):
    """Assure created a dossier."""

    dossier_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierSearched(Answered):
    """The agent searched Assure's lists for the dossier."""

    dossier_id: str | None
    complete: bool  # GET dossiers contained every dossier (`Listing.complete`)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessCreated(Answered):
    """Assure created a process."""

    process_id: str
    status: Status
    document_pages: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureStarted(Answered):
    """Assure started a capture flow."""

    link: str = field(repr=False)  # the capture link: a secret, stored only in its own table [I6]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesUploaded(Answered):
    """Assure accepted the images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesCompared(Answered):
    """Assure returned the images. Those in `differing` are not the images that the agent sent."""

    differing: tuple[Depiction, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationStarted(Answered):
    """Assure started the verification, which is billed. Its status may already be final (contract §8)."""

    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedClaims:
    """Claims that only the claims keyring can decrypt, stored only in their own table [I6]."""

    key_id: str  # the key of the day on which the claims expire
    wrapped_key: bytes = field(repr=False)  # the key of these claims, encrypted with that key
    ciphertext: bytes = field(repr=False)
    expires_at: float  # seconds since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRead(Answered):
    """Assure answered GET process."""

    reading: ProcessReading
    encrypted_claims: EncryptedClaims | None = None  # of an accepted process whose claims the request keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsEncryptionFailed(Answered):
    """GET process returned accepted, but the claims could not be encrypted. `reason` is a code: no-key, disk."""

    reading: ProcessReading
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierRead(Answered):
    """Assure answered GET dossier."""

    reading: DossierReading


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierDeleted(Answered):
    """Assure answered DELETE with success, or with its own 404."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectFailed(Answered):
    """The base of the answers that report no success, and of refusals before a call. `kind` is the kind of effect."""

    result: CallResult = CallResult.REFUSED
    kind: EffectKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagesInvalid(EffectFailed):
    """An image file does not match its digest; nothing was sent. `reason` is a code: missing, changed, ..."""

    depiction: Depiction
    reason: str
    kind: EffectKind = EffectKind.VERIFY_IMAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTypeGone(EffectFailed):
    """Country and type no longer mean the admitted id; nothing was sent. `reason` is a code: not-listed, ..."""

    reason: str
    kind: EffectKind = EffectKind.CREATE_PROCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetMissing(EffectFailed):
    """Assure's own 404 for the dossier or process of the effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRefused(EffectFailed):
    """The effect certainly did not happen, and a repeat will not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDelayed(EffectFailed):
    """The effect certainly did not happen, and a later repeat will help."""

    result: CallResult = CallResult.BUSY
    retry_after: float | None = None  # seconds, when Assure sent it


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectUnanswered(EffectFailed):
    """The effect may have happened: there was no answer, or an answer that proves nothing."""

    result: CallResult = CallResult.UNKNOWN


ANSWERED_EFFECT: dict[type[Observation], EffectKind] = {
    StartReserved: EffectKind.RESERVE_START,
    BudgetExhausted: EffectKind.RESERVE_START,
    ImagesVerified: EffectKind.VERIFY_IMAGES,
    DossierCreated: EffectKind.CREATE_DOSSIER,
    DossierSearched: EffectKind.FIND_DOSSIER,
    ProcessCreated: EffectKind.CREATE_PROCESS,
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
    """The kind of effect that the observation answers. None for an observation that is not an answer."""
    return observation.kind if isinstance(observation, EffectFailed) else ANSWERED_EFFECT.get(type(observation))
