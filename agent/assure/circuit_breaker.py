"""The circuit breakers, as small state machines with time as a value. They send nothing.

A failed call is retried by its own request, with backoff. Failures across requests concern all of them:

- outage: of the last WINDOW_ANSWERS answers within WINDOW_SECONDS there are at least MIN_ANSWERS, and the share
  OUTAGE_THRESHOLD of them are failures. Random failures stay below that share. Neutral reads at growing intervals
  probe whether Assure is back.
- credentials: MAX_FORBIDDEN answers 403 without a success between them, or 401 to several new tokens in a row. The
  token endpoint accepts the client, but Assure does not.
- missing: more than MAX_TRUSTED_MISSING unexpected 404s without a success between them. One dossier counts at most
  MAX_COUNTED_PER_DOSSIER times. A 404 for a call without a dossier counts until any call succeeds. The cause is a
  wrong account rather than so many lost dossiers. The 404 that opened the circuit is therefore not trusted. No call is
  sent until a probe finds a dossier of this agent again (design §5).
- pause: the request that got a Retry-After obeys it. All calls obey it, unless nearly all other answers are good: then
  the pause was meant for one call, not for the client.
- token: the token endpoint has a circuit of its own. One of its answers counts once for all waiting calls, and does not
  count for Assure.

After an outage two calls may be in flight at once, and one more for each success. A pause halves the number of calls
in flight once, and each success adds one again. Answers to calls that were sent before the circuit opened have no
effect: only the probe closes it.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, NamedTuple

from agent.assure.answer_signal import AnswerSignal
from agent.core.classify import MAX_RETRY_AFTER

WINDOW_ANSWERS: Final = 50  # maximum number of answers that count
WINDOW_SECONDS: Final = 60.0  # maximum age of these answers, in seconds
MIN_ANSWERS: Final = 10  # fewer answers never count as an outage
OUTAGE_THRESHOLD: Final = 0.8  # share of failures that is an outage
MAX_FORBIDDEN: Final = 3  # answers 403, or 401 of the token endpoint, in a row: the client is rejected
MIN_PAUSE_SHARE: Final = 0.2  # minimum share of answers with Retry-After that makes it apply to all calls
MAX_TOKEN_FAILURES: Final = 3  # failures of the token endpoint in a row that open its circuit; fewer are a pause
MAX_TRUSTED_MISSING: Final = 5  # unexpected 404s that are trusted
MAX_COUNTED_PER_DOSSIER: Final = 2  # unexpected 404s that count for one dossier, which is read until it is lost
TRUST_SECONDS: Final = 3600.0  # seconds for which the operator's confirmation of missing dossiers is valid
HALF_OPEN_CALLS: Final = 2  # calls that may be in flight when the circuit closes
MIN_CALLS_AFTER_PAUSE: Final = 16  # minimum number of calls that may be in flight after a pause
UNLIMITED_CALLS: Final = 256  # calls in flight: from this number on, there is no limit
_RECHECK_SECONDS = 0.25  # seconds until the next check whether a call in flight has ended


class Cause(StrEnum):
    """The cause of an open circuit."""

    OUTAGE = "outage"  # Assure does not answer
    MISSING = "missing"  # dossiers of this agent are missing: most likely a wrong account
    TOKEN = "token"  # noqa: S105 - the token endpoint returns no token
    CREDENTIALS = "credentials"  # the token endpoint or Assure rejects the client

    @property
    def first(self) -> float:
        """Seconds until the first probe. Each interval is twice the one before."""
        return {Cause.MISSING: 10.0, Cause.TOKEN: 0.5}.get(self, 1.0)

    @property
    def longest(self) -> float:
        """The maximum interval between two probes, in seconds."""
        return 300.0 if self is Cause.MISSING else 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCircuit:
    """An open circuit. `since` and `probe_at` in seconds since the epoch; `interval` in seconds."""

    cause: Cause
    since: float
    interval: float
    probe_at: float

    def is_same(self, other: "OpenCircuit") -> bool:
        """True if both opened at the same time for the same cause. The probes may differ."""
        return (self.cause, self.since) == (other.cause, other.since)


class Span(NamedTuple):
    """A time span in seconds since the epoch. It also ends if the clock goes back before its begin."""

    begin: float
    end: float

    def contains(self, now: float) -> bool:
        """True during the span."""
        return self.begin <= now < self.end


NEVER: Final = Span(math.inf, -math.inf)


class CircuitBreaker:
    """Assure's circuit: closed, paused until a time, or open until a probe succeeds.

    `jitter` is in [0, 1). Each call is framed by `start_call` and `end_call`.
    """

    def __init__(self) -> None:
        self.opened: OpenCircuit | None = None
        self.missing: dict[str, int] = {}  # dossier ("": none) -> unexpected 404s since the last success
        self._failures = _Window()
        self._pauses = _Window()  # answers with Retry-After
        self._forbidden = 0  # in a row
        self.trusted = NEVER  # while missing dossiers are trusted
        self.paused = NEVER
        self._limit = math.inf  # calls that may be in flight
        self._under_way = 0  # since the circuit was closed
        self._closings = 0

    # -- may a call begin?

    def is_closed_to_calls(self, now: float) -> bool:
        """True while only probes may be sent."""
        return self.opened is not None or self.paused.contains(now)

    def capacity(self, now: float) -> float:
        """How many more calls may begin now."""
        return 0.0 if self.is_closed_to_calls(now) else max(0.0, self._limit - self._under_way)

    def opens_at(self, now: float) -> float:
        """The time at which another call may begin. Infinity: a probe decides."""
        if self.opened is not None:
            return math.inf
        if self.paused.contains(now):
            return self.paused.end
        return now if self.capacity(now) else now + _RECHECK_SECONDS

    def start_call(self) -> int:
        """A call is sent. Returns the argument of `end_call`."""
        self._under_way += 1
        return self._closings

    def end_call(self, call: int) -> None:
        """A call was answered or cancelled. A call that was sent before the last outage does not count."""
        if call == self._closings:
            self._under_way -= 1

    # -- answers

    def record(
        self,
        signal: AnswerSignal,
        now: float,
        jitter: float = 0.5,
        target: str = "",
        retry_after: float | None = None,
        missing: Mapping[str, int] | None = None,
    ) -> None:
        """Record the answer to a call. `target`: the dossier in its path.

        `retry_after`: in seconds, limited to MAX_RETRY_AFTER. `missing`: the counts of all replicas, with this answer.
        """
        self._pauses.append(now, bool(retry_after))
        if retry_after and not self._pause_is_isolated(now):
            self.pause_until(Span(now, now + min(max(retry_after, 0.0), MAX_RETRY_AFTER)))
        if self.opened is not None or signal is AnswerSignal.NEUTRAL:
            return
        self._count(signal, now, target)
        if missing is not None:
            self.missing = dict(missing)
        if self.missing and sum(self.missing.values()) > MAX_TRUSTED_MISSING:
            self._open(Cause.MISSING, now, jitter)
        elif self._forbidden >= MAX_FORBIDDEN or signal is AnswerSignal.CLIENT_REJECTED:
            self._open(Cause.CREDENTIALS, now, jitter)
        elif self._is_outage(now):
            self._open(Cause.OUTAGE, now, jitter)

    def _pause_is_isolated(self, now: float) -> bool:
        """True if nearly all other answers have no Retry-After."""
        recent = self._pauses.recent(now)
        return len(recent) >= MIN_ANSWERS and sum(recent) < MIN_PAUSE_SHARE * len(recent)

    def _is_outage(self, now: float) -> bool:
        """True if nearly all recent answers are failures."""
        if self._failures.marked < OUTAGE_THRESHOLD * MIN_ANSWERS:
            return False  # too few at any age, as nearly always
        recent = self._failures.recent(now)
        return len(recent) >= MIN_ANSWERS and sum(recent) >= OUTAGE_THRESHOLD * len(recent)

    def pause_until(self, span: Span) -> None:
        """Send no calls in this span, unless they are paused for longer."""
        now = span.begin
        if self.paused.contains(now) and self.paused.end >= span.end:
            return
        if not self.paused.contains(now):
            self._limit = min(self._limit, max(MIN_CALLS_AFTER_PAUSE, self._under_way // 2))
        self.paused = span

    def set_opened(self, opened: OpenCircuit | None) -> None:
        """Another replica opened the circuit, set its next probe, or closed it."""
        was_open, self.opened = self.opened is not None, opened
        if was_open and opened is None:
            self._closed()

    def counts_missing(self, now: float) -> bool:
        """True if an unexpected 404 counts now."""
        return self.opened is None and not self.trusted.contains(now)

    def record_probe(self, healthy: bool, now: float, jitter: float = 0.5) -> None:
        """Record the result of a probe."""
        if self.opened is None:
            return
        self.opened = None if healthy else reschedule_probe(self.opened, now, jitter)
        if healthy:
            self._closed()

    def trust_missing(self, now: float) -> None:
        """The operator confirms that the missing dossiers were deleted. No effect unless the cause is MISSING."""
        if self.opened is not None and self.opened.cause is Cause.MISSING:
            self.trusted = Span(now, now + TRUST_SECONDS)
            self.opened = None
            self._closed()

    def _count(self, signal: AnswerSignal, now: float, target: str) -> None:
        good = signal in (AnswerSignal.HEALTHY, AnswerSignal.TARGET_FOUND)
        self._failures.append(now, signal in (AnswerSignal.OUTAGE, AnswerSignal.FORBIDDEN))
        if signal is AnswerSignal.FORBIDDEN:
            self._forbidden += 1
        elif good:
            self._forbidden = 0
            self._limit = self._limit + 1 if self._limit + 1 < UNLIMITED_CALLS else math.inf
        if signal is AnswerSignal.TARGET_FOUND:
            self.missing.clear()
        elif good:
            self.missing.pop("", None)
        elif signal is AnswerSignal.TARGET_MISSING and not self.trusted.contains(now):
            self.missing[target] = min(
                self.missing.get(target, 0) + 1, MAX_COUNTED_PER_DOSSIER if target else MAX_TRUSTED_MISSING + 1
            )

    def _open(self, cause: Cause, now: float, jitter: float) -> None:
        self.opened = open_circuit(cause, now, jitter)

    def _closed(self) -> None:
        self._failures.clear()
        self._forbidden = 0
        self.missing.clear()
        self._limit, self._under_way = HALF_OPEN_CALLS, 0
        self._closings += 1


class TokenCircuit:
    """The circuit of the token endpoint. No call is sent after a failure, until there is a token.

    The first failures cause a short pause, and are not reported. `opened` is set after MAX_TOKEN_FAILURES, or at once
    if the endpoint rejects the client.
    """

    def __init__(self) -> None:
        self.opened: OpenCircuit | None = None
        self.next: OpenCircuit | None = None  # the next token request; None if there is a token
        self._failures = 0  # in a row
        self._denied = 0  # 401 or 403 in a row

    def failed(
        self, now: float, jitter: float, pause: float = 0.0, denied: bool = False, certain: bool = False
    ) -> None:
        """The endpoint returned no token.

        `pause` is its Retry-After in seconds. `denied` is True for 401 and 403, `certain` for an OAuth error.
        """
        self._failures += 1
        self._denied = self._denied + 1 if denied else 0
        cause = Cause.CREDENTIALS if certain or self._denied >= MAX_FORBIDDEN else Cause.TOKEN
        before = self.next
        new = (
            open_circuit(cause, now, jitter)
            if before is None
            else reschedule_probe(replace(before, cause=cause), now, jitter)
        )
        self.next = replace(new, probe_at=max(new.probe_at, now + min(max(pause, 0.0), MAX_RETRY_AFTER)))
        reported = cause is Cause.CREDENTIALS or self.opened is not None or self._failures >= MAX_TOKEN_FAILURES
        self.opened = self.next if reported else None

    def issued(self) -> None:
        """There is a token."""
        self.opened, self.next, self._failures, self._denied = None, None, 0, 0


class _Window:
    """The last WINDOW_ANSWERS answers, some of them marked. `marked` counts these, at any age."""

    def __init__(self) -> None:
        self.marked = 0
        self._answers: deque[tuple[float, bool]] = deque(maxlen=WINDOW_ANSWERS)

    def append(self, now: float, marked: bool) -> None:
        if len(self._answers) == WINDOW_ANSWERS:
            self.marked -= self._answers[0][1]
        self._answers.append((now, marked))
        self.marked += marked

    def recent(self, now: float) -> list[bool]:
        """The marks of the answers within WINDOW_SECONDS."""
        return [marked for at, marked in self._answers if now - WINDOW_SECONDS < at <= now]

    def clear(self) -> None:
        self.marked = 0
        self._answers.clear()


def open_circuit(cause: Cause, now: float, jitter: float) -> OpenCircuit:
    """A new open circuit."""
    return OpenCircuit(cause=cause, since=now, interval=cause.first, probe_at=now + _jittered(cause.first, jitter))


def reschedule_probe(before: OpenCircuit, now: float, jitter: float) -> OpenCircuit:
    """The circuit stays open: double the interval."""
    interval = min(2.0 * before.interval, before.cause.longest)
    return replace(before, interval=interval, probe_at=now + _jittered(interval, jitter))


def _jittered(interval: float, jitter: float) -> float:
    return interval * (0.5 + jitter / 2.0)
