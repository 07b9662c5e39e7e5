"""The state of the running agent for the status page: readiness, pause, budget, circuit, answers of Assure, source."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.core.policy import Policy
from agent.core.source_revision import RevisionState
from agent.ports import Clock
from agent.web.recent_calls import MinuteBucket, RecentCalls


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusSnapshot:
    """The state at one time. It holds values only, because another thread renders the page."""

    now: float
    policy: Policy
    ready: str | None  # the reason why it is not ready, or None
    paused: bool
    budget: tuple[int, int] | None  # starts left today and the limit; None without a limit
    circuit: str | None  # the cause, or None if it is closed
    troubles: tuple[tuple[str, float, str], ...] = ()  # endpoints: the name, since when, the cause in a sentence
    minutes: Sequence[MinuteBucket]  # the answers of Assure, oldest first
    last_done: float | None
    last_trouble: tuple[float, str, str] | None  # when, the call, the result
    revision: RevisionState | None = None  # of a git source
    web_page: str = ""  # SOURCE_WEB_URL
    epoch: str = ""  # of the life of the replica that serves the page; empty with a state file


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStatus:
    """The sources of a snapshot. Only the event loop calls them."""

    source: str  # its configured name
    policy: Policy
    clock: Clock
    recent_calls: RecentCalls
    ready: Callable[[], Awaitable[str | None]]
    paused: Callable[[], bool]
    budget: Callable[[], tuple[int, int] | None]
    circuit: Callable[[], str | None]
    revision: Callable[[], Awaitable[RevisionState | None]]  # of a git source
    troubles: Callable[[], tuple[tuple[str, float, str], ...]] = tuple
    web_page: str = ""  # SOURCE_WEB_URL
    epoch: str = ""  # of this life on a database

    async def snapshot(self) -> StatusSnapshot:
        """The current state."""
        return StatusSnapshot(
            now=self.clock.now(),
            policy=self.policy,
            ready=await self.ready(),
            paused=self.paused(),
            budget=self.budget(),
            circuit=self.circuit(),
            troubles=self.troubles(),
            minutes=self.recent_calls.minutes(),
            last_done=self.recent_calls.last_done,
            last_trouble=self.recent_calls.last_trouble,
            revision=await self.revision(),
            web_page=self.web_page,
            epoch=self.epoch,
        )
