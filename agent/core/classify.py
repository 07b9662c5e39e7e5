"""What do we know after a call? The one function that says: done, refused, busy or unknown (design §5).

The order of the questions is the theory:

1. nothing came back: was it certainly never sent? Then busy, otherwise unknown;
2. the documented status: done when the body reads as documented, otherwise unknown;
3. "not now" (401, 408, 425, 429): busy, whatever the body;
4. another 4xx: refused when the body has the shape of Assure's or the gateway's own errors. A 4xx page of
   anything else on the way proves nothing: unknown. A 404 where no dossier was asked for tells of a wrong path or
   account, and of no request: busy;
5. all the rest: unknown.

Start verification is billed, so it believes less: of 3 only 401 and 429, and nothing of 4. The token endpoint
creates nothing, so it is the other way round: everything but success and `invalid_client` is busy.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from agent.core.answer import Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown

T = TypeVar("T")

LONGEST_PAUSE: Final = 60.0  # seconds of a Retry-After that are believed; then one asks again, gently

SUCCESS: Final = {
    Operation.TOKEN: 200,
    Operation.CREATE_DOSSIER: 201,
    Operation.CREATE_PROCESS: 201,
    Operation.START_CAPTURE: 201,
    Operation.UPLOAD_IMAGES: 201,
    Operation.START_VERIFICATION: 200,
    Operation.READ_PROCESS: 200,
    Operation.READ_DOSSIER: 200,
    Operation.READ_IMAGE: 200,
    Operation.LIST_DOSSIERS: 200,
    Operation.LIST_PROCESSES: 200,
    Operation.LIST_DOCUMENT_TYPES: 200,
    Operation.DELETE_DOSSIER: 204,
}
"""The one documented success of each call (contract §1, §3)."""

NONE_THERE: Final = {Operation.LIST_DOCUMENT_TYPES: 204}
"""A second documented success: there is nothing to list (contract §5)."""

REFUSAL: Final = "error-body"  # the cause of a 4xx in Assure's own words, or the gateway's
WITHOUT_DOSSIER: Final = frozenset(
    {
        Operation.CREATE_DOSSIER,
        Operation.LIST_DOSSIERS,
        Operation.LIST_PROCESSES,
        Operation.LIST_DOCUMENT_TYPES,
    }
)
"""The calls with no dossier in their path (contract §3)."""

_NOT_NOW = frozenset({401, 408, 425, 429})
_NOT_NOW_FOR_START = frozenset({401, 429})
_NEVER_SENT = frozenset({Trouble.CONNECT, Trouble.NO_TOKEN})

_TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SHAPE_LENGTH = 400


class _NotJson:
    """The type of NOT_JSON, so that it prints as what it is."""

    def __repr__(self) -> str:
        return "NOT_JSON"


NOT_JSON: Final = _NotJson()
"""Stands for a body that is not JSON; JSON's own null is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer that was read to its end. Its body never shows in repr [I6]."""

    status: int
    body: bytes = field(default=b"", repr=False)
    document: object = field(default=NOT_JSON, repr=False)  # the body as parsed JSON
    retry_after: str | None = None  # the header, as it came
    date: str = ""  # the header, as it came


Reader = Callable[[Reply], T]
"""Reads the documented body of a success; raises ValueError (best: Unreadable) when it is anything else."""


class Unreadable(ValueError):
    """A body is not what is documented. `cause` is a word of ours and goes into the evidence: never a value."""

    def __init__(self, cause: str = "unreadable") -> None:
        super().__init__(cause)
        self.cause = cause


def classify(operation: Operation, seen: Reply | Trouble, read: Reader[T], now: float) -> Answer[T]:
    """Say what is known after `operation` was tried and `seen` came of it.

    `read` is asked only for the documented success status. `now` (seconds since the epoch) turns a Retry-After date
    into seconds. Pure and total, as long as `read` raises nothing but ValueError.
    """
    if isinstance(seen, Trouble):
        return _without_answer(operation, seen)
    answer = _with_answer(operation, seen, read, now)
    if operation is Operation.TOKEN and isinstance(answer, Unknown):
        return _busy(seen, answer.evidence.cause, now)  # a token asked for twice costs nothing
    return answer


def _without_answer(operation: Operation, trouble: Trouble) -> Busy | Unknown:
    evidence = Evidence(trouble=trouble, cause=trouble.value)
    if trouble in _NEVER_SENT or operation is Operation.TOKEN:
        return Busy(evidence=evidence)
    return Unknown(evidence=evidence)


def _with_answer(operation: Operation, reply: Reply, read: Reader[T], now: float) -> Answer[T]:
    status, start = reply.status, operation is Operation.START_VERIFICATION
    if status in (SUCCESS[operation], NONE_THERE.get(operation)):
        return _success(reply, read)
    if operation is Operation.TOKEN:
        return _token_error(reply, now)
    if status in (_NOT_NOW_FOR_START if start else _NOT_NOW):
        return _busy(reply, "unauthorized" if status == 401 else "not-now", now)
    if status in _NOT_NOW:
        return Unknown(evidence=evidence_of(reply, "not-now"), retry_after=pause(reply.retry_after, now))
    if 400 <= status < 500:
        known = is_error_body(reply.document, status)
        if known and status == 404 and operation in WITHOUT_DOSSIER:
            return _busy(reply, "no-such-path", now)
        if known and not start:
            return Refused(evidence=evidence_of(reply, REFUSAL))
        return Unknown(evidence=evidence_of(reply, REFUSAL if known else "foreign-body"))
    cause = "server-error" if status >= 500 else "unexpected-status"
    return Unknown(evidence=evidence_of(reply, cause), retry_after=pause(reply.retry_after, now))


def _success(reply: Reply, read: Reader[T]) -> Done[T] | Unknown:
    try:
        value = read(reply)
    except Unreadable as error:
        return Unknown(evidence=evidence_of(reply, error.cause))
    except ValueError:
        return Unknown(evidence=evidence_of(reply, "unreadable"))
    return Done(value=value, evidence=evidence_of(reply, ""))


def _token_error(reply: Reply, now: float) -> Refused | Busy:
    """Only `invalid_client` is an error that a person must mend (contract §1, RFC 6749 §5.2)."""
    body = reply.document
    if 400 <= reply.status < 500 and isinstance(body, dict) and body.get("error") == "invalid_client":
        return Refused(evidence=evidence_of(reply, "invalid_client"))
    return _busy(reply, "token-endpoint", now)


def _busy(reply: Reply, cause: str, now: float) -> Busy:
    return Busy(evidence=evidence_of(reply, cause), retry_after=pause(reply.retry_after, now))


def is_error_body(document: object, status: int) -> bool:
    """True for an error in Assure's or the gateway's own words (contract §2), told by shape, not by content type.

    The rule: an object with a `title`, or with `type` and `status`; and a `status`, where there is one, that repeats
    the HTTP status. Proxies and web servers on the way answer with HTML, or with JSON that has neither.
    """
    if not isinstance(document, dict):
        return False
    title, kind, repeated = document.get("title"), document.get("type"), document.get("status")
    titled = isinstance(title, str) and title != ""
    typed = isinstance(kind, str) and kind != "" and repeated is not None
    return (titled or typed) and (repeated is None or (type(repeated) is int and repeated == status))


def pause(retry_after: str | None, now: float) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as an HTTP date; None when it says nothing readable."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        seconds = float(text)  # any number of digits: at worst infinity, which is capped
    else:
        try:
            when = parsedate_to_datetime(text)
            seconds = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return min(max(seconds, 0.0), LONGEST_PAUSE)


def evidence_of(reply: Reply, cause: str) -> Evidence:
    """What is kept of an answer: no value of its body but a trace id [I6]."""
    body = reply.document
    trace_id = body.get("traceId") if isinstance(body, dict) else None
    traced = isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)
    return Evidence(
        status=reply.status,
        cause=cause,
        shape=shape_of(body) if reply.body else "",
        digest=hashlib.sha256(reply.body).hexdigest()[:16] if reply.body else "",
        trace_id=str(trace_id) if traced else "",
    )


def shape_of(document: object) -> str:
    """Top-level key names and JSON types, `{title:string,status:number}`; key names only when they are names."""
    if not isinstance(document, dict):
        return "not-json" if document is NOT_JSON else _json_type(document)
    parts, length = [], 0
    for key, value in document.items():
        name = key if isinstance(key, str) and _KEY.fullmatch(key) else "?"
        parts.append(f"{name}:{_json_type(value)}")
        length += len(parts[-1]) + 1
        if length >= _SHAPE_LENGTH:
            break
    return ("{" + ",".join(parts) + "}")[:_SHAPE_LENGTH]


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
