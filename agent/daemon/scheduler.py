"""Periodic activities on APScheduler, in memory only: `due_at` of each request is in the store (design §8)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from apscheduler.schedulers.asyncio import AsyncIOScheduler

Activity = Callable[[], Awaitable[None]]
_CHECK_SECONDS = 5.0  # seconds between two checks that the wall clock was not set back


class Scheduler:
    """Runs activities at intervals: never the same one twice at a time, and missed runs only once.

    APScheduler uses the wall clock. If the clock is set back, the next run would be late by that time. Therefore the
    scheduler moves a next run that is further away than its interval.
    """

    def __init__(self, on_error: Callable[[Exception], None]) -> None:
        self._on_error = on_error
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._next_check: asyncio.TimerHandle | None = None

    def every(self, seconds: float, activity: Activity) -> None:
        """Run an activity every `seconds`, first after one interval. Its exceptions go to `on_error`."""

        async def guarded() -> None:
            try:
                await activity()
            except Exception as error:
                self._on_error(error)

        self._scheduler.add_job(
            guarded, "interval", seconds=seconds, max_instances=1, coalesce=True, misfire_grace_time=None
        )

    def start(self) -> None:
        """Start in the running event loop."""
        self._scheduler.start()
        self._limit_next_runs()

    def stop(self) -> None:
        """Start no further run."""
        if self._next_check is not None:
            self._next_check.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def _limit_next_runs(self) -> None:
        now = datetime.now(UTC)
        for activity in self._scheduler.get_jobs():
            latest = now + activity.trigger.interval
            if activity.next_run_time > latest:
                activity.modify(next_run_time=latest)
        self._next_check = asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._limit_next_runs)
