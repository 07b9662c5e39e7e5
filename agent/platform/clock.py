"""The agent's clock: wall-clock time that advances with boot time and is confirmed by the `Date` of Assure's answers.

A single reading of the host's clock never causes an irreversible action.

- While the agent runs, its time advances with boot time (CLOCK_BOOTTIME, which includes suspend and cannot be set).
- The agent's time approaches the wall clock, at twice or half the speed, while both differ by at most DRIFT. The wall
  clock must also agree with Assure's last answer.
- The agent does not follow a wall clock that differs by more. Assure decides which of the two is right.
- A correction needs several answers of Assure, over MIN_READING_SPAN seconds. After a confirmation it needs
  CONFIRMED_READING_SPAN seconds.
- An Assure that contradicts both boot time and the wall clock is ignored.
- At a start, the agent has no boot time to continue, unless the machine still runs since the last confirmation
  (`Anchor`). The time is unconfirmed until Assure agrees with it or corrects it.
- While the time is unconfirmed, the agent does nothing irreversible: see `confirmed`. Without answers of Assure, the
  agent trusts a wall clock that was steady for STEADY_SECONDS.

Events have the times of this clock. After a correction backwards, later events may have earlier times. Their order is
the order of their numbers, and the chain of hashes does not depend on times.
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

DRIFT: Final = 60.0  # seconds: the difference up to which two clocks agree
MIN_READING_SPAN: Final = 1.0  # seconds between the answers that correct an unconfirmed time
CONFIRMED_READING_SPAN: Final = 10.0  # seconds between the answers that correct a confirmed time
STEADY_SECONDS: Final = 86400.0  # seconds until a steady wall clock is trusted without Assure
_SPREAD = 5.0  # seconds by which consistent answers may differ, in addition to their round trips
_ROUNDING = 1.0  # seconds: two answers at one time differ by up to so much, because `Date` has whole seconds
_LONGEST_TRIP = 30.0  # seconds: the `Date` of a slower answer is ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A confirmed time, for the next start on the same boot: epoch seconds minus boot time."""

    boot: str
    offset: float

    def __str__(self) -> str:
        return f"{self.boot} {self.offset!r}"

    @classmethod
    def read(cls, text: str | None) -> "Anchor | None":
        """Parse the result of `str`. None for any other text."""
        boot, _, offset = (text or "").rpartition(" ")
        try:
            return cls(boot=boot, offset=float(offset)) if boot else None
        except ValueError:
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A correction of the clock by `by` seconds to `at`. Times since `since` were wrong as well."""

    at: float
    by: float
    since: float


@dataclass(slots=True)
class _Reading:
    """Assure's time in one answer, at this boot time."""

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
        self._elapsed = elapsed = elapsed or boot_clock()
        self._boot = boot_id() if boot is None else boot
        self._lock = threading.Lock()  # the source loop reads the clock in another thread
        self._read_at = elapsed()
        self._now = wall()
        self._wall_offset, self._steady_since = self._now - self._read_at, self._read_at
        self._confirmed = False
        self._confirmed_at: float | None = None  # the agent's time at the last answer that agreed
        self._started_at = self._now
        self._first: _Reading | None = None  # the first of the answers that contradict
        self._last: _Reading | None = None
        self._pending: float | None = None  # seconds: a correction that is not applied yet
        self.database = False  # `wall` is the clock of a database: the `Date` of Assure corrects nothing
        self.held = False  # stored times are wrong: an earlier run did not complete a correction

    # -- the port

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        with self._lock:
            return self._advance()

    @property
    def confirmed(self) -> bool:
        """False while the time must not cause an irreversible action."""
        return self._confirmed and not self.held

    @property
    def agreed(self) -> bool:
        """True if the time is right. Stored times may still be wrong."""
        return self._confirmed

    @property
    def pending(self) -> bool:
        """True if a correction is not applied yet."""
        return self._pending is not None

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    # -- at a start

    def follow(self, wall: Callable[[], float]) -> None:
        """Use the clock of a database that several replicas share, instead of the host's. It is confirmed.

        All times in the store come from it, so a difference to it is corrected in one step.
        """
        with self._lock:
            self._wall, self.database, self._confirmed = wall, True, True
            self._read_at, self._now = self._elapsed(), wall()
            self._wall_offset, self._steady_since = self._now - self._read_at, self._read_at
            self._confirmed_at = self._started_at = self._now

    def resume(self, last_event: float, anchor: Anchor | None = None) -> None:
        """Continue from an earlier run. Uses the anchor if it is of this boot; the time is never before the last event.

        With a last event in the future, the time remains unconfirmed: the wall clock is or was wrong.
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
        """The anchor for `resume` at the next start; None if the boot has no id."""
        with self._lock:
            self._advance()
            return Anchor(boot=self._boot, offset=self._now - self._read_at) if self._boot else None

    # -- answers of Assure

    def record_date(self, date: float | None, trip: float = 0.0) -> None:
        """Record an answer that took `trip` seconds. `date` is its `Date` in epoch seconds, or None."""
        with self._lock:
            self._advance()
            if date is None:
                if self._last is None:  # Assure sends no time: use the wall clock
                    self._confirmed = True
                return
            if trip > _LONGEST_TRIP:
                return
            if self.database:
                self._last = _Reading(self._read_at, date + 0.5 + trip / 2 - self._read_at, trip)
                return
            seen = _Reading(self._read_at, date + 0.5 + trip / 2 - self._read_at, trip)  # `Date` has whole seconds
            self._last = seen
            if abs(self._error(seen)) <= DRIFT + _ROUNDING:
                self._record_agreement()
            elif self._pending is None:
                self._record_contradiction(seen)

    def _record_agreement(self) -> None:
        self._first = None
        if self._pending is None:
            self._confirmed, self._confirmed_at = True, self._now

    def _record_contradiction(self, seen: _Reading) -> None:
        """Prepare a correction, which `correct` applies."""
        known = self._confirmed_at is not None
        if known and abs(self._wall() - self._now) <= DRIFT:
            return  # boot time and the wall clock agree, so Assure alone is ignored
        self._confirmed = False
        first = self._first
        if first is None or abs(first.offset - seen.offset) > _SPREAD + first.trip + seen.trip:
            self._first = seen
        elif seen.elapsed - first.elapsed >= (CONFIRMED_READING_SPAN if known else MIN_READING_SPAN):
            self._pending = self._error(seen)

    def trust_steady_clock(self) -> None:
        """Trust the wall clock if it was steady for STEADY_SECONDS without an answer of Assure."""
        if self.database:
            return
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
        """Apply the pending correction. `confirm` follows when stored times are corrected."""
        with self._lock:
            self._advance()
            if self._pending is None:
                return None
            by, since = self._pending, self._confirmed_at if self._confirmed_at is not None else self._started_at
            self._now += by
            return Correction(at=self._now, by=by, since=since)

    def confirm(self) -> None:
        """Confirm the time at the end of a correction."""
        with self._lock:
            self._pending, self._first, self.held = None, None, False
            self._confirmed, self._confirmed_at = True, self._advance()

    @property
    def skew(self) -> float | None:
        """Seconds by which the host's clock is ahead of Assure's; None without an answer."""
        last = self._last
        return None if last is None else self._wall() - (self._elapsed() + last.offset)

    # -- time passes

    def _advance(self) -> float:
        """Read both clocks. A lifecycle has some forty readings, so this compares without calls of abs, min and max."""
        elapsed, wall, last = self._elapsed(), self._wall(), self._last
        passed, self._read_at = elapsed - self._read_at, elapsed
        if passed < 0.0:
            passed = 0.0
        if not -DRIFT <= wall - elapsed - self._wall_offset <= DRIFT:  # the wall clock was set
            self._wall_offset, self._steady_since = wall - elapsed, elapsed
        ahead = wall - (self._now + passed)
        if self.database:
            if not -DRIFT <= ahead <= DRIFT:
                self._now = wall
                return wall
            last = None  # the database is right, also where Assure's clock differs
        # Only a small difference to a witnessed wall clock is followed: otherwise many small steps could add up.
        if -DRIFT <= ahead <= DRIFT and (last is None or -DRIFT <= wall - (elapsed + last.offset) <= DRIFT):
            passed += passed if ahead > passed else ahead if ahead > -passed / 2 else -passed / 2
        self._now += passed
        return self._now

    def _error(self, seen: _Reading) -> float:
        """Seconds by which Assure's time is ahead of the agent's."""
        return self._read_at + seen.offset - self._now


def boot_clock() -> Callable[[], float]:
    """Seconds of boot time, which a suspend does not stop."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


def boot_id() -> str:
    """The id of this boot and its time namespace, which may shift boot time; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        offsets = Path("/proc/self/timens_offsets")
        return "/".join([boot, *(offsets.read_text("ascii").split() if offsets.exists() else ())])
    except (OSError, UnicodeDecodeError):
        return ""
