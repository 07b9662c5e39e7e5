"""The port to time."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


class Clock(Protocol):
    """Time. Tests use a virtual clock."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch, UTC."""

    @property
    def confirmed(self) -> bool:
        """False while the time may be wrong. Until then the agent does nothing irreversible because of the time."""

    async def wait(self, event: "asyncio.Event", seconds: float | None) -> None:
        """Return when the event is set, or after this many seconds. None: no limit."""
