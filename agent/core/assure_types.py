"""The words of the remote side: what Assure calls things, and what of its answers we let in.

Facts are from the Assure contract (section in brackets). Nothing here holds a personal value: a reading of a process
keeps its status, names of reasons and booleans of security checks, never free text, never a final result [I6].
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeGuard

PROVIDER = "signicatpictureid"
MAX_LISTED = 100
"""GET dossiers shows so many at most: the last that are not deleted (§4)."""
_ID = re.compile(r"[A-Za-z0-9._~-]{1,200}")


def is_id(value: object) -> TypeGuard[str]:
    """True for an id that may stand in a path.

    `all` may not: DELETE /dossiers/all deletes every dossier of the account (§4), and does not exist for us.
    """
    return (
        isinstance(value, str)
        and _ID.fullmatch(value) is not None
        and value != "."
        and ".." not in value
        and value.lower() != "all"
    )


class ProcessType(StrEnum):
    """What PictureID verifies (§6)."""

    DOCUMENT = "document"  # the identity document alone
    DOCUMENT_SELFIE = "documentSelfie"  # the document and the face of its holder


class Depiction(StrEnum):
    """Which picture (§7). `portrait` exists at Assure, but never for PictureID."""

    FRONT = "front"
    BACK = "back"
    SELFIE = "selfie"


class Status(StrEnum):
    """The status of a process; the complete list (§9)."""

    PENDING = "pending"  # created; images may be uploaded; nothing is billed yet
    PROCESSING = "processing"  # verification was requested; passing
    ACCEPTED = "accepted"  # final: verified
    REJECTED = "rejected"  # final: not genuine, or not allowed
    INCONCLUSIVE = "inconclusive"  # final: could not be decided
    CANCELED = "canceled"  # final: the person gave up (capture flows)
    FAILED = "failed"  # final: technical error, or set through /fail

    @property
    def final(self) -> bool:
        """True when the status will not change again."""
        return self not in (Status.PENDING, Status.PROCESSING)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReason:
    """Why a process is rejected or inconclusive: token-shaped names only; Assure's `message` is never kept [I6]."""

    type: str
    category: str
    sub_category: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessReading:
    """What GET process said (§9), without any personal value."""

    process_id: str
    status: Status
    reasons: tuple[StatusReason, ...] = ()
    checks: tuple[tuple[str, bool], ...] = ()  # security check name -> passed, sorted by name
    fail_type: str | None = None  # `failReason.type`, when it is token-shaped
    similarity: str | None = None  # veryLow | low | medium | high


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProcess:
    """What POST processes said (§6). `document_pages` is 1 or 2, or None where Assure did not say."""

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
    """What GET dossier said (§4)."""

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
        """True when no dossier can be missing; a full list may leave out older ones."""
        return len(self) < MAX_LISTED


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDossier:
    """A dossier under one of our references, as the lists show it: which generation and attempt, and what is in it."""

    generation: int
    attempt: int
    dossier_id: str
    opened_at: float | None = None  # when Assure made it, in seconds since the epoch
    processes: tuple[ListedProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessPage:
    """One page of GET processes: the last 30 days (§9). `total` is Assure's totalResults."""

    processes: tuple[ListedProcess, ...]
    total: int


@dataclass(frozen=True, slots=True, order=True)
class DocumentKey:
    """What a request file says instead of an id: the country (alpha-3) and Assure's word for the kind of document."""

    country: str
    type: str

    def __str__(self) -> str:
        return f"{self.country} {self.type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentType:
    """One row of GET document-types (§5). What only informs is empty where Assure did not say."""

    id: int
    country: str
    type: str
    country_name: str = ""
    name: str = ""
    sub_type: str = ""
    icao: str = ""

    @property
    def key(self) -> DocumentKey:
        """By what a request file may ask for it."""
        return DocumentKey(self.country, self.type)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureOptions:
    """What starts a hosted capture flow (§10)."""

    process_type: ProcessType
    redirect_url: str
    ui_profile: str | None = None
    language: str | None = None
    default_country: str | None = None
    request_domain: str | None = None
