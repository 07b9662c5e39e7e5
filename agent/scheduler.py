"""Periodic activities on APScheduler: memory only, because the truth about requests is in `due_at` (design §8)."""

from collections.abc import Awaitable, Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler

Activity = Callable[[], Awaitable[None]]


class Scheduler:
    """Runs activities at intervals; never two of the same at once, never one for each that was missed."""

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._scheduler = AsyncIOScheduler(timezone="UTC")

    def every(self, seconds: float, activity: Activity) -> None:
        """Run it every so many seconds, the first time after one interval. What it raises goes to `failed`."""

        async def guarded() -> None:
            try:
                await activity()
            except Exception as error:
                self._failed(error)

        self._scheduler.add_job(
            guarded, "interval", seconds=seconds, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    def start(self) -> None:
        """Begin, in the running loop."""
        self._scheduler.start()

    def stop(self) -> None:
        """Begin nothing new."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
