"""The brakes, as small state machines with time as a value: a token bucket, circuit breakers. None sends anything.

A call that goes wrong is the business of its request, which comes back with backoff. When calls go wrong whatever
request they belong to, it is the business of all:

- outage: among the last ANSWERS answers of Assure within WINDOW seconds there are at least LEAST, and the share SHARE
  of them are failures. Noise stays below that share; an outage does not. A neutral read at growing intervals finds out
  when Assure is back.
- credentials: FORBIDDEN answers 403 without one success between them, or 401 to as many new tokens in a row. The token
  endpoint accepts the client, Assure does not.
- missing: more than MISSING unexpected 404s without one success between them, of one dossier at most TWICE; those where
  no dossier was asked for count as well, until Assure answers anything as it should. That is a
  wrong account, not so many lost dossiers: the 404 that opened the circuit is not believed, and until a dossier of ours
  is seen again nothing is sent at all, least of all a creation or a deletion (design §5).
- a pause that Assure asked for (Retry-After) is kept by the request that was told so, and by all unless nearly all
  other answers are good: then one call met it, and not the client.
- no token: the token endpoint has a circuit of its own. One answer of it counts once, however many calls wait for it,
  and says nothing of Assure.

After an outage two calls are let through at once, and one more for each success. A pause halves the number of calls
that may be under way, once, and each success adds one again.
Answers to what was sent before the circuit opened change nothing any more: only the probe closes it.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agent.assure.answer_signal import AnswerSignal
from agent.core.classify import MAX_RETRY_AFTER

WINDOW_ANSWERS: Final = 50  # the answers that are looked back on at most
WINDOW_SECONDS: Final = 60.0  # seconds that they may be old
MIN_ANSWERS: Final = 10  # fewer answers than that prove no outage
OUTAGE_THRESHOLD: Final = 0.8  # of failures among them: an outage
MAX_FORBIDDEN: Final = 3  # answers 403, or 401 of the token endpoint, in a row: the client is not accepted
MIN_PAUSE_SHARE: Final = 0.2  # of the last answers that ask for a pause, at least: it is meant for all
MAX_TOKEN_FAILURES: Final = (
    3  # failures of the token endpoint in a row that open its circuit; before that it is a pause
)
MAX_TRUSTED_MISSING: Final = 5  # unexpected 404s that are still believed
MAX_COUNTED_PER_DOSSIER: Final = (
    2  # of these count for one dossier: one that is gone is asked for again and again until it is lost
)
TRUST_SECONDS: Final = 3600.0  # seconds that a person's word holds: they are gone indeed
HALF_OPEN_CALLS: Final = 2  # calls that may be under way when the circuit closes
MIN_CALLS_AFTER_PAUSE: Final = 16  # calls that may be under way after a pause, at least
UNLIMITED_CALLS: Final = 256  # calls that may be under way: from here on any number
_RECHECK_SECONDS = 0.25  # seconds until it is looked again whether one of the calls under way has ended


class Cause(StrEnum):
    """Why a circuit is open."""

    OUTAGE = "outage"  # Assure does not answer
    MISSING = "missing"  # nothing of ours is there: most likely another account
    TOKEN = "token"  # noqa: S105 - the token endpoint gives no token
    CREDENTIALS = "credentials"  # the client is not accepted, by the token endpoint or by Assure

    @property
    def first(self) -> float:
        """Seconds until the first probe; each later one comes after twice the time."""
        return {Cause.MISSING: 10.0, Cause.TOKEN: 0.5}.get(self, 1.0)

    @property
    def longest(self) -> float:
        """The longest time between two probes, in seconds."""
        return 300.0 if self is Cause.MISSING else 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCircuit:
    """An open circuit. `since` and `probe_at` in seconds since the epoch; `interval` leads to the next probe."""

    cause: Cause
    since: float
    interval: float
    probe_at: float


class CircuitBreaker:
    """Assure's circuit: closed, paused until a time, or open until a probe succeeds.

    `chance` in [0, 1) is the jitter of a probe. Each call is announced by `begin` and concluded by `ended`.
    """

    def __init__(self) -> None:
        self.opened: OpenCircuit | None = None
        self.missing: dict[str, int] = {}  # dossier ("": none) -> unexpected 404s since the last success
        self._answers: deque[tuple[float, bool]] = deque(maxlen=WINDOW_ANSWERS)  # when, and whether it was a failure
        self._pauses: deque[tuple[float, bool]] = deque(maxlen=WINDOW_ANSWERS)  # when, and whether it asked for a pause
        self._forbidden = 0  # in a row
        self._trust_span = _NEVER  # while a person says that what is missing is gone
        self._paused = _NEVER
        self._limit = math.inf  # calls that may be under way
        self._under_way = 0  # since the circuit was closed
        self._closings = 0

    # -- may a call begin?

    def is_closed_to_calls(self, now: float) -> bool:
        """True while nothing may be sent but a probe."""
        return self.opened is not None or self._paused.contains(now)

    def capacity(self, now: float) -> float:
        """How many more calls may begin now."""
        return 0.0 if self.is_closed_to_calls(now) else max(0.0, self._limit - self._under_way)

    def opens_at(self, now: float) -> float:
        """When another call may begin: now, later, or, while only a probe can tell, never."""
        if self.opened is not None:
            return math.inf
        if self._paused.contains(now):
            return self._paused.end
        return now if self.capacity(now) else now + _RECHECK_SECONDS

    def start_call(self) -> int:
        """A call is let through. The number goes to `ended`."""
        self._under_way += 1
        return self._closings

    def end_call(self, call: int) -> None:
        """A call that was let through is answered or given up. One that hangs since before an outage counts no more."""
        if call == self._closings:
            self._under_way -= 1

    # -- what came of it

    def record(
        self, signal: AnswerSignal, now: float, jitter: float = 0.5, target: str = "", retry_after: float | None = None
    ) -> None:
        """A call that was let through is answered; `target` is the dossier it was about, if it was.

        `retry_after`: seconds that Assure asked for; absurd demands are cut to LONGEST_PAUSE.
        """
        self._pauses.append((now, bool(retry_after)))
        if retry_after and not self._pause_is_isolated(now):
            self._pause(retry_after, now)
        if self.opened is not None or signal is AnswerSignal.NEUTRAL:
            return
        self._count(signal, now, target)
        if sum(self.missing.values()) > MAX_TRUSTED_MISSING:
            self._open(Cause.MISSING, now, jitter)
        elif self._forbidden >= MAX_FORBIDDEN or signal is AnswerSignal.CLIENT_REJECTED:
            self._open(Cause.CREDENTIALS, now, jitter)
        elif self._is_outage(now):
            self._open(Cause.OUTAGE, now, jitter)

    def _pause_is_isolated(self, now: float) -> bool:
        """True when nearly all other calls are answered without being asked for a pause."""
        recent = _within(self._pauses, now)
        return len(recent) >= MIN_ANSWERS and sum(recent) < MIN_PAUSE_SHARE * len(recent)

    def _is_outage(self, now: float) -> bool:
        """True when nearly all of the last answers are failures."""
        recent = _within(self._answers, now)
        return len(recent) >= MIN_ANSWERS and sum(recent) >= OUTAGE_THRESHOLD * len(recent)

    def _pause(self, seconds: float, now: float) -> None:
        until = now + min(max(seconds, 0.0), MAX_RETRY_AFTER)
        if self._paused.contains(now) and self._paused.end >= until:
            return
        if not self._paused.contains(now):
            self._limit = min(self._limit, max(MIN_CALLS_AFTER_PAUSE, self._under_way // 2))
        self._paused = _Span(now, until)

    def record_probe(self, healthy: bool, now: float, jitter: float = 0.5) -> None:
        """The probe is answered: all is well again, or it is not."""
        if self.opened is None:
            return
        self.opened = None if healthy else reschedule_probe(self.opened, now, jitter)
        if healthy:
            self._closed()

    def trust_missing(self, now: float) -> None:
        """A person says: go on; what is missing is gone indeed. Of no meaning while nothing is said to be missing."""
        if self.opened is not None and self.opened.cause is Cause.MISSING:
            self._trust_span = _Span(now, now + TRUST_SECONDS)
            self.opened = None
            self._closed()

    def _count(self, signal: AnswerSignal, now: float, target: str) -> None:
        good = signal in (AnswerSignal.HEALTHY, AnswerSignal.TARGET_FOUND)
        self._answers.append((now, signal in (AnswerSignal.OUTAGE, AnswerSignal.FORBIDDEN)))
        if signal is AnswerSignal.FORBIDDEN:
            self._forbidden += 1
        elif good:
            self._forbidden = 0
            self._limit = self._limit + 1 if self._limit + 1 < UNLIMITED_CALLS else math.inf
        if signal is AnswerSignal.TARGET_FOUND:
            self.missing.clear()
        elif good:
            self.missing.pop("", None)
        elif signal is AnswerSignal.TARGET_MISSING and not self._trust_span.contains(now):
            self.missing[target] = min(
                self.missing.get(target, 0) + 1, MAX_COUNTED_PER_DOSSIER if target else MAX_TRUSTED_MISSING + 1
            )

    def _open(self, cause: Cause, now: float, jitter: float) -> None:
        self.opened = open_circuit(cause, now, jitter)

    def _closed(self) -> None:
        self._answers.clear()
        self._forbidden = 0
        self.missing.clear()
        self._limit, self._under_way = HALF_OPEN_CALLS, 0
        self._closings += 1


class TokenCircuit:
    """The circuit of the token endpoint. While the last answer of it was a failure no other call is sent.

    The first failures are a short pause that is not told; `opened` is set once they are an outage, or at once when the
    endpoint says that the client is not accepted.
    """

    def __init__(self) -> None:
        self.opened: OpenCircuit | None = None
        self.next: OpenCircuit | None = None  # when to ask again; None: there is a token
        self._failures = 0  # in a row
        self._denied = 0  # 401 or 403 in a row

    def failed(
        self, now: float, jitter: float, pause: float = 0.0, denied: bool = False, certain: bool = False
    ) -> None:
        """The endpoint gave no token. `pause`: its Retry-After; `denied`: 401 or 403; `certain`: by an OAuth error."""
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
        told = cause is Cause.CREDENTIALS or self.opened is not None or self._failures >= MAX_TOKEN_FAILURES
        self.opened = self.next if told else None

    def issued(self) -> None:
        """There is a token."""
        self.opened, self.next, self._failures, self._denied = None, None, 0, 0


def _within(answers: deque[tuple[float, bool]], now: float) -> list[bool]:
    """Those of the last minute."""
    return [marked for at, marked in answers if now - WINDOW_SECONDS < at <= now]


def open_circuit(cause: Cause, now: float, jitter: float) -> OpenCircuit:
    """A circuit that opens now."""
    return OpenCircuit(cause=cause, since=now, interval=cause.first, probe_at=now + _jittered(cause.first, jitter))


def reschedule_probe(before: OpenCircuit, now: float, jitter: float) -> OpenCircuit:
    """It stays open: the next probe comes after twice the time."""
    interval = min(2.0 * before.interval, before.cause.longest)
    return replace(before, interval=interval, probe_at=now + _jittered(interval, jitter))


@dataclass(frozen=True, slots=True)
class _Span:
    """From a time until another. A clock that goes back before its beginning ends it: nothing lasts for ever."""

    start: float
    end: float

    def contains(self, now: float) -> bool:
        return self.start <= now < self.end


_NEVER = _Span(math.inf, -math.inf)


def _jittered(interval: float, jitter: float) -> float:
    return interval * (0.5 + jitter / 2.0)
