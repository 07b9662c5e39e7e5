"""Periodic activities on APScheduler: memory only, because the truth about requests is in `due_at` (design §8)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

Activity = Callable[[], Awaitable[None]]
_LOOK = 5.0  # seconds between two looks whether the wall clock was set back


class Scheduler:
    """Runs activities at intervals; never two of the same at once, never one for each that was missed.

    APScheduler goes by the wall clock. When that is set back, an activity would rest for as long as it was set back;
    so a time that is further away than its interval is drawn in.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._look: asyncio.TimerHandle | None = None

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
        self._draw_in()

    def stop(self) -> None:
        """Begin nothing new."""
        if self._look is not None:
            self._look.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _draw_in(self) -> None:
        now = datetime.now(UTC)
        for activity in self._scheduler.get_jobs():
            latest = now + activity.trigger.interval
            if activity.next_run_time > latest:
                activity.modify(next_run_time=latest)
        self._look = asyncio.get_running_loop().call_later(_LOOK, self._draw_in)
