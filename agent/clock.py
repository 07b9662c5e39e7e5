"""The real clock."""

import asyncio
import time


class SystemClock:
    """Wall-clock time. Records outlive the process and the machine, so a monotonic clock would not do."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        return time.time()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return
