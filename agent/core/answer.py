"""Every remote answer is one of four: done, refused, busy, unknown. One function says which (`classify.py`).

The theory (design §5): a call that creates or bills something may only be repeated when it certainly did not happen.
So the question is never "did it fail?" but "what do we know?":

- done     it happened: exactly the documented success, with a readable body;
- refused  it certainly did not happen, and asking again will not help;
- busy     it certainly did not happen, and asking later will help;
- unknown  everything else. Unknown is the default: a new kind of trouble lands here by itself.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Generic, TypeVar

T = TypeVar("T")


class Operation(StrEnum):
    """The calls we make, as the metrics name them."""

    TOKEN = "token"  # noqa: S105 - the name of a call
    CREATE_DOSSIER = "create_dossier"
    CREATE_PROCESS = "create_process"
    START_CAPTURE = "start_capture"
    UPLOAD_IMAGES = "upload_images"
    START_VERIFICATION = "start_verification"
    READ_PROCESS = "read_process"
    READ_DOSSIER = "read_dossier"
    READ_IMAGE = "read_image"
    LIST_DOSSIERS = "list_dossiers"
    LIST_PROCESSES = "list_processes"
    LIST_DOCUMENT_TYPES = "list_document_types"
    DELETE_DOSSIER = "delete_dossier"


class CallResult(StrEnum):
    """The class of an answer, as attempts and events record it."""

    DONE = "done"
    REFUSED = "refused"
    BUSY = "busy"
    UNKNOWN = "unknown"


class Trouble(StrEnum):
    """Why there is no answer to read: what the transport saw."""

    CONNECT = "connect"  # never sent: refused, DNS, TLS, or no connection within the timeout
    TIMEOUT = "timeout"  # sent, and no (whole) answer in time
    RESET = "reset"  # sent, or partly sent, and the connection ended
    OVERSIZED = "oversized"  # the answer was larger than we read
    NO_TOKEN = "no_token"  # noqa: S105 - never sent: there was no token to send it with
    CRASHED = "crashed"  # we ended between intent and answer


NOT_SENT: Final = "not-sent"
"""The cause of a call that our own brakes kept back."""

CLIENT_REJECTED: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_scope"})
"""The errors of the token endpoint that say: this client gets no token, until a person changes that (RFC 6749 §5.2)."""


NEW_TOKENS_REFUSED: Final = "new-tokens-refused"
"""The cause of a 401 to one new token after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is kept of an answer: never a value of its body [I6]."""

    status: int | None = None  # HTTP status, when there was an answer
    trouble: Trouble | None = None  # when there was none
    cause: str = ""  # a token-shaped word or two of ours: why it was classified so
    shape: str = ""  # top-level key names and their JSON types, at most 400 characters
    digest: str = ""  # SHA-256 of the body, hex, first 16 characters
    trace_id: str = ""  # Assure's traceId, when it is token-shaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """It happened; `value` is what the body said."""

    result: ClassVar = CallResult.DONE
    value: T
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It certainly did not happen, and asking again will not help."""

    result: ClassVar = CallResult.REFUSED
    evidence: Evidence

    @property
    def missing(self) -> bool:
        """True for Assure's own 404: the thing that was asked for is not there (now)."""
        return self.evidence.status == 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """It certainly did not happen; come back later. `retry_after` in seconds when the remote said so."""

    result: ClassVar = CallResult.BUSY
    evidence: Evidence
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may have happened. `retry_after` in seconds when the remote said when to come back, as 503 may."""

    result: ClassVar = CallResult.UNKNOWN
    evidence: Evidence
    retry_after: float | None = None


Answer = Done[T] | Refused | Busy | Unknown
