"""The types of Assure's answers, in Assure's terms.

Facts come from the Assure contract (section in brackets). No type here holds a personal value [I6]. The reading of a
process contains its status, codes of reasons and booleans of security checks, never free text.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TypeGuard

PROVIDER = "signicatpictureid"
MAX_LISTED = 100
"""The longest list of GET dossiers: the newest dossiers that are not deleted (§4)."""
_MAX_ID_LENGTH = 200
_ID = re.compile(r"[A-Za-z0-9._~-]+")


def is_id(value: object) -> TypeGuard[str]:
    """True for an id that may be part of a path.

    `all` is invalid: DELETE /dossiers/all deletes every dossier of the account (§4).
    """
    return isinstance(value, str) and len(value) <= _MAX_ID_LENGTH and _is_id(value)


@lru_cache(maxsize=4096)  # the same ids occur in each call of a request
def _is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None and text != "." and ".." not in text and text.lower() != "all"


class ProcessType(StrEnum):
    """The subjects that PictureID verifies (§6)."""

    DOCUMENT = "document"  # the identity document alone
    DOCUMENT_SELFIE = "documentSelfie"  # the document and the face of its holder


class Depiction(StrEnum):
    """The kind of an image (§7). Assure also has `portrait`, but never for PictureID."""

    FRONT = "front"
    BACK = "back"
    SELFIE = "selfie"


class Status(StrEnum):
    """The status of a process; the complete list (§9)."""

    PENDING = "pending"  # created: images may be uploaded, and nothing is billed yet
    PROCESSING = "processing"  # verification was requested
    ACCEPTED = "accepted"  # final: verified
    REJECTED = "rejected"  # final: not genuine, or not allowed
    INCONCLUSIVE = "inconclusive"  # final: could not be decided
    CANCELED = "canceled"  # final: the end user gave up (capture flows)
    FAILED = "failed"  # final: technical error, or set through /fail

    @property
    def final(self) -> bool:
        """True when the status will not change again."""
        return self not in (Status.PENDING, Status.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReason:
    """The reason why a process is rejected or inconclusive: token-shaped codes only, never Assure's `message` [I6]."""

    type: str
    category: str
    sub_category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """The answer of GET process (§9), without any personal value."""

    process_id: str
    status: Status
    reasons: tuple[StatusReason, ...] = ()
    checks: tuple[tuple[str, bool], ...] = ()  # security check name -> passed, sorted by name
    fail_type: str | None = None  # `failReason.type`, when it is token-shaped
    similarity: str | None = None  # veryLow | low | medium | high


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProcess:
    """The answer of POST processes (§6). `document_pages` is 1 or 2; None when Assure did not send it."""

    process_id: str
    status: Status
    document_pages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedProcess:
    """One process in GET dossier or GET processes (§4, §9). `created_at` and `updated_at` are Assure's own strings."""

    process_id: str
    provider: str
    process_type: str
    status: Status
    created_at: str = ""
    updated_at: str = ""
    dossier_id: str | None = None  # only in GET processes
    reference: str | None = None  # the dossier's externalReference; only in GET processes


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierReading:
    """The answer of GET dossier (§4)."""

    dossier_id: str
    reference: str | None
    processes: tuple[ListedProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDossier:
    """One row of GET dossiers: the last 100 that are not deleted (§4)."""

    dossier_id: str
    reference: str | None
    created_at: str = ""


class Listing(tuple[ListedDossier, ...]):
    """The rows of GET dossiers."""

    __slots__ = ()

    @property
    def complete(self) -> bool:
        """True when the list contains every dossier. A list of the maximum length may omit older ones."""
        return len(self) < MAX_LISTED


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDossier:
    """A dossier in Assure's lists under a reference of this agent: its generation, attempt and processes."""

    generation: int
    attempt: int
    dossier_id: str
    opened_at: float | None = None  # when Assure created it, in seconds since the epoch
    processes: tuple[ListedProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPage:
    """One page of GET processes, which covers the last 30 days (§9). `total` is Assure's totalResults."""

    processes: tuple[ListedProcess, ...]
    total: int


@dataclass(frozen=True, slots=True, order=True)
class DocumentKey:
    """A document type as a request file names it: the country (alpha-3) and Assure's name of the type."""

    country: str
    type: str

    def __str__(self) -> str:
        return f"{self.country} {self.type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentType:
    """One row of GET document-types (§5). Descriptive fields are empty when Assure did not send them."""

    id: int
    country: str
    type: str
    country_name: str = ""
    name: str = ""
    sub_type: str = ""
    icao: str = ""

    @property
    def key(self) -> DocumentKey:
        """The country and type that a request file may name instead of the id."""
        return DocumentKey(self.country, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOptions:
    """The parameters of a hosted capture flow (§10)."""

    process_type: ProcessType
    redirect_url: str
    ui_profile: str | None = None
    language: str | None = None
    default_country: str | None = None
    request_domain: str | None = None
