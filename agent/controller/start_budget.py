"""The start budget: a daily limit of billable starts, counted in the store.

A start is taken before the dossier is created.
"""

import asyncio

from agent.ports import Clock, Starts

DAY = 86400.0


class StartBudget:
    """At most `limit` starts in a UTC day; 0 means no limit.

    The store counts reservations before a restart, and starts of the day from before the limit was set. A reservation
    that was taken but not committed counts until the end of the day or of the process, so the limit is never exceeded.
    Replicas share one count in the store.
    """

    def __init__(self, limit: int, store: Starts, clock: Clock) -> None:
        self._limit = limit
        self._store = store
        self._clock = clock
        self._day = -1.0
        self._reserved = 0
        self._one_at_a_time = asyncio.Lock()

    async def take(self, uid: str, generation: int) -> float | None:
        """Take one start. Callers are served in the order of their calls.

        Returns None on success, otherwise the time when the next day's budget begins.
        """
        async with self._one_at_a_time:
            await self._count()
            if self._limit and self._store.shared:
                taken, self._reserved = await self._store.take_start(uid, generation, self._day, self._limit)
                return None if taken else self._day + DAY
            if self._limit and self._reserved >= self._limit:
                return self._day + DAY
            self._reserved += 1
            return None

    def counted(self, taken: int | None) -> None:
        """Another replica may have taken starts: so many are taken today. None: nothing was counted today."""
        if taken is not None and self._today() == self._day:
            self._reserved = max(self._reserved, taken)

    @property
    def left(self) -> int | None:
        """The number of starts left today; None without a limit. On a day without a count, all of them are."""
        if not self._limit:
            return None
        return max(0, self._limit - self._reserved) if self._today() == self._day else self._limit

    async def count(self) -> None:
        """Count the starts of today, once a day."""
        async with self._one_at_a_time:
            await self._count()

    async def _count(self) -> None:
        day = self._today()
        if day != self._day:
            self._reserved, self._day = await self._store.starts_since(day), day

    def _today(self) -> float:
        now = self._clock.now()
        return now - now % DAY
