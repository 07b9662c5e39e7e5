"""The agent's clock: wall-clock time that is carried on by boot time and confirmed by the `Date` of Assure's answers.

The rule: one reading of the host's clock decides nothing that cannot be undone.

- While the agent runs, time passes as boot time does (CLOCK_BOOTTIME, which counts suspend and cannot be set). The wall
  clock is followed while it differs by at most DRIFT, from ours and from Assure's last answer, and slowly: at twice or
  half the speed.
- A wall clock that differs by more is not followed. Assure decides which of the two is right. Several answers are
  needed for a correction, APART seconds from the first to the last; after a confirmation it takes WARY seconds. An
  Assure that contradicts boot time and the wall clock together is ignored.
- At a start there is no boot time to go by, unless the machine still runs since the last confirmation (`Anchor`).
  So the time is unconfirmed until Assure agrees with it, or corrects it.
- While time is unconfirmed, whoever holds this clock does nothing that cannot be undone: see `confirmed`. Where Assure
  says nothing, a wall clock that went on evenly for ALONE seconds is believed.

Times of events are what this clock said. A correction back makes later events carry earlier times; their order is that
of their numbers, and the chain of hashes does not depend on times.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

DRIFT: Final = 60.0  # seconds: two clocks that differ by no more agree
MIN_READING_SPAN: Final = 1.0  # seconds between the answers that correct a time that was never confirmed ...
CONFIRMED_READING_SPAN: Final = 10.0  # ... or one that was
STEADY_SECONDS: Final = 86400.0  # seconds until a steady wall clock is believed without a witness
_SPREAD = 5.0  # seconds: answers about the same time differ by no more, beside their round trips
_LONGEST_TRIP = 30.0  # seconds: an answer that took longer says nothing of the time


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A confirmed time, for the next start on the same boot: epoch seconds minus boot time."""

    boot: str
    offset: float

    def __str__(self) -> str:
        return f"{self.boot} {self.offset!r}"

    @classmethod
    def read(cls, text: str | None) -> "Anchor | None":
        """From what `str` gave; None when it is anything else."""
        boot, _, offset = (text or "").rpartition(" ")
        try:
            return cls(boot=boot, offset=float(offset)) if boot else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """The clock was wrong: it goes on from `at`, moved by `by` seconds. Times since `since` were wrong too."""

    at: float
    by: float
    since: float


@dataclass(frozen=True, slots=True)
class _Reading:
    """What an answer of Assure said: its time at this boot time."""

    elapsed: float
    offset: float  # Assure's time minus boot time
    trip: float


class SystemClock:
    """Implements `agent.ports.Clock`. `wall` is the host's clock, `elapsed` boot time, `boot` names the boot."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        elapsed: Callable[[], float] | None = None,
        boot: str | None = None,
    ) -> None:
        self._wall = wall
        self._elapsed = elapsed = elapsed or _boot_time()
        self._boot = _boot_id() if boot is None else boot
        self._lock = threading.Lock()  # the source loop asks from a thread of its own
        self._read_at = elapsed()
        self._now = wall()
        self._wall_offset, self._steady_since = self._now - self._read_at, self._read_at
        self._confirmed = False
        self._confirmed_at: float | None = None  # our time at the last answer that agreed
        self._started_at = self._now
        self._first: _Reading | None = None  # the first answer of those that contradict
        self._last: _Reading | None = None
        self._pending: float | None = None  # seconds: a correction that is not made yet
        self.held = False  # stored times are still wrong: an earlier run ended in the middle of a correction

    # -- the port

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        with self._lock:
            return self._advance()

    @property
    def confirmed(self) -> bool:
        """False while nothing may be done because of the time that cannot be undone."""
        return self._confirmed and not self.held

    @property
    def agreed(self) -> bool:
        """True when the time itself is right, whatever the stored times are."""
        return self._confirmed

    @property
    def pending(self) -> bool:
        """True when a correction waits to be made."""
        return self._pending is not None

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    # -- at a start

    def resume(self, last_event: float, anchor: Anchor | None = None) -> None:
        """Go on from an earlier run. An anchor of this boot tells the time; otherwise it is not before the last event.

        A last event in the future leaves the time unconfirmed: either the wall clock is behind, or it was ahead then.
        """
        with self._lock:
            self._advance()
            wall = self._now
            carried = self._read_at + anchor.offset if anchor is not None and anchor.boot == self._boot else None
            if carried is not None and carried >= last_event - DRIFT:
                self._now = carried
                if abs(carried - wall) <= DRIFT:
                    self._confirmed, self._confirmed_at = True, carried
            self._now = self._started_at = max(self._now, last_event)

    def anchor(self) -> Anchor | None:
        """What to give to `resume` at the next start; None where the boot has no name."""
        with self._lock:
            self._advance()
            return Anchor(boot=self._boot, offset=self._now - self._read_at) if self._boot else None

    # -- the witness

    def record_date(self, date: float | None, trip: float = 0.0) -> None:
        """Assure answered after `trip` seconds. `date` is the `Date` of its answer in epoch seconds, or None."""
        with self._lock:
            self._advance()
            if date is None:
                if self._last is None:  # there is no witness at all: the wall clock has to do
                    self._confirmed = True
                return
            if trip > _LONGEST_TRIP:
                return
            seen = _Reading(self._read_at, date + 0.5 + trip / 2 - self._read_at, trip)  # `Date` has whole seconds
            self._last = seen
            if abs(self._error(seen)) <= DRIFT:
                self._record_agreement()
            elif self._pending is None:
                self._record_contradiction(seen)

    def _record_agreement(self) -> None:
        self._first = None
        if self._pending is None:
            self._confirmed, self._confirmed_at = True, self._now

    def _record_contradiction(self, seen: _Reading) -> None:
        """Corrects nothing itself: who holds the clock does that, so that no time is told twice."""
        known = self._confirmed_at is not None
        if known and abs(self._wall() - self._now) <= DRIFT:
            return  # boot time and the wall clock agree: Assure alone does not count
        self._confirmed = False
        first = self._first
        if first is None or abs(first.offset - seen.offset) > _SPREAD + first.trip + seen.trip:
            self._first = seen
        elif seen.elapsed - first.elapsed >= (CONFIRMED_READING_SPAN if known else MIN_READING_SPAN):
            self._pending = self._error(seen)

    def trust_steady_clock(self) -> None:
        """Believe the wall clock when it was steady for long, and no answer told the time meanwhile."""
        with self._lock:
            self._advance()
            since = max(self._steady_since, self._last.elapsed if self._last is not None else -STEADY_SECONDS)
            if self._pending is not None or self._read_at - since < STEADY_SECONDS:
                return
            ahead = self._wall() - self._now
            if abs(ahead) > DRIFT:
                self._confirmed, self._pending = False, ahead
            else:
                self._confirmed = True

    def correct(self) -> Correction | None:
        """Make the correction that is pending. The time is confirmed by `confirm`, once stored times are mended."""
        with self._lock:
            self._advance()
            if self._pending is None:
                return None
            by, since = self._pending, self._confirmed_at if self._confirmed_at is not None else self._started_at
            self._now += by
            return Correction(at=self._now, by=by, since=since)

    def confirm(self) -> None:
        """The correction is complete."""
        with self._lock:
            self._pending, self._first, self.held = None, None, False
            self._confirmed, self._confirmed_at = True, self._advance()

    @property
    def skew(self) -> float | None:
        """How far the host's clock is ahead of Assure's now, in seconds; None when no answer told."""
        last = self._last
        return None if last is None else self._wall() - (self._elapsed() + last.offset)

    # -- time passes

    def _advance(self) -> float:
        elapsed, wall = self._elapsed(), self._wall()
        passed, self._read_at = max(0.0, elapsed - self._read_at), elapsed
        if abs(wall - elapsed - self._wall_offset) > DRIFT:  # it was set
            self._wall_offset, self._steady_since = wall - elapsed, elapsed
        ahead = wall - (self._now + passed)
        witnessed = self._last is None or abs(wall - (elapsed + self._last.offset)) <= DRIFT
        followed = witnessed and abs(ahead) <= DRIFT  # else many small steps would lead far away
        self._now += passed + (max(-passed / 2, min(ahead, passed)) if followed else 0.0)
        return self._now

    def _error(self, seen: _Reading) -> float:
        """How far Assure's time is ahead of ours."""
        return self._read_at + seen.offset - self._now


def _boot_time() -> Callable[[], float]:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


def _boot_id() -> str:
    """What names this boot and the time namespace, whose boot time may have an offset; empty where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        offsets = Path("/proc/self/timens_offsets")
        return "/".join([boot, *(offsets.read_text("ascii").split() if offsets.exists() else ())])
    except (OSError, UnicodeDecodeError):
        return ""
