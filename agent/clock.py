"""The real clock, and how a time is written."""

import asyncio
import time
from datetime import UTC, datetime


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


def written(at: float) -> str:
    """A time as `YYYY-MM-DDThh:mm:ss.sssZ`, rounded as SQLite rounds, so that views and commands say the same."""
    return datetime.fromtimestamp(round(at, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
