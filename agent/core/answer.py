"""The four classes of an answer: done, refused, busy, unknown. `classify.py` decides the class.

A call that creates or bills something may be repeated only when it certainly did not happen (design §5).
So the class states what the agent knows, not whether the call failed:

- done     it happened: the documented success with a readable body;
- refused  it certainly did not happen, and a repeat will not help;
- busy     it certainly did not happen, and a later repeat will help;
- unknown  everything else. A new kind of failure is therefore unknown.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final, Generic, TypeVar

T = TypeVar("T")


class Operation(StrEnum):
    """The calls to Assure, as the metrics name them."""

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
    """The reason why there is no answer, as the transport reports it."""

    CONNECT = "connect"  # never sent: refused, DNS, TLS, or no connection within the timeout
    TIMEOUT = "timeout"  # sent, and no complete answer in time
    RESET = "reset"  # sent, or partly sent, and the connection ended
    OVERSIZED = "oversized"  # the answer exceeds the size limit
    NO_TOKEN = "no_token"  # noqa: S105 - never sent: there was no token to send it with
    CRASHED = "crashed"  # the agent ended between intent and answer


NOT_SENT: Final = "not-sent"
"""The cause of a call that the agent did not send: the circuit breaker, the rate limit or an ended lease held it."""

NOT_HERE: Final = "image-not-here"
"""The cause of a delay because this replica does not find an image file. Another replica may have it."""

CLIENT_REJECTED: Final = frozenset({"invalid_client", "unauthorized_client", "invalid_scope"})
"""Errors of the token endpoint that only the operator can correct (RFC 6749 §5.2)."""


NEW_TOKENS_REFUSED: Final = "new-tokens-refused"
"""The cause of a 401 that Assure returned to several new tokens in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The part of an answer that the agent keeps. Of the values of the body it has only known words [I6]."""

    status: int | None = None  # HTTP status, when there was an answer
    trouble: Trouble | None = None  # when there was no answer
    cause: str = ""  # a short code of the agent: the reason for the class
    shape: str = ""  # top-level key names and their JSON types, at most 400 characters
    digest: str = ""  # SHA-256 of the body, hex, first 16 characters
    trace_id: str = ""  # Assure's traceId, when it is token-shaped
    words: str = ""  # the known words of an error body: `agent.core.error_words`


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Generic[T]):
    """It happened. `value` is the parsed body."""

    result: ClassVar = CallResult.DONE
    value: T
    evidence: Evidence = Evidence()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It certainly did not happen, and a repeat will not help."""

    result: ClassVar = CallResult.REFUSED
    evidence: Evidence

    @property
    def missing(self) -> bool:
        """True for a 404 of Assure itself: the target does not exist, or a read lags."""
        return self.evidence.status == 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """It certainly did not happen, and a later repeat will help. `retry_after` is in seconds, when Assure sent it."""

    result: ClassVar = CallResult.BUSY
    evidence: Evidence
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """It may have happened. `retry_after` is in seconds, when Assure sent it, as a 503 may."""

    result: ClassVar = CallResult.UNKNOWN
    evidence: Evidence
    retry_after: float | None = None


Answer = Done[T] | Refused | Busy | Unknown
