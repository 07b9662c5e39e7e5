"""Time, as the loops need it."""

import asyncio
from typing import Protocol


class Clock(Protocol):
    """Time. Tests use one that jumps."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch, UTC."""

    @property
    def confirmed(self) -> bool:
        """False while the time may be wrong: nothing is done because of it that cannot be undone."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""
