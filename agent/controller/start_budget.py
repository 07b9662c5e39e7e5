"""The brake on money: how many starts a day, counted in the store, taken one by one before anything is created."""

from agent.ports import Clock, Starts

DAY = 86400.0


class StartBudget:
    """At most `limit` starts in a day of UTC; 0 is no brake.

    What was reserved before a restart is counted in the store, and so is every start of the day that was made or begun
    before the brake was set. A reservation that was taken here and not committed
    is counted until the end of the day or of the process: never one too many.
    """

    def __init__(self, limit: int, store: Starts, clock: Clock) -> None:
        self._limit = limit
        self._store = store
        self._clock = clock
        self._day = -1.0
        self._reserved = 0

    def take(self) -> float | None:
        """Take one; None when there was one, otherwise when the next day's budget begins."""
        self._count()
        if self._limit and self._reserved >= self._limit:
            return self._day + DAY
        self._reserved += 1
        return None

    @property
    def left(self) -> int | None:
        """How many are left today; None without a brake."""
        if not self._limit:
            return None
        self._count()
        return max(0, self._limit - self._reserved)

    def _count(self) -> None:
        now = self._clock.now()
        day = now - now % DAY
        if day != self._day:
            self._day, self._reserved = day, self._store.starts_since(day)
