"""Effects: the external actions that a step requests, named in the imperative. The interpreter performs them.

An effect that changes data at Assure has a committed intent first; a read has none. Design §5 and `machine.py` list
which effects may be repeated, and what follows an unknown answer.
"""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import ClassVar

from agent.core.assure_types import CaptureOptions, Depiction, DocumentKey, ProcessType


class EffectKind(StrEnum):
    """The kinds of effects. The comments state the result of a repeat."""

    CREATE_DOSSIER = "create_dossier"  # makes another when repeated
    CREATE_PROCESS = "create_process"  # makes another when repeated
    START_CAPTURE = "start_capture"  # creates another; a lost link cannot be read again
    UPLOAD_IMAGES = "upload_images"  # replaces the images
    START_VERIFICATION = "start_verification"  # billable
    DELETE_DOSSIER = "delete_dossier"  # 404 counts as done
    RESERVE_START = "reserve_start"  # local: takes one start from the budget
    VERIFY_IMAGES = "verify_images"  # local: compares the images with their digests at admission
    FIND_DOSSIER = "find_dossier"  # by external reference
    READ_DOSSIER = "read_dossier"
    READ_PROCESS = "read_process"
    COMPARE_IMAGES = "compare_images"  # compares the images at Assure with their digests at admission

    @cached_property  # an attribute after the first access: each step needs it several times
    def mutates(self) -> bool:
        """True when it changes data at Assure. Then the intent is committed first, and the attempt is logged."""
        return self in _MUTATIONS

    @cached_property
    def local(self) -> bool:
        """True when the agent sends no call for it."""
        return self in _LOCAL

    @cached_property
    def starts_work(self) -> bool:
        """True when it leads to something new at Assure. A paused agent performs none of these."""
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

    kind: ClassVar[EffectKind]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveStart(Effect):
    """Take one start from the budget of the day, before the dossier is created. Sends no call."""

    kind: ClassVar = EffectKind.RESERVE_START
    uid: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateDossier(Effect):
    """POST /dossiers with the external reference."""

    kind: ClassVar = EffectKind.CREATE_DOSSIER
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FindDossier(Effect):
    """Search the lists of Assure for the reference. `since` is the time of the create intent."""

    kind: ClassVar = EffectKind.FIND_DOSSIER
    reference: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateProcess(Effect):
    """POST processes, if `document_type` (when the file names one) still means this id."""

    kind: ClassVar = EffectKind.CREATE_PROCESS
    dossier_id: str
    process_type: ProcessType
    document_id: int
    document_type: DocumentKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartCapture(Effect):
    """POST capture."""

    kind: ClassVar = EffectKind.START_CAPTURE
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
    """Compare the image files with their digests at admission. Sends no call."""

    kind: ClassVar = EffectKind.VERIFY_IMAGES
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadImages(Effect):
    """POST images. The agent compares them with their digests at admission while it reads them."""

    kind: ClassVar = EffectKind.UPLOAD_IMAGES
    dossier_id: str
    process_id: str
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareImages(Effect):
    """GET each image and compare it with its digest at admission."""

    kind: ClassVar = EffectKind.COMPARE_IMAGES
    dossier_id: str
    process_id: str
    images: tuple[ImageRef, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartVerification(Effect):
    """POST process: billable."""

    kind: ClassVar = EffectKind.START_VERIFICATION
    dossier_id: str
    process_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsRequest:
    """The claims of an accepted process that the agent keeps, for `ttl` seconds. They arrive encrypted [I6]."""

    uid: str
    generation: int
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadProcess(Effect):
    """GET process. With `claims_request`, an accepted process is read together with its claims."""

    kind: ClassVar = EffectKind.READ_PROCESS
    dossier_id: str
    process_id: str
    claims_request: ClaimsRequest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadDossier(Effect):
    """GET dossier. `expect_missing`: it was deleted, and a 404 confirms that."""

    kind: ClassVar = EffectKind.READ_DOSSIER
    dossier_id: str
    expect_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteDossier(Effect):
    """DELETE dossier. `expect_missing`: it was lost or its deletion was tried before, so a 404 is normal."""

    kind: ClassVar = EffectKind.DELETE_DOSSIER
    dossier_id: str
    expect_missing: bool = False
