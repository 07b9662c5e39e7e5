"""The real clock: the time of day, taken in small steps; and how a time is written."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

_DAY = 86400.0


def _elapsed() -> Callable[[], float]:
    """Seconds since some moment, also while the machine sleeps; nobody can set them."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


class SystemClock:
    """The wall clock, but it never goes back and never jumps by less than a day.

    Records outlive the process and the machine, so it has to be the time of day; and that can be set. When the wall
    clock is set forward, this one goes after it at twice the speed, so that a mistake that is mended soon expires
    nothing. When it is set back, this one goes at half the speed until it is caught up with: what was due stays due,
    and the history stays in order. More than a day forward was a clock that had never been set: it is followed at once.
    """

    def __init__(self, wall: Callable[[], float] = time.time, elapsed: Callable[[], float] | None = None) -> None:
        self._wall = wall
        self._elapsed = elapsed = elapsed or _elapsed()
        self._turn = threading.Lock()  # the source loop asks from a thread of its own
        self._at = wall()
        self._read = elapsed()

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        with self._turn:
            elapsed = self._elapsed()
            passed, self._read = max(0.0, elapsed - self._read), elapsed
            ahead = self._wall() - (self._at + passed)  # of the wall clock
            if ahead > _DAY:
                self._at += passed + ahead
            else:
                self._at += passed + max(-passed / 2, min(ahead, passed))
            return self._at

    def resume(self, at: float) -> bool:
        """Go on from this moment of an earlier run, if it is ahead; False when it is more than a day ahead."""
        with self._turn:
            if at - self._at > _DAY:
                return False
            self._at = max(self._at, at)
            return True

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def written(at: float) -> str:
    """A time as `YYYY-MM-DDThh:mm:ss.sssZ`, rounded as SQLite rounds, so that views and commands say the same."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
