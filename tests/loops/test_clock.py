"""The clock that is set while the agent runs: it never goes back, and nothing stalls or expires in a moment."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers import base

from agent import scheduler
from agent.clock import SystemClock
from tests.support.clock import until

NOON = 1_800_000_000.0
HOUR = 3600.0


class Hands:
    """A wall clock that can be set, and the time that really passes."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.set_by = 0.0

    def wall(self) -> float:
        return NOON + self.passed + self.set_by

    def elapsed(self) -> float:
        return self.passed


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def clock(hands: Hands) -> SystemClock:
    return SystemClock(hands.wall, hands.elapsed)


def test_it_is_the_wall_clock_while_nobody_sets_it(hands: Hands, clock: SystemClock) -> None:
    for _ in range(100):
        hands.passed += 0.37
        hands.set_by += 0.001  # as NTP does
        assert clock.now() == pytest.approx(hands.wall(), abs=0.01)


def test_an_hour_forward_is_caught_up_with_slowly_and_a_mistake_costs_little(hands: Hands, clock: SystemClock) -> None:
    """[I1] A deadline in half an hour does not pass at once."""
    hands.set_by = HOUR
    assert clock.now() == NOON
    hands.passed = 60.0
    assert clock.now() == NOON + 120.0
    hands.set_by = 0.0
    hands.passed = 180.0
    assert clock.now() == NOON + 180.0
    hands.set_by = HOUR
    hands.passed = 180.0 + HOUR
    assert clock.now() == hands.wall()


def test_an_hour_back_never_goes_back_and_never_stands_still(hands: Hands, clock: SystemClock) -> None:
    """[I1] [I5] What was due in a second is due in two, not in an hour."""
    hands.passed = 10.0
    before = clock.now()
    hands.set_by = -HOUR
    times = []
    for _ in range(8):
        hands.passed += HOUR / 4
        times.append(clock.now())
    assert times == sorted(times)
    assert times[0] == before + HOUR / 8
    assert times[-1] == hands.wall()


def test_a_clock_that_had_never_been_set_is_followed_at_once(hands: Hands, clock: SystemClock) -> None:
    hands.set_by = 365 * 24 * HOUR
    assert clock.now() == hands.wall()


def test_it_goes_on_from_where_an_earlier_run_was(hands: Hands, clock: SystemClock) -> None:
    """The clock was set back while no agent ran: what is due in the store must not wait for an hour."""
    assert clock.resume(NOON + HOUR)
    assert clock.now() == NOON + HOUR
    assert clock.resume(NOON - HOUR)
    assert clock.now() == NOON + HOUR
    assert not clock.resume(NOON + 48 * HOUR)
    assert clock.now() == NOON + HOUR


async def test_a_clock_that_is_set_back_stalls_no_periodic_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    """[I1] APScheduler would wait for an hour: for the next scan, too."""
    shift = timedelta()

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + shift

    monkeypatch.setattr(base, "datetime", Shifted)
    monkeypatch.setattr(scheduler, "datetime", Shifted)
    monkeypatch.setattr(scheduler, "_LOOK", 0.05)
    runs = 0

    async def activity() -> None:
        nonlocal runs
        runs += 1

    periodic = scheduler.Scheduler(lambda error: None)
    periodic.every(0.05, activity)
    periodic.start()
    try:
        await until(lambda: runs >= 2)
        shift = timedelta(hours=-1)
        seen = runs
        await asyncio.sleep(0)
        await until(lambda: runs >= seen + 3)
    finally:
        periodic.stop()
