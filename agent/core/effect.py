"""Effects: what the machine asks of the outside, in the imperative. Data only; the interpreter performs them.

Those that change the remote have a committed intent first; reads do not. Each name says what is asked; the table of
what may be asked again, and what follows when the answer is unknown, is in design §5 and in `machine.py`.
"""

from dataclasses import dataclass
from enum import StrEnum

from agent.core.assure_types import CaptureOptions, Depiction, DocumentKey, ProcessType


class EffectKind(StrEnum):
    """The kinds of effects. `mutates` tells those that need an intent."""

    CREATE_DOSSIER = "create_dossier"  # makes another when repeated
    CREATE_PROCESS = "create_process"  # makes another when repeated
    START_CAPTURE = "start_capture"  # makes another when repeated; a lost link is lost
    UPLOAD_IMAGES = "upload_images"  # replaces
    START_VERIFICATION = "start_verification"  # billable
    DELETE_DOSSIER = "delete_dossier"  # 404 is done
    RESERVE_START = "reserve_start"  # local: may one more be started today?
    VERIFY_IMAGES = "verify_images"  # local: are the images what was admitted?
    FIND_DOSSIER = "find_dossier"  # by our external reference
    READ_DOSSIER = "read_dossier"
    READ_PROCESS = "read_process"
    COMPARE_IMAGES = "compare_images"  # what Assure returns against what was admitted

    @property
    def mutates(self) -> bool:
        """True when it changes the remote: intent first, attempt on record."""
        return self in _MUTATIONS

    @property
    def local(self) -> bool:
        """True when nothing is sent for it."""
        return self in _LOCAL

    @property
    def starts_work(self) -> bool:
        """True when it leads to something new at Assure: none of these while the agent is paused."""
        return self in _MUTATIONS - {EffectKind.DELETE_DOSSIER} or self in _LOCAL


_LOCAL = frozenset({EffectKind.RESERVE_START, EffectKind.VERIFY_IMAGES})
_MUTATIONS = frozenset(
    {
        EffectKind.CREATE_DOSSIER,
        EffectKind.CREATE_PROCESS,
        EffectKind.START_CAPTURE,
        EffectKind.UPLOAD_IMAGES,
        EffectKind.START_VERIFICATION,
        EffectKind.DELETE_DOSSIER,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The base of all effects."""

    @property
    def kind(self) -> EffectKind:
        """Which kind this is."""
        return KINDS[type(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveStart(Effect):
    """Take one start from the day's budget, before anything is created; nothing is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDossier(Effect):
    """POST /dossiers with our reference."""

    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindDossier(Effect):
    """Look for the reference in the lists, as of after `since` (when the create was intended)."""

    reference: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProcess(Effect):
    """POST processes, if `document_type` (when the file gave one) still means this id."""

    dossier_id: str
    process_type: ProcessType
    document_id: int
    document_type: DocumentKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCapture(Effect):
    """POST capture."""

    dossier_id: str
    options: CaptureOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRef:
    """An admitted image: depiction, path below the images folder, SHA-256 in hex."""

    depiction: Depiction
    path: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyImages(Effect):
    """Compare the image files with their digests at admission; nothing is sent."""

    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadImages(Effect):
    """POST images, verified against their digests once more while being read."""

    dossier_id: str
    process_id: str
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareImages(Effect):
    """GET each image and compare it with its digest at admission."""

    dossier_id: str
    process_id: str
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartVerification(Effect):
    """POST process: billable."""

    dossier_id: str
    process_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsRequest:
    """The claims of an accepted process are to be kept: whose, and for how many seconds. They come back sealed [I6]."""

    uid: str
    generation: int
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProcess(Effect):
    """GET process. With `claims_request`, an accepted one is read together with its claims."""

    dossier_id: str
    process_id: str
    claims_request: ClaimsRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDossier(Effect):
    """GET dossier. `expect_missing`: it was deleted, and a 404 is what is hoped for."""

    dossier_id: str
    expect_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDossier(Effect):
    """DELETE dossier. `expect_missing`: it was lost, or a deletion of it was tried before, and a 404 is no surprise."""

    dossier_id: str
    expect_missing: bool = False


KINDS: dict[type[Effect], EffectKind] = {
    CreateDossier: EffectKind.CREATE_DOSSIER,
    CreateProcess: EffectKind.CREATE_PROCESS,
    StartCapture: EffectKind.START_CAPTURE,
    UploadImages: EffectKind.UPLOAD_IMAGES,
    StartVerification: EffectKind.START_VERIFICATION,
    DeleteDossier: EffectKind.DELETE_DOSSIER,
    ReserveStart: EffectKind.RESERVE_START,
    VerifyImages: EffectKind.VERIFY_IMAGES,
    FindDossier: EffectKind.FIND_DOSSIER,
    ReadDossier: EffectKind.READ_DOSSIER,
    ReadProcess: EffectKind.READ_PROCESS,
    CompareImages: EffectKind.COMPARE_IMAGES,
}
