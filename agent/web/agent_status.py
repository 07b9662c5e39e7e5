"""What only a running agent knows, for the page: readiness, pause, budget, circuit, and how Assure answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.core.policy import Policy
from agent.ports import Clock
from agent.web.recent_calls import Minute, Pulse


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the agent stands now. Values, because a page is drawn on another thread than the loops'."""

    now: float
    policy: Policy
    ready: str | None  # the reason why not
    paused: bool
    budget: tuple[int, int] | None  # starts left today and the limit; None: no brake
    circuit: str | None  # why it is open
    troubles: tuple[tuple[str, float, str], ...] = ()  # endpoints: the name, since when, the cause in a sentence
    minutes: Sequence[Minute]  # the answers of Assure, oldest first
    last_done: float | None
    last_trouble: tuple[float, str, str] | None  # when, the call, the result


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where to ask how the agent stands; only its loop does."""

    source: str  # its configured name
    policy: Policy
    clock: Clock
    pulse: Pulse
    ready: Callable[[], str | None]
    paused: Callable[[], bool]
    budget: Callable[[], tuple[int, int] | None]
    circuit: Callable[[], str | None]
    troubles: Callable[[], tuple[tuple[str, float, str], ...]] = tuple

    def seen(self) -> Seen:
        """As it is now."""
        return Seen(
            now=self.clock.now(),
            policy=self.policy,
            ready=self.ready(),
            paused=self.paused(),
            budget=self.budget(),
            circuit=self.circuit(),
            troubles=self.troubles(),
            minutes=self.pulse.minutes(),
            last_done=self.pulse.last_done,
            last_trouble=self.pulse.last_trouble,
        )
