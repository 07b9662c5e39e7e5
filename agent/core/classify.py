"""What do we know after a call? The one function that says: done, refused, busy or unknown (design §5).

The order of the questions is the theory:

1. nothing came back: was it certainly never sent? Then busy, otherwise unknown;
2. the documented status: done when the body reads as documented, otherwise unknown;
3. "not now" (401, 408, 425, 429): busy, whatever the body;
4. a status that no server sends after it acted, such as 413 or 501: refused, whatever the body and whoever answers;
5. another 4xx: refused when the body has the shape of Assure's or the gateway's own errors. A 4xx page of
   anything else on the way proves nothing: unknown. A 404 where no dossier was asked for tells of a wrong path or
   account, a 403 of what the client may do, and neither of a request: busy;
6. all the rest: unknown.

Start verification is billed, so it believes less: of 3 only 401 and 429, and nothing of 4 and 5. The token endpoint
creates nothing, so it is the other way round: everything but success and an OAuth error about the client is busy.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

from agent.core.answer import CLIENT_REJECTED, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown

T = TypeVar("T")

MAX_RETRY_AFTER: Final = 60.0  # seconds of a Retry-After that are believed; then one asks again, gently

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
"""A second documented success: there is nothing to list (contract §5)."""

REFUSAL: Final = "error-body"  # the cause of a 4xx in Assure's own words, or the gateway's
NOT_ACTED: Final = "not-acted"  # the cause of a status that alone proves that nothing happened
WITHOUT_DOSSIER: Final = frozenset(
    {
        Operation.CREATE_DOSSIER,
        Operation.LIST_DOSSIERS,
        Operation.LIST_PROCESSES,
        Operation.LIST_DOCUMENT_TYPES,
    }
)
"""The calls with no dossier in their path (contract §3)."""

# RFC 9110, 6585, 7725: method, length, size, type, expectation, authority, protocol or header fields are refused before
# the request is carried out. Not among them: 406 and 416, which some servers find out afterwards; 407 and 511, which
# are about the network and pass.
_CANNOT_HAVE_ACTED = frozenset({405, 411, 413, 414, 415, 417, 421, 426, 431, 451, 501, 505})
_RETRY_LATER = frozenset({401, 408, 425, 429})
_RETRY_LATER_FOR_START = frozenset({401, 429})
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
class HttpReply:
    """An HTTP answer that was read to its end. Its body never shows in repr [I6]."""

    status: int
    body: bytes = field(default=b"", repr=False)
    document: object = field(default=NOT_JSON, repr=False)  # the body as parsed JSON
    retry_after: str | None = None  # the header, as it came
    date: str | None = None  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReply:
    """No answer. `cause` is a word of the transport: refused, dns, tls-certificate-has-expired, timeout."""

    trouble: Trouble
    cause: str


Reader = Callable[[HttpReply], T]
"""Reads the documented body of a success; raises ValueError (best: Unreadable) when it is anything else."""


class Unreadable(ValueError):
    """A body is not what is documented. `cause` is a word of ours and goes into the evidence: never a value."""

    def __init__(self, cause: str = "unreadable") -> None:
        super().__init__(cause)
        self.cause = cause


def classify(operation: Operation, response: HttpReply | NoReply | Trouble, parse: Reader[T], now: float) -> Answer[T]:
    """Say what is known after `operation` was tried and `response` came of it.

    `parse` is asked only for the documented success status. `now` (seconds since the epoch) turns a Retry-After date
    into seconds where the answer has no Date of its own. Pure and total, as long as `parse` raises ValueError alone.
    """
    if isinstance(response, Trouble):
        response = NoReply(trouble=response, cause=response.value)
    if isinstance(response, NoReply):
        return _without_answer(operation, response)
    answer = _with_answer(operation, response, parse, now)
    if operation is Operation.TOKEN and isinstance(answer, Unknown):
        return _busy(response, answer.evidence.cause, now)  # a token asked for twice costs nothing
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
    """Only an OAuth error about the client is one that a person must mend (contract §1, RFC 6749 §5.2)."""
    error = reply.document.get("error") if isinstance(reply.document, dict) else None
    if 400 <= reply.status < 500 and isinstance(error, str) and error in CLIENT_REJECTED:
        return Refused(evidence=evidence_of(reply, error))
    return _busy(reply, "unauthorized" if reply.status in (401, 403) else "token-endpoint", now)


def _busy(reply: HttpReply, cause: str, now: float) -> Busy:
    return Busy(evidence=evidence_of(reply, cause), retry_after=retry_delay(reply, now))


def _malformed_authorization(reply: HttpReply) -> bool:
    """Assure's 400 about the Authorization header (contract §2): as a 401, it is about the client, not the request."""
    title = reply.document.get("title") if isinstance(reply.document, dict) else None
    return reply.status == 400 and title == "Malformed Authorization header."


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


def retry_delay(reply: HttpReply, now: float) -> float | None:
    """Seconds to wait, from a Retry-After in seconds or as an HTTP date; None when it says nothing readable.

    A date is read against the answer's own Date: the clocks of Assure and of this machine differ.
    """
    if reply.retry_after is None:
        return None
    text = reply.retry_after.strip()
    if re.fullmatch(r"[+-]?[0-9]+", text):
        seconds = float(text)  # any number of digits: at worst infinity, which is capped
    else:
        until, sent = http_date(text), http_date(reply.date)
        if until is None:
            return None
        seconds = until - (now if sent is None else sent)
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def http_date(text: str | None) -> float | None:
    """Seconds since the epoch of an HTTP date; None when it is unreadable."""
    try:
        when = parsedate_to_datetime((text or "").strip())
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def evidence_of(reply: HttpReply, cause: str) -> Evidence:
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
