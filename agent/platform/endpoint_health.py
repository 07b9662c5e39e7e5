"""The trouble of each endpoint: Assure, its token endpoint, each sink. All reports read it from here.

A trouble begins with the first failure. It ends with a success, if no call has failed for RECOVERY_SECONDS. Therefore
occasional failures among successful calls are one trouble. No part of a body is kept [I6].
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from agent.core.answer import CLIENT_REJECTED, NEW_TOKENS_REFUSED, NOT_SENT, Answer, Done, Evidence, Refused, Unknown
from agent.core.answer import Trouble as Failure
from agent.core.classify import REFUSAL
from agent.ports import Clock

T = TypeVar("T")

ASSURE: Final = "assure"
TOKEN: Final = "token"  # noqa: S105 - the name of an endpoint
DISPLAY_NAMES: Final = {ASSURE: "Assure", TOKEN: "the token endpoint"}
RECOVERY_SECONDS: Final = 10.0  # seconds without a failure after which a trouble ends
_REPORT_INTERVAL: Final = 60.0  # seconds between two reported changes of the cause
_DENIALS: Final = 3  # 401 or 403 in a row that mean that the client is not accepted


class EndpointCause(StrEnum):
    """The cause of failed calls; a label of a metric."""

    REFUSED = "refused"  # no process listens at the address
    DNS = "dns"
    TLS = "tls"
    TLS_UNTRUSTED = "tls_untrusted"  # no trusted authority issued the certificate
    TLS_HOSTNAME = "tls_hostname"  # the certificate is for another host
    TLS_VALIDITY = "tls_validity"  # expired or not yet valid, by this machine's clock
    PROXY_UNREACHABLE = "proxy_unreachable"
    PROXY_CREDENTIALS = "proxy_credentials"  # 407
    PROXY_REFUSED = "proxy_refused"  # 403, or another 4xx: the proxy does not allow the host
    PROXY_GATEWAY = "proxy_gateway"  # 5xx: the proxy does not reach the host
    NETWORK = "network"  # no route, or no connection in time
    TIMEOUT = "timeout"  # no answer in time
    RESET = "reset"  # the connection ended without a whole answer
    THROTTLED = "throttled"  # HTTP 429
    STATUS_3XX = "http_3xx"
    STATUS_4XX = "http_4xx"
    STATUS_5XX = "http_5xx"
    UNREADABLE = "unreadable"  # an answer that is not documented
    CREDENTIALS = "credentials"  # the client is not accepted, or lacks a permission


_BY_CODE: Final = {
    "refused": EndpointCause.REFUSED,
    "dns": EndpointCause.DNS,
    "network": EndpointCause.NETWORK,
    "connect-timeout": EndpointCause.NETWORK,
    "timeout": EndpointCause.TIMEOUT,
    "oversized": EndpointCause.UNREADABLE,
    "proxy-credentials": EndpointCause.PROXY_CREDENTIALS,
    "proxy-refused": EndpointCause.PROXY_REFUSED,
    "proxy-gateway": EndpointCause.PROXY_GATEWAY,
    "proxy-answer": EndpointCause.PROXY_UNREACHABLE,
    "tls-unable-to-get-local-issuer-certificate": EndpointCause.TLS_UNTRUSTED,
    "tls-unable-to-get-issuer-certificate": EndpointCause.TLS_UNTRUSTED,
    "tls-unable-to-verify-the-first-certificate": EndpointCause.TLS_UNTRUSTED,
    "tls-self-signed-certificate": EndpointCause.TLS_UNTRUSTED,
    "tls-self-signed-certificate-in-certificate-chain": EndpointCause.TLS_UNTRUSTED,
    "tls-hostname-mismatch": EndpointCause.TLS_HOSTNAME,
    "tls-ip-address-mismatch": EndpointCause.TLS_HOSTNAME,
    "tls-certificate-has-expired": EndpointCause.TLS_VALIDITY,
    "tls-certificate-is-not-yet-valid": EndpointCause.TLS_VALIDITY,
}
_BY_PREFIX: Final = {"proxy-connect-": EndpointCause.PROXY_UNREACHABLE, "tls-": EndpointCause.TLS}
_SENTENCES: Final = {
    EndpointCause.REFUSED: "the connection is refused: nothing listens at this address",
    EndpointCause.DNS: "the host name cannot be resolved",
    EndpointCause.TLS: "TLS fails",
    EndpointCause.TLS_UNTRUSTED: "no authority that this machine trusts issued the certificate",
    EndpointCause.TLS_HOSTNAME: "the certificate is for another host",
    EndpointCause.TLS_VALIDITY: "the certificate has expired or is not valid yet, or this machine's clock is wrong",
    EndpointCause.PROXY_UNREACHABLE: "the proxy of PROXY_URL cannot be reached, or does not answer as an HTTP proxy",
    EndpointCause.PROXY_CREDENTIALS: "the proxy does not accept the user and password of PROXY_URL",
    EndpointCause.PROXY_REFUSED: "the proxy refuses to connect to this host",
    EndpointCause.PROXY_GATEWAY: "the proxy does not reach this host",
    EndpointCause.NETWORK: "no connection can be made",
    EndpointCause.TIMEOUT: "no answer came in time",
    EndpointCause.RESET: "the connection ended without a whole answer",
    EndpointCause.UNREADABLE: "the answer is not a documented one, perhaps because the address is wrong",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointTrouble:
    """One trouble. `detail` is a code, such as a fault of a certificate. Times are seconds since the epoch."""

    cause: EndpointCause
    detail: str = ""
    status: int | None = None
    address: str = ""
    since: float = 0.0
    at: float = 0.0  # the last failure

    @property
    def sentence(self) -> str:
        """The cause in words, with the status, the detail and the address."""
        known = _SENTENCES.get(self.cause, "")
        if self.cause is EndpointCause.CREDENTIALS:
            lacking = self.status == 403
            known = "the client lacks a permission" if lacking else "the client id and secret are not accepted"
        details = ", ".join(part for part in (f"HTTP {self.status}" if self.status else "", self.detail) if part)
        said = f"{known} ({details})" if known and details else known or details
        place = "on the way to" if self.cause.startswith("proxy") else "at"
        return f"{said} {place} {self.address}" if self.address else said


def trouble_of(answer: Answer[T]) -> EndpointTrouble | None:
    """The trouble that an answer shows. None: the endpoint works, or was not called."""
    evidence = answer.evidence
    if isinstance(answer, Done) or not was_sent(answer):
        return None
    if evidence.cause in CLIENT_REJECTED or evidence.cause == NEW_TOKENS_REFUSED:
        return _trouble(EndpointCause.CREDENTIALS, evidence)
    if evidence.status is None:
        return unanswered(evidence.cause)
    if evidence.cause == REFUSAL and isinstance(answer, Refused | Unknown) and evidence.status != 403:
        return None  # a documented refusal is about the request, not about the endpoint
    return _trouble(by_status(evidence.status), evidence)


def unanswered(code: str) -> EndpointTrouble:
    """The trouble for a code of `connection_error_code`."""
    prefix = next((one for one in _BY_PREFIX if code.startswith(one)), "")
    return EndpointTrouble(
        cause=_BY_CODE.get(code) or _BY_PREFIX.get(prefix, EndpointCause.RESET),
        detail=code.removeprefix(prefix) if prefix else "",
    )


def by_status(status: int) -> EndpointCause:
    """The cause for an HTTP status other than success."""
    if status == 429:
        return EndpointCause.THROTTLED
    by_class = {3: EndpointCause.STATUS_3XX, 4: EndpointCause.STATUS_4XX}
    return EndpointCause.UNREADABLE if status < 300 else by_class.get(status // 100, EndpointCause.STATUS_5XX)


def was_sent(answer: Answer[T]) -> bool:
    """False if the agent sent no request: the call was held back, or there was no token."""
    evidence = answer.evidence
    sent = evidence.status is not None or evidence.trouble not in (None, Failure.CRASHED)
    return sent and evidence.cause not in (NOT_SENT, "closed") and evidence.trouble is not Failure.NO_TOKEN


def _trouble(cause: EndpointCause, evidence: Evidence) -> EndpointTrouble:
    code = "" if evidence.cause in ("server-error", "not-now", "token-endpoint", REFUSAL) else evidence.cause
    return EndpointTrouble(cause=cause, detail=code, status=evidence.status)


@dataclass(slots=True)
class _Endpoint:
    address: str
    trouble: EndpointTrouble | None = None
    failed_at: float = float("-inf")
    succeeded: bool = True  # since the last failure
    reported_at: float = float("-inf")
    denied: int = 0  # 401 or 403 in a row


class EndpointHealth:
    """Receives every answer, and reports if a trouble begins, changes its cause or ends."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._on_change: Callable[[str, EndpointTrouble | None, EndpointTrouble | None], None] = (
            lambda name, before, after: None
        )
        self._endpoints = {name: _Endpoint(address) for name, address in addresses.items()}

    def subscribe(self, changed: Callable[[str, EndpointTrouble | None, EndpointTrouble | None], None]) -> None:
        """Report changes to `changed`: the endpoint, its trouble before and after."""
        self._on_change = changed

    @property
    def current(self) -> dict[str, EndpointTrouble]:
        """The current trouble of each endpoint."""
        self.end_recovered()
        return self.known

    @property
    def known(self) -> dict[str, EndpointTrouble]:
        """As `current`, without the check that a trouble has ended."""
        return {name: one.trouble for name, one in self._endpoints.items() if one.trouble is not None}

    @property
    def denied(self) -> EndpointTrouble | None:
        """The trouble if Assure or its token endpoint does not accept the client; otherwise None."""
        found = [self._endpoints[name].trouble for name in (TOKEN, ASSURE) if name in self._endpoints]
        return next((one for one in found if one is not None and one.cause is EndpointCause.CREDENTIALS), None)

    def record_answer(self, name: str, answer: Answer[T]) -> None:
        """Record the answer of an endpoint, or its absence."""
        if was_sent(answer):
            self.record(name, trouble_of(answer))

    def record(self, name: str, trouble: EndpointTrouble | None) -> None:
        """Record the result of a call. None: success."""
        one = self._endpoints[name]
        if trouble is None:
            one.succeeded, one.denied = True, 0
            if one.trouble is not None:
                self._end(name, one, self._clock.now())
            return
        now = self._clock.now()
        one.failed_at, one.succeeded = now, False
        before, trouble = one.trouble, replace(self._classified(name, one, trouble), address=one.address, at=now)
        one.trouble = replace(trouble, since=before.since if before is not None else now)
        grave = trouble.cause is EndpointCause.CREDENTIALS
        same = before is not None and before.cause is trouble.cause
        if before is None or (not same and (grave or now - one.reported_at >= _REPORT_INTERVAL)):
            one.reported_at = now
            self._report(name, before, one.trouble)
        elif not same:
            one.trouble = replace(before, at=now)  # reported with the next change

    def end_recovered(self) -> None:
        """End the troubles of endpoints that have recovered."""
        now = self._clock.now()
        for name, one in self._endpoints.items():
            if one.succeeded:
                self._end(name, one, now)

    def _classified(self, name: str, one: _Endpoint, trouble: EndpointTrouble) -> EndpointTrouble:
        """Treat repeated 401 and 403 of Assure or its token endpoint as a rejected client."""
        one.denied = one.denied + 1 if trouble.status in (401, 403) else 0
        if name in DISPLAY_NAMES and (one.denied >= _DENIALS and trouble.status in (401, 403)):
            return replace(trouble, cause=EndpointCause.CREDENTIALS)
        return trouble

    def _end(self, name: str, one: _Endpoint, now: float) -> None:
        before = one.trouble
        if before is None:
            return
        if before.cause is EndpointCause.CREDENTIALS or now - one.failed_at >= RECOVERY_SECONDS or now < one.failed_at:
            one.trouble = None
            self._report(name, before, None)

    def _report(self, name: str, before: EndpointTrouble | None, after: EndpointTrouble | None) -> None:
        with contextlib.suppress(Exception):  # a failed report must not harm a call
            self._on_change(name, before, after)


def as_json(troubles: Mapping[str, EndpointTrouble]) -> list[dict[str, Any]]:
    """The troubles as JSON, for the store."""
    return [{"endpoint": name, "sentence": one.sentence, **asdict(one)} for name, one in troubles.items()]


TroubleRows = list[tuple[str, float, str]]
"""For each trouble: the display name of the endpoint, the start time, and the cause in a sentence."""


def from_json(text: str | None) -> TroubleRows:
    """The rows in the JSON text of `as_json`. Empty for an empty text."""
    rows = json.loads(text) if text else []
    return [(display_name(row["endpoint"]), row["since"], row["sentence"]) for row in rows]


def display_name(name: str) -> str:
    """The name of an endpoint in a sentence."""
    return DISPLAY_NAMES.get(name, f"the sink {name.removeprefix('sink-')}")
