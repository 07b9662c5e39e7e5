"""The brakes, as small state machines with time as a value: a token bucket, a circuit breaker. Neither sends anything.

The theory. A call that goes wrong is the business of its request, which comes back with backoff. When calls go wrong
whoever makes them, it is the business of all:

- outage: RUN answers in a row that look like one. The circuit opens; a neutral read at growing intervals finds out when
  Assure is back. A request that fails alone stops nobody for long, because a neutral read succeeds.
- missing: more than MISSING unexpected 404s without one success between them, of one dossier at most TWICE; those where
  no dossier was asked for count as well, until Assure answers anything as it should. That is a
  wrong account, not so many lost dossiers: the 404 that opened the circuit is not believed, and until a dossier of ours
  is seen again nothing is sent at all, least of all a creation or a deletion (design §5).
- a pause that Assure asked for (Retry-After) is kept by all.

After each of them calls begin gently: two at once, four times as many a second later, and so on for some seconds.
Answers to what was sent before the circuit opened change nothing any more: only the probe closes it.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from agent.core.classify import LONGEST_PAUSE

RUN: Final = 10  # answers in a row
MISSING: Final = 5  # unexpected 404s that are still believed
TWICE: Final = 2  # of these count for one dossier: one that is gone is asked for again and again until it is lost
BELIEVED: Final = 3600.0  # seconds that a person's word holds: they are gone indeed
_RAMP = 6.0  # seconds until any number of calls may begin
_TICK = 0.001  # seconds: over the rounding of a logarithm
_AHEAD = 1.0  # seconds: calls are begun for whose turn comes so soon


class Seen(StrEnum):
    """What an answer says beyond its own request."""

    WELL = "well"  # Assure answered as it should: a success, or a refusal in its own words
    TARGET = "target"  # the same, and something of ours was there
    MISSING = "missing"  # a 404 for something of ours that should be there, or for a path that should be
    OUTAGE = "outage"  # no answer, server trouble, not now
    NOTHING = "nothing"  # of no meaning


class Cause(StrEnum):
    """Why the circuit is open."""

    OUTAGE = "outage"  # Assure does not answer
    MISSING = "missing"  # nothing of ours is there: most likely another account

    @property
    def first(self) -> float:
        """Seconds until the first probe; each later one comes after twice the time."""
        return 1.0 if self is Cause.OUTAGE else 10.0

    @property
    def longest(self) -> float:
        """The longest time between two probes, in seconds."""
        return 60.0 if self is Cause.OUTAGE else 300.0


class Bucket:
    """At most `rate` calls a second (0: any number), after a burst of one second's worth.

    Each call is given its turn when it asks, in order: whoever waits, waits for its own time and for nobody.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1.0 / rate if rate else 0.0
        self._spare = max(rate, 1.0) * self._step - self._step  # how far the even pace may be run ahead of
        self._next = -math.inf  # the turn of the next call at an even pace
        self._seen = -math.inf

    def turn(self, now: float) -> float:
        """When the call that asks now may be sent: now, or later."""
        self._look(now)
        turn = max(self._next, now - self._spare)
        self._next = turn + self._step
        return max(now, turn)

    def room(self, now: float) -> float:
        """How many more calls may be begun now, so that their turn comes within the next second."""
        if not self._step:
            return math.inf
        self._look(now)
        return max(0.0, math.floor((now + _AHEAD - max(self._next, now - self._spare)) / self._step) + 1.0)

    def opens_at(self, now: float) -> float:
        """When there is room."""
        self._look(now)
        return max(now, self._next - _AHEAD) if self._step else now

    def _look(self, now: float) -> None:
        if now < self._seen:  # the clock went back, and so does all that was promised by it
            self._next -= self._seen - now
        self._seen = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An open circuit. `since` and `probe_at` in seconds since the epoch; `interval` leads to the next probe."""

    cause: Cause
    since: float
    interval: float
    probe_at: float


class Breaker:
    """Closed, paused until a time, or open until a probe succeeds. `chance` in [0, 1) is the jitter of a probe."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self._run = 0  # outage answers in a row
        self.missing: dict[str, int] = {}  # dossier ("": none) -> unexpected 404s since the last success
        self._believed = _NEVER  # while a person says that what is missing is gone
        self._paused = _NEVER
        self._ramp = _NEVER
        self._begun = 0  # calls since the ramp began

    # -- may a call begin?

    def shut(self, now: float) -> bool:
        """True while nothing may be sent but a probe."""
        return self.opened is not None or self._paused.holds(now)

    def room(self, now: float) -> float:
        """How many more calls may begin now."""
        if self.shut(now):
            return 0.0
        if not self._ramp.holds(now):
            return math.inf
        return max(0.0, math.floor(math.exp2(1.0 + 2.0 * (now - self._ramp.begun))) - self._begun)

    def opens_at(self, now: float) -> float:
        """When another call may begin: now, later, or, while only a probe can tell, never."""
        if self.opened is not None:
            return math.inf
        if self._paused.holds(now):
            return self._paused.until
        if self.room(now):
            return now
        return max(now, self._ramp.begun + (math.log2(self._begun + 1) - 1.0) / 2.0 + _TICK)

    def begin(self) -> None:
        """A call is let through."""
        self._begun += 1

    # -- what came of it

    def pause(self, seconds: float, now: float) -> None:
        """Assure said: not before. Absurd demands are cut to LONGEST_PAUSE."""
        until = now + min(max(seconds, 0.0), LONGEST_PAUSE)
        if until > now and not (self._paused.holds(now) and self._paused.until >= until):
            self._paused = _Span(now, until)
            self._gently(until)

    def saw(self, seen: Seen, now: float, chance: float = 0.5, target: str = "") -> None:
        """A call that was let through is answered; `target` is the dossier it was about, if it was."""
        if self.opened is not None or seen is Seen.NOTHING:
            return
        self._run = self._run + 1 if seen is Seen.OUTAGE else 0
        if seen is Seen.TARGET:
            self.missing.clear()
        elif seen is Seen.WELL:
            self.missing.pop("", None)
        elif seen is Seen.MISSING and not self._believed.holds(now):
            self.missing[target] = min(self.missing.get(target, 0) + 1, TWICE if target else MISSING + 1)
        if sum(self.missing.values()) > MISSING:
            self._open(Cause.MISSING, now, chance)
        elif self._run >= RUN:
            self._open(Cause.OUTAGE, now, chance)

    def probed(self, well: bool, now: float, chance: float = 0.5) -> None:
        """The probe is answered: all is well again, or it is not."""
        if self.opened is None:
            return
        if well:
            self._close(now)
            return
        interval = min(2.0 * self.opened.interval, self.opened.cause.longest)
        self.opened = replace(self.opened, interval=interval, probe_at=now + _jittered(interval, chance))

    def believe(self, now: float) -> None:
        """A person says: go on; what is missing is gone indeed. Of no meaning while nothing is said to be missing."""
        if self.opened is not None and self.opened.cause is Cause.MISSING:
            self._believed = _Span(now, now + BELIEVED)
            self._close(now)

    def _open(self, cause: Cause, now: float, chance: float) -> None:
        self.opened = Opened(
            cause=cause, since=now, interval=cause.first, probe_at=now + _jittered(cause.first, chance)
        )

    def _close(self, now: float) -> None:
        self.opened, self._run = None, 0
        self.missing.clear()
        self._gently(now)

    def _gently(self, since: float) -> None:
        self._ramp, self._begun = _Span(since, since + _RAMP), 0


@dataclass(frozen=True, slots=True)
class _Span:
    """From a time until another. A clock that goes back before its beginning ends it: nothing lasts for ever."""

    begun: float
    until: float

    def holds(self, now: float) -> bool:
        return self.begun <= now < self.until


_NEVER = _Span(math.inf, -math.inf)


def _jittered(interval: float, chance: float) -> float:
    return interval * (0.5 + chance / 2.0)
