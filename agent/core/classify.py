"""Classify the answer to a call as done, refused, busy or unknown (design §5).

The rules apply in this order:

1. No answer: busy when the call was certainly never sent, otherwise unknown.
2. The documented status: done when the body is valid, otherwise unknown.
3. A status that asks for a later repeat (401, 408, 425, 429): busy, for any body.
4. A status that no server sends after it acted, such as 413 or 501: refused, for any body and any server.
5. Another 4xx: refused when the body is an error of Assure or of its gateway, otherwise unknown.
   A 4xx page of a proxy proves nothing. A 404 or 403 for a path without a dossier is busy. It concerns the path,
   the account or the permissions of the client, not one request.
6. Everything else: unknown.

Start verification is billed, so fewer answers are proof: of rule 3 only 401 and 429, and rules 4 and 5 do not apply.
The token endpoint creates nothing. Its answers are busy, except success and an OAuth error about the client.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, TypeVar

from agent.core.answer import CLIENT_REJECTED, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.error_words import error_words

T = TypeVar("T")

MAX_RETRY_AFTER: Final = 60.0  # seconds: the longest Retry-After that the agent obeys

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

EMPTY_STATUS: Final = {Operation.LIST_DOCUMENT_TYPES: 204}
"""A second documented success: the list is empty (contract §5)."""

REFUSAL: Final = "error-body"  # the cause of a 4xx with an error of Assure or its gateway
NOT_ACTED: Final = "not-acted"  # the cause of a status that alone proves that the call had no effect
WITHOUT_DOSSIER: Final = frozenset(
    {
        Operation.CREATE_DOSSIER,
        Operation.LIST_DOSSIERS,
        Operation.LIST_PROCESSES,
        Operation.LIST_DOCUMENT_TYPES,
    }
)
"""The calls with no dossier in their path (contract §3)."""

# Statuses of RFC 9110, 6585 and 7725 by which a server refuses a request before it carries it out.
# 406 and 416 are not among them, because some servers send these afterwards. 407 and 511 concern the network and pass.
_CANNOT_HAVE_ACTED = frozenset({405, 411, 413, 414, 415, 417, 421, 426, 431, 451, 501, 505})
_RETRY_LATER = frozenset({401, 408, 425, 429})
_RETRY_LATER_FOR_START = frozenset({401, 429})
_NEVER_SENT = frozenset({Trouble.CONNECT, Trouble.NO_TOKEN})

_TRACE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
_SHAPE_LENGTH = 400
_CACHED_BODY = 4096  # bytes; bounds the memory of the cache of shapes
_TYPE_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
}


class _NotJson:
    """The type of NOT_JSON, with a readable repr."""

    def __repr__(self) -> str:
        return "NOT_JSON"


NOT_JSON: Final = _NotJson()
"""The parsed form of a body that is not JSON. JSON's own null is None."""


@dataclass(slots=True, kw_only=True)  # not frozen: each field would cost 600 instructions of every call
class HttpReply:
    """A complete HTTP answer. Its fields never change, and its repr never shows the body [I6]."""

    status: int
    body: bytes = field(default=b"", repr=False)
    document: object = field(default=NOT_JSON, repr=False)  # the body as parsed JSON
    retry_after: str | None = None  # the header, not parsed
    date: str | None = None  # the header, not parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReply:
    """No answer. `cause` is a code of the transport, such as refused, dns, tls-certificate-has-expired or timeout."""

    trouble: Trouble
    cause: str


Reader = Callable[[HttpReply], T]
"""Parses the documented body of a success. Raises ValueError, or better Unreadable, for any other body."""


class Unreadable(ValueError):
    """An undocumented body. `cause` is a code of the agent for the evidence, never a value of the body."""

    def __init__(self, cause: str = "unreadable") -> None:
        super().__init__(cause)
        self.cause = cause


def classify(operation: Operation, response: HttpReply | NoReply | Trouble, parse: Reader[T], now: float) -> Answer[T]:
    """Classify the `response` to `operation`.

    `parse` is called only for the documented success status. `now` (seconds since the epoch) converts a Retry-After
    date to seconds when the answer has no Date. Pure and total, if `parse` raises only ValueError.
    """
    if isinstance(response, Trouble):
        response = NoReply(trouble=response, cause=response.value)
    if isinstance(response, NoReply):
        return _without_answer(operation, response)
    answer = _with_answer(operation, response, parse, now)
    if operation is Operation.TOKEN and isinstance(answer, Unknown):
        return _busy(response, answer.evidence.cause, now)  # a repeated request for a token costs nothing
    return answer


def _without_answer(operation: Operation, lost: NoReply) -> Busy | Unknown:
    evidence = Evidence(trouble=lost.trouble, cause=lost.cause)
    if lost.trouble in _NEVER_SENT or operation is Operation.TOKEN:
        return Busy(evidence=evidence)
    return Unknown(evidence=evidence)


def _with_answer(operation: Operation, reply: HttpReply, parse: Reader[T], now: float) -> Answer[T]:
    status, start = reply.status, operation is Operation.START_VERIFICATION
    if status in (SUCCESS[operation], EMPTY_STATUS.get(operation)):
        return _success(reply, parse)
    if operation is Operation.TOKEN:
        return _token_error(reply, now)
    if status in (_RETRY_LATER_FOR_START if start else _RETRY_LATER) or _malformed_authorization(reply):
        return _busy(reply, "unauthorized" if status in (400, 401) else "not-now", now)
    if status in _RETRY_LATER:
        return Unknown(evidence=evidence_of(reply, "not-now"), retry_after=retry_delay(reply, now))
    if status in _CANNOT_HAVE_ACTED and not start:
        return Refused(evidence=evidence_of(reply, REFUSAL if is_error_body(reply.document, status) else NOT_ACTED))
    if 400 <= status < 500:
        known = is_error_body(reply.document, status)
        if known and status in (403, 404) and operation in WITHOUT_DOSSIER:
            return _busy(reply, "no-such-path" if status == 404 else "forbidden", now)
        if known and not start:
            return Refused(evidence=evidence_of(reply, REFUSAL))
        return Unknown(evidence=evidence_of(reply, REFUSAL if known else "foreign-body"))
    cause = "server-error" if status >= 500 else "unexpected-status"
    return Unknown(evidence=evidence_of(reply, cause), retry_after=retry_delay(reply, now))


def _success(reply: HttpReply, parse: Reader[T]) -> Done[T] | Unknown:
    try:
        value = parse(reply)
    except Unreadable as error:
        return Unknown(evidence=evidence_of(reply, error.cause))
    except ValueError:
        return Unknown(evidence=evidence_of(reply, "unreadable"))
    return Done(value=value, evidence=evidence_of(reply, ""))


def _token_error(reply: HttpReply, now: float) -> Refused | Busy:
    """Refused only for an OAuth error about the client, which the operator must correct (contract §1, RFC 6749)."""
    error = reply.document.get("error") if isinstance(reply.document, dict) else None
    if 400 <= reply.status < 500 and isinstance(error, str) and error in CLIENT_REJECTED:
        return Refused(evidence=evidence_of(reply, error))
    return _busy(reply, "unauthorized" if reply.status in (401, 403) else "token-endpoint", now)


def _busy(reply: HttpReply, cause: str, now: float) -> Busy:
    return Busy(evidence=evidence_of(reply, cause), retry_after=retry_delay(reply, now))


def _malformed_authorization(reply: HttpReply) -> bool:
    """True for Assure's 400 about the Authorization header (contract §2). Like a 401, it is about the client."""
    title = reply.document.get("title") if isinstance(reply.document, dict) else None
    return reply.status == 400 and title == "Malformed Authorization header."


def is_error_body(document: object, status: int) -> bool:
    """True for an error of Assure or of its gateway (contract §2), recognised by its shape, not by its content type.

    The shape is an object with `title`, or with `type` and `status`. A `status` must repeat the HTTP status.
    Proxies and web servers answer with HTML, or with JSON that has neither.
    """
    if not isinstance(document, dict):
        return False
    title, kind, repeated = document.get("title"), document.get("type"), document.get("status")
    titled = isinstance(title, str) and title != ""
    typed = isinstance(kind, str) and kind != "" and repeated is not None
    return (titled or typed) and (repeated is None or (type(repeated) is int and repeated == status))


def retry_delay(reply: HttpReply, now: float) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as an HTTP date. None when the header is invalid.

    A date is compared with the Date of the answer, because the clocks of Assure and of this machine differ.
    """
    if reply.retry_after is None:
        return None
    text = reply.retry_after.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        seconds = float(text)  # many digits give infinity, which the maximum limits
    else:
        until, sent = http_date(text), http_date(reply.date)
        if until is None:
            return None
        seconds = until - (now if sent is None else sent)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


@lru_cache(maxsize=16)  # the answers of one second have the same date
def http_date(text: str | None) -> float | None:
    """An HTTP date in seconds since the epoch. None when it is invalid."""
    try:
        when = parsedate_to_datetime((text or "").strip())
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def evidence_of(reply: HttpReply, cause: str) -> Evidence:
    """The evidence of an answer. Of the values of the body it contains the trace id and the words of errors [I6]."""
    body = reply.document
    trace_id = body.get("traceId") if isinstance(body, dict) else None
    traced = isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)
    return Evidence(
        status=reply.status,
        cause=cause,
        shape=shape_of(body, cached=len(reply.body) <= _CACHED_BODY) if reply.body else "",
        digest=hashlib.sha256(reply.body).hexdigest()[:16] if reply.body else "",
        trace_id=str(trace_id) if traced else "",
        words=error_words(body) if 400 <= reply.status < 600 else "",
    )


def shape_of(document: object, cached: bool = False) -> str:
    """Top-level key names and JSON types, `{title:string,status:number}`; key names only when they are names.

    `cached` is for small documents: the cache keeps their keys.
    """
    if not isinstance(document, dict):
        return "not-json" if document is NOT_JSON else _json_type(document)
    shape = _cached_shape if cached else _shape
    return shape(tuple(document), tuple(map(type, document.values())))


def _shape(keys: tuple[object, ...], types: tuple[type, ...]) -> str:
    parts, length = [], 0
    for key, kind in zip(keys, types, strict=True):
        name = key if isinstance(key, str) and _KEY.fullmatch(key) else "?"
        parts.append(f"{name}:{_TYPE_NAMES.get(kind, 'object')}")
        length += len(parts[-1]) + 1
        if length >= _SHAPE_LENGTH:
            break
    return ("{" + ",".join(parts) + "}")[:_SHAPE_LENGTH]


# Few shapes occur. Formatting them for every answer would take a tenth of the time of a call.
_cached_shape = lru_cache(maxsize=256)(_shape)


def _json_type(value: object) -> str:
    return _TYPE_NAMES.get(type(value), "object")
