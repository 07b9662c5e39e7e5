"""How Assure has answered lately, minute by minute: for a person who looks on; Prometheus has the exact figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.core.answer import Operation
from agent.ports import Clock

MINUTES = 30
RESULTS = ("done", "refused", "busy", "unknown")


@dataclass(slots=True)
class Minute:
    """The answers of one minute, by result."""

    at: float  # when it began
    results: Counter[str] = field(default_factory=Counter)


class Pulse:
    """Hears of every call; keeps the last half hour in memory. Only its loop calls it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._minutes: dict[float, Minute] = {}
        self.last_done: float | None = None
        self.last_trouble: tuple[float, str, str] | None = None  # when, the call, the result

    def called(self, operation: Operation, result: str, _: float) -> None:
        """A call to Assure was answered, or not."""
        now = self._clock.now()
        begun = now - now % 60
        if begun not in self._minutes:
            self._minutes = {at: minute for at, minute in self._minutes.items() if at > begun - MINUTES * 60}
            self._minutes[begun] = Minute(begun)
        self._minutes[begun].results[result] += 1
        if result == "done":
            self.last_done = now
        elif result in ("busy", "unknown"):
            self.last_trouble = now, operation.value, result

    def minutes(self) -> Sequence[Minute]:
        """The last half hour, oldest first; minutes without a call are empty."""
        now = self._clock.now()
        begun = now - now % 60
        return [self._minutes.get(begun - back * 60) or Minute(begun - back * 60) for back in reversed(range(MINUTES))]
