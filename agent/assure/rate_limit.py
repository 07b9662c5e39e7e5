"""The rate limit: a token bucket, and the queue of calls that wait for it."""

import asyncio
import math

from agent.ports import Clock

_AHEAD = 1.0  # seconds: a call may start if its turn comes within this time


class TokenBucket:
    """At most `rate` calls per second (0: any number), with a burst of one second.

    Each call gets its turn in the order of reservation. Waiting calls do not block each other.
    """

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.share(1)
        self._next = -math.inf  # the turn of the next call at an even pace
        self._advanced_at = -math.inf

    def share(self, replicas: int) -> None:
        """Take an equal part of the rate, because so many replicas call."""
        rate = self._rate / replicas
        self._step = 1.0 / rate if rate else 0.0
        self._spare = max(rate, 1.0) * self._step - self._step  # seconds that a burst may be ahead of the even pace

    def reserve(self, now: float) -> float:
        """Reserve a turn. Returns the time at which the call may be sent."""
        if not self._step:
            return now
        self._advance(now)
        turn = max(self._next, now - self._spare)
        self._next = turn + self._step
        return max(now, turn)

    def capacity(self, now: float) -> float:
        """Number of calls whose turn would come within the next second."""
        if not self._step:
            return math.inf
        self._advance(now)
        return max(0.0, math.floor((now + _AHEAD - max(self._next, now - self._spare)) / self._step) + 1.0)

    def opens_at(self, now: float) -> float:
        """The time at which `capacity` is above 0."""
        self._advance(now)
        return max(now, self._next - _AHEAD) if self._step else now

    def _advance(self, now: float) -> None:
        if now < self._advanced_at:  # the clock went back: move the reserved turns back as well
            self._next -= self._advanced_at - now
        self._advanced_at = now


class RateLimiter:
    """The token bucket for all HTTP requests to Assure: calls and token requests wait for their turn."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.bucket = TokenBucket(rate)
        self.waiting = 0
        self._clock = clock
        self._never = asyncio.Event()

    async def acquire(self) -> None:
        """Wait for a turn."""
        now = self._clock.now()
        turn = self.bucket.reserve(now)
        if turn > now:
            await self.wait_until(turn, now)

    async def wait_until(self, turn: float, now: float) -> None:
        """Wait for a reserved turn."""
        self.waiting += 1
        try:
            await self._clock.wait(self._never, turn - now)
        finally:
            self.waiting -= 1
