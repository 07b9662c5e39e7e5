"""The rate limit: a token bucket, and the queue of calls that wait for it."""

import asyncio
import math

from agent.ports import Clock

_AHEAD = 1.0  # seconds: a call may be started whose turn comes so soon


class TokenBucket:
    """At most `rate` calls a second (0: any number), after a burst of one second's worth.

    Each call reserves its own time when it asks, in order. No call waits for another one.
    """

    def __init__(self, rate: float) -> None:
        self._step = 1.0 / rate if rate else 0.0
        self._spare = max(rate, 1.0) * self._step - self._step  # how far the even pace may be run ahead of
        self._next = -math.inf  # the turn of the next call at an even pace
        self._advanced_at = -math.inf

    def reserve(self, now: float) -> float:
        """When the call that asks now may be sent: now, or later."""
        self._advance(now)
        turn = max(self._next, now - self._spare)
        self._next = turn + self._step
        return max(now, turn)

    def capacity(self, now: float) -> float:
        """How many more calls may be begun now, so that their turn comes within the next second."""
        if not self._step:
            return math.inf
        self._advance(now)
        return max(0.0, math.floor((now + _AHEAD - max(self._next, now - self._spare)) / self._step) + 1.0)

    def opens_at(self, now: float) -> float:
        """When there is room."""
        self._advance(now)
        return max(now, self._next - _AHEAD) if self._step else now

    def _advance(self, now: float) -> None:
        if now < self._advanced_at:  # the clock went back, and so does all that was promised by it
            self._next -= self._advanced_at - now
        self._advanced_at = now


class RateLimiter:
    """The queue before the token bucket: each call, and each request for a token, waits for its own time."""

    def __init__(self, rate: float, clock: Clock) -> None:
        self.bucket = TokenBucket(rate)
        self.waiting = 0
        self._clock = clock
        self._never = asyncio.Event()

    async def acquire(self, now: float | None = None) -> bool:
        """Return when it is our turn: True when it took time. `now` is the time, where the caller knows it."""
        now = self._clock.now() if now is None else now
        turn = self.bucket.reserve(now)
        if turn <= now:
            return False
        self.waiting += 1
        try:
            await self._clock.wait(self._never, turn - now)
        finally:
            self.waiting -= 1
        return True
