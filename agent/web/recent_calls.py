"""The answers of Assure in the last 30 minutes, per minute, for the status page. Prometheus has the exact numbers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.core.answer import Operation
from agent.ports import Clock

HISTORY_MINUTES = 30
RESULTS = ("done", "refused", "busy", "unknown")


@dataclass(slots=True)
class MinuteBucket:
    """The answers of one minute, by result."""

    at: float  # its start
    results: Counter[str] = field(default_factory=Counter)


class RecentCalls:
    """Counts the calls of the last 30 minutes in memory. Only the event loop calls it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[float, MinuteBucket] = {}
        self.last_done: float | None = None
        self.last_trouble: tuple[float, str, str] | None = None  # time, operation, result

    def record_call(self, operation: Operation, result: str, _: float) -> None:
        """A call to Assure ended."""
        now = self._clock.now()
        begun = now - now % 60
        if begun not in self._minutes:
            self._minutes = {at: minute for at, minute in self._minutes.items() if at > begun - HISTORY_MINUTES * 60}
            self._minutes[begun] = MinuteBucket(begun)
        self._minutes[begun].results[result] += 1
        if result == "done":
            self.last_done = now
        elif result in ("busy", "unknown"):
            self.last_trouble = now, operation.value, result

    def minutes(self) -> Sequence[MinuteBucket]:
        """The last 30 minutes, oldest first. Minutes without a call are empty."""
        now = self._clock.now()
        begun = now - now % 60
        return [
            self._minutes.get(begun - back * 60) or MinuteBucket(begun - back * 60)
            for back in reversed(range(HISTORY_MINUTES))
        ]
