"""Why calls to an endpoint fail: Assure, its token endpoint, each sink. Kept once, read by all that report it.

Trouble begins with the first failure and ends with a success that no failure preceded for some seconds: calls that fail
now and then among good ones are one trouble, not many. Nothing of a body is kept [I6].
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Final, TypeVar

from agent.core.answer import NEW_TOKENS_REFUSED, NOT_SENT, UNACCEPTED, Answer, Done, Evidence, Refused, Unknown
from agent.core.answer import Trouble as Failure
from agent.core.classify import REFUSAL
from agent.ports import Clock

T = TypeVar("T")

ASSURE: Final = "assure"
TOKEN: Final = "token"  # noqa: S105 - the name of an endpoint
NAMES: Final = {ASSURE: "Assure", TOKEN: "the token endpoint"}
QUIET: Final = 10.0  # seconds without a failure that end a trouble
_CHANGES: Final = 60.0  # seconds between two changes of the cause that are reported
_DENIALS: Final = 3  # 401 or 403 in a row: the client is not accepted


class Cause(StrEnum):
    """Why calls fail; the label of a metric."""

    REFUSED = "refused"  # nobody listens there
    DNS = "dns"
    TLS = "tls"
    NETWORK = "network"  # no route, or no connection in time
    TIMEOUT = "timeout"  # no answer in time
    RESET = "reset"  # the connection ended without a whole answer
    THROTTLED = "throttled"  # HTTP 429
    STATUS_3XX = "http_3xx"
    STATUS_4XX = "http_4xx"
    STATUS_5XX = "http_5xx"
    UNREADABLE = "unreadable"  # an answer that is not the documented one
    CREDENTIALS = "credentials"  # the client is not accepted, or lacks a permission


_BY_WORD: Final = {
    "refused": Cause.REFUSED,
    "dns": Cause.DNS,
    "network": Cause.NETWORK,
    "connect-timeout": Cause.NETWORK,
    "timeout": Cause.TIMEOUT,
    "oversized": Cause.UNREADABLE,
}
_SENTENCES: Final = {
    Cause.REFUSED: "the connection is refused: nothing listens at this address",
    Cause.DNS: "the host name cannot be resolved",
    Cause.TLS: "TLS fails",
    Cause.NETWORK: "no connection can be made",
    Cause.TIMEOUT: "no answer came in time",
    Cause.RESET: "the connection ended without a whole answer",
    Cause.UNREADABLE: "the answer is not the documented one; is this the right address?",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One cause. `word` is a token-shaped detail, such as a certificate's fault; times in seconds since the epoch."""

    cause: Cause
    word: str = ""
    status: int | None = None
    address: str = ""
    since: float = 0.0
    at: float = 0.0  # when it was last met

    @property
    def sentence(self) -> str:
        """The cause in words, with the status, the detail and the address."""
        known = _SENTENCES.get(self.cause, "")
        if self.cause is Cause.CREDENTIALS:
            lacking = self.status == 403
            known = "the client lacks a permission" if lacking else "the client id and secret are not accepted"
        details = ", ".join(part for part in (f"HTTP {self.status}" if self.status else "", self.word) if part)
        said = f"{known} ({details})" if known and details else known or details
        return f"{said} at {self.address}" if self.address else said


def trouble_of(answer: Answer[T]) -> Trouble | None:
    """The trouble that an answer shows; None: the endpoint answered as it should, or was not asked."""
    evidence = answer.evidence
    if isinstance(answer, Done) or not asked(answer):
        return None
    if evidence.cause in UNACCEPTED or evidence.cause == NEW_TOKENS_REFUSED:
        return _trouble(Cause.CREDENTIALS, evidence)
    if evidence.status is None:
        return unanswered(evidence.cause)
    if evidence.cause == REFUSAL and isinstance(answer, Refused | Unknown) and evidence.status != 403:
        return None  # in Assure's own words: of a request, not of the endpoint
    return _trouble(by_status(evidence.status), evidence)


def unanswered(word: str) -> Trouble:
    """Of the transport's word for a call without an answer."""
    tls = word.startswith("tls")
    return Trouble(
        cause=Cause.TLS if tls else _BY_WORD.get(word, Cause.RESET), word=word.removeprefix("tls-") if tls else ""
    )


def by_status(status: int) -> Cause:
    """Of an HTTP status that is no success."""
    if status == 429:
        return Cause.THROTTLED
    by_class = {3: Cause.STATUS_3XX, 4: Cause.STATUS_4XX}
    return Cause.UNREADABLE if status < 300 else by_class.get(status // 100, Cause.STATUS_5XX)


def asked(answer: Answer[T]) -> bool:
    """False when the call was kept back, or had no token: its endpoint was not asked."""
    evidence = answer.evidence
    sent = evidence.status is not None or evidence.trouble not in (None, Failure.CRASHED)
    return sent and evidence.cause not in (NOT_SENT, "closed") and evidence.trouble is not Failure.NO_TOKEN


def _trouble(cause: Cause, evidence: Evidence) -> Trouble:
    word = "" if evidence.cause in ("server-error", "not-now", "token-endpoint", REFUSAL) else evidence.cause
    return Trouble(cause=cause, word=word, status=evidence.status)


@dataclass(slots=True)
class _Endpoint:
    address: str
    trouble: Trouble | None = None
    failed_at: float = float("-inf")
    well_at: float = float("-inf")
    told_at: float = float("-inf")
    denied: int = 0  # 401 or 403 in a row


class Endpoints:
    """Hears of every answer, and reports when a trouble begins, changes its cause or ends."""

    def __init__(
        self,
        addresses: Mapping[str, str],
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._changed: Callable[[str, Trouble | None, Trouble | None], None] = lambda name, before, after: None
        self._endpoints = {name: _Endpoint(address) for name, address in addresses.items()}

    def listen(self, changed: Callable[[str, Trouble | None, Trouble | None], None]) -> None:
        """Report changes there: the endpoint, its trouble before and after."""
        self._changed = changed

    @property
    def current(self) -> dict[str, Trouble]:
        """The endpoints in trouble, and with which."""
        self.settle()
        return self.known

    @property
    def known(self) -> dict[str, Trouble]:
        """As `current`, without a look at whether one of them is over."""
        return {name: one.trouble for name, one in self._endpoints.items() if one.trouble is not None}

    @property
    def denied(self) -> Trouble | None:
        """That Assure or its token endpoint does not accept the client, if so."""
        found = [self._endpoints[name].trouble for name in (TOKEN, ASSURE) if name in self._endpoints]
        return next((one for one in found if one is not None and one.cause is Cause.CREDENTIALS), None)

    def answered(self, name: str, answer: Answer[T]) -> None:
        """An endpoint answered, or did not."""
        if asked(answer):
            self.met(name, trouble_of(answer))

    def met(self, name: str, trouble: Trouble | None) -> None:
        """An endpoint was asked; None: it answered as it should."""
        one, now = self._endpoints[name], self._clock.now()
        if trouble is None:
            one.well_at, one.denied = now, 0
            self._end(name, one, now)
            return
        one.failed_at = now
        before, trouble = one.trouble, replace(self._judged(name, one, trouble), address=one.address, at=now)
        one.trouble = replace(trouble, since=before.since if before is not None else now)
        grave = trouble.cause is Cause.CREDENTIALS
        same = before is not None and before.cause is trouble.cause
        if before is None or (not same and (grave or now - one.told_at >= _CHANGES)):
            one.told_at = now
            self._report(name, before, one.trouble)
        elif not same:
            one.trouble = replace(before, at=now)  # reported with the next change

    def settle(self) -> None:
        """End the troubles that are over."""
        now = self._clock.now()
        for name, one in self._endpoints.items():
            if one.well_at >= one.failed_at:
                self._end(name, one, now)

    def _judged(self, name: str, one: _Endpoint, trouble: Trouble) -> Trouble:
        """401 and 403 in a row, of Assure or its token endpoint, are about the client."""
        one.denied = one.denied + 1 if trouble.status in (401, 403) else 0
        if name in NAMES and (one.denied >= _DENIALS and trouble.status in (401, 403)):
            return replace(trouble, cause=Cause.CREDENTIALS)
        return trouble

    def _end(self, name: str, one: _Endpoint, now: float) -> None:
        before = one.trouble
        if before is None:
            return
        if before.cause is Cause.CREDENTIALS or now - one.failed_at >= QUIET or now < one.failed_at:
            one.trouble = None
            self._report(name, before, None)

    def _report(self, name: str, before: Trouble | None, after: Trouble | None) -> None:
        with contextlib.suppress(Exception):  # a report that fails harms no call
            self._changed(name, before, after)


def as_json(troubles: Mapping[str, Trouble]) -> list[dict[str, Any]]:
    """The troubles as they are remembered for other commands."""
    return [{"endpoint": name, "sentence": one.sentence, **asdict(one)} for name, one in troubles.items()]


Troubles = list[tuple[str, float, str]]
"""The endpoint in words, since when, and the cause in a sentence."""


def remembered(text: str | None) -> Troubles:
    """Of such a JSON text: the endpoint in words, since when, and the sentence. Empty when nothing is remembered."""
    rows = json.loads(text) if text else []
    return [(named(row["endpoint"]), row["since"], row["sentence"]) for row in rows]


def named(name: str) -> str:
    """An endpoint in a sentence."""
    return NAMES.get(name, f"the sink {name.removeprefix('sink-')}")
