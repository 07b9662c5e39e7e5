"""The objects of the world: dossiers, processes, images, capture flows. Names are the API's (contract §3 to §10)."""

import hashlib
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = dict[str, Any]

PROVIDER = "signicatpictureid"
PROCESS_TYPES = ("document", "documentSelfie")
DEPICTIONS = ("front", "back", "selfie")
STATUSES = ("pending", "processing", "accepted", "rejected", "canceled", "failed", "inconclusive")
FINAL = frozenset(STATUSES[2:])


class Operation(StrEnum):
    """Every call that the sandbox answers, by the vendor's operationId (contract §3). The Assure API ends before
    `token`. `event` is the one call that the sandbox makes itself."""

    GET_DOSSIERS = "getDossiers"
    CREATE_DOSSIER = "createDossier"
    GET_DOSSIER = "getDossier"
    DELETE_DOSSIER = "deleteDossier"
    DELETE_ALL_DOSSIERS = "deleteAllDossiers"
    CREATE_PROCESS = "createProcess"
    GET_PROCESS = "getProcess"
    START_VERIFICATION = "startVerification"
    DELETE_PROCESS = "deleteProcess"
    SET_IMAGES = "setImages"
    GET_IMAGES = "getImages"
    SET_FAILED_PROCESS = "setFailedProcess"
    GET_EXTERNAL_ID = "getExternalId"
    GET_ALL_PROCESS = "getAllProcess"
    GET_DOCUMENT_TYPES = "getDocumentTypes"
    CREATE_ARTIFACT = "createArtifact"
    GET_USER_DATA = "getUserData"
    SET_USER_DATA = "setUserData"
    UPDATE_USER_DATA = "updateUserData"
    DELETE_USER_DATA = "deleteUserData"
    GET_FILE = "getFile"
    SET_FILES = "setFiles"
    DELETE_FILES = "deleteFiles"
    # The `_1` distinguishes them from the configurations of matching, which the sandbox omits.
    GET_CONFIGURATIONS = "getAllConfigurations_1"
    GET_CONFIGURATION = "getConfiguration_1"
    SET_CONFIGURATION = "setConfiguration_1"
    UPDATE_CONFIGURATION = "updateConfiguration_1"
    DELETE_CONFIGURATION = "deleteConfiguration_1"
    TOKEN = "token"  # noqa: S105 - the name of a call
    OPEN_CAPTURE = "openCapture"
    ANSWER_CAPTURE = "answerCapture"
    FINISH_CAPTURE = "finishCapture"
    EVENT = "event"


class AssureError(Exception):
    """A refusal in Assure's terms: HTTP status, short title, long detail (contract §2)."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(f"{status} {title}: {detail}")
        self.status = status
        self.title = title
        self.detail = detail


def bad_request(detail: str, status: int = 400) -> AssureError:
    """A 400. `status` differs only where the contract is silent and the config may choose."""
    return AssureError(status, "Bad Request", detail)


def not_found(thing: str) -> AssureError:
    """A 404 with the documented text: `Dossier not found.`"""
    return AssureError(404, "Not Found", f"{thing} not found.")


def conflict() -> AssureError:
    """A 409 with the documented text."""
    return AssureError(409, "Conflict", "Conflict found while processing the request.")


def stamp(epoch: float) -> str:
    """Assure's timestamp: UTC, whole seconds, `YYYY-MM-DDThh:mm:ssZ` (contract §0)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


@dataclass(frozen=True, slots=True)
class View:
    """The options of a read. It hides objects younger than `lag` seconds. `delivered` is false when a fault will spoil
    the answer, so that the client cannot read a result from it."""

    lag: float = 0.0
    delivered: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """One picture. `content` is None after a restart if its verification had started: only the digest is saved."""

    media_type: str
    digest: str
    content: bytes | None = field(repr=False)

    @classmethod
    def of(cls, content: bytes, media_type: str) -> "Image":
        """Build an image with its SHA-256."""
        return cls(media_type, hashlib.sha256(content).hexdigest(), content)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a process: decided at the start, visible from `at` on. It needs no timer."""

    status: str
    at: float
    fail_reason: dict[str, str] | None = None


@dataclass(slots=True, kw_only=True)
class Process:
    """One verification (contract §6, §9). Times are epoch seconds."""

    process_id: str
    dossier_id: str
    external_id: str
    process_type: str
    pages: int
    country: str
    created_at: float
    updated_at: float
    images: dict[str, Image] = field(default_factory=dict)
    verdict: Verdict | None = None
    tags: list[str] = field(default_factory=list)

    @property
    def needed(self) -> tuple[str, ...]:
        """The images that a start needs (contract §14.4). Always front, then back for two pages, and selfie for
        documentSelfie."""
        selfie = self.process_type == "documentSelfie"
        return ("front", *(("back",) if self.pages == 2 else ()), *(("selfie",) if selfie else ()))

    def status(self, now: float) -> str:
        """The status at that time: pending until the start, then processing until the verdict is visible."""
        if self.verdict is None:
            return "pending"
        return self.verdict.status if now >= self.verdict.at else "processing"

    def updated(self, now: float) -> float:
        """The time of the last change that is visible at `now`."""
        if self.verdict is None or now < self.verdict.at:
            return self.updated_at
        return max(self.updated_at, self.verdict.at)

    def slim(self, now: float) -> Json:
        """The fields that every answer about a process contains (SlimProcess, contract §4)."""
        return {
            "processId": self.process_id,
            "provider": PROVIDER,
            "processType": self.process_type,
            "status": self.status(now),
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(self.updated(now)),
        }


@dataclass(slots=True, kw_only=True)
class UserData:
    """The client's data about the end user of a dossier (contract §4)."""

    values: Json = field(repr=False)
    created_at: float
    updated_at: float


@dataclass(slots=True, kw_only=True)
class Configuration:
    """One capture configuration, which a flow names as its uiProfile (contract §10)."""

    configuration_id: str
    body: Json
    created_at: float
    updated_at: float

    def slim(self) -> Json:
        """The fields in the list of configurations."""
        return {
            "id": self.configuration_id,
            "createdAt": stamp(self.created_at),
            "updatedAt": stamp(self.updated_at),
        }


@dataclass(slots=True, kw_only=True)
class Dossier:
    """One end user's dossier (contract §4). Its deletion deletes its user data and files."""

    dossier_id: str
    reference: str | None
    created_at: float
    updated_at: float
    process_ids: list[str] = field(default_factory=list)
    user_data: UserData | None = None
    files: dict[str, Image] = field(default_factory=dict)

    def holds(self) -> list[str]:
        """The names of the personal data outside processes: `userData`, `files/front` and so on."""
        return [*(["userData"] if self.user_data else []), *(f"files/{name}" for name in sorted(self.files))]

    def slim(self) -> Json:
        """The fields of Dossier, as in lists and in the answer to its creation."""
        body: Json = {"dossierId": self.dossier_id}
        if self.reference is not None:
            body["externalReference"] = self.reference
        return body | {"createdAt": stamp(self.created_at), "updatedAt": stamp(self.updated_at)}


@dataclass(slots=True, kw_only=True)
class Capture:
    """One hosted capture flow (contract §10). Its token is the link's secret. A finished link has no further use.

    `document_id`: the choice of the link or of the end user. Until then `country` and `pages` are a guess.
    """

    token: str = field(repr=False)
    dossier_id: str
    process_type: str
    pages: int
    country: str
    redirect_url: str
    profile: str
    created_at: float
    process_id: str | None = None
    finished: bool = False
    document_id: int | None = None
    named: bool = False  # the link named the document, so the page does not ask for it
    country_chosen: bool = False
    profile_missing: bool = False  # uiProfile names an unknown capture configuration
    allowed_ids: list[int] = field(default_factory=list)  # documents to choose from; empty means all
    upload: bool = True  # the page offers to upload a file
    photo: bool = True  # the page offers the camera
    tags: list[str] = field(default_factory=list)
