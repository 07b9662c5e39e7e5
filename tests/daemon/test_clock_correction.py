"""The host's clock is set: the agent's time advances with boot time, and Assure's `Date` confirms it (issue 14)."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers import base
from hypothesis import example, given
from hypothesis import strategies as st

from agent.daemon import scheduler
from agent.platform.clock import DRIFT, Anchor, SystemClock
from tests.support.clock import until

NOON = 1_800_000_000.0
HOUR = 3600.0


class Hands:
    """A wall clock that can be set, and the elapsed time."""

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
    return SystemClock(hands.wall, hands.elapsed, "boot")


def test_the_clock_is_the_wall_clock_until_it_is_set(hands: Hands, clock: SystemClock) -> None:
    for _ in range(100):
        hands.passed += 0.37
        hands.set_by += 0.001  # as NTP does
        assert clock.now() == pytest.approx(hands.wall(), abs=0.01)


def record_dates(clock: SystemClock, hands: Hands, wrong_by: float = 0.0) -> None:
    """An answer of Assure arrives."""
    clock.record_date(float(int(NOON + hands.passed + wrong_by)), 0.1)


def confirmed(clock: SystemClock, hands: Hands) -> SystemClock:
    record_dates(clock, hands)
    assert clock.confirmed
    return clock


def test_the_clock_approaches_a_wall_clock_that_is_30_seconds_ahead(hands: Hands, clock: SystemClock) -> None:
    hands.set_by = 30.0
    assert clock.now() == NOON
    hands.passed = 10.0
    assert clock.now() == NOON + 20.0
    hands.passed = 60.0
    assert clock.now() == hands.wall()


def test_the_clock_slows_down_for_a_wall_clock_that_is_30_seconds_behind(hands: Hands, clock: SystemClock) -> None:
    """[I1] A request that is due in one second is due in two."""
    hands.passed = 10.0
    before = clock.now()
    hands.set_by = -30.0
    times = []
    for _ in range(8):
        hands.passed += 10.0
        times.append(clock.now())
    assert times == sorted(times)
    assert times[0] == before + 5.0
    assert times[-1] == hands.wall()


@pytest.mark.parametrize("wrong", [HOUR, -HOUR, 365 * 24 * HOUR], ids=["hour ahead", "hour behind", "year ahead"])
def test_a_wall_clock_that_is_set_is_not_followed_without_assure(
    hands: Hands, clock: SystemClock, wrong: float
) -> None:
    confirmed(clock, hands)
    hands.set_by = wrong
    hands.passed = 2 * HOUR
    assert clock.now() == NOON + 2 * HOUR
    assert clock.confirmed  # by boot time
    record_dates(clock, hands)
    assert clock.skew == pytest.approx(wrong, abs=1.0)
    assert not clock.pending


def test_a_suspended_virtual_machine_needs_answers_for_ten_seconds(hands: Hands, clock: SystemClock) -> None:
    """The machine was stopped for a day, which boot time does not include. NTP set the clock, and Assure agrees."""
    confirmed(clock, hands)
    hands.set_by = 24 * HOUR
    for second in range(10):
        hands.passed = float(second)
        record_dates(clock, hands, 24 * HOUR)
        assert not clock.pending
        assert not clock.confirmed
    hands.passed = 10.0
    record_dates(clock, hands, 24 * HOUR)
    correction = clock.correct()
    assert correction is not None
    assert correction.by == pytest.approx(24 * HOUR, abs=1.0)
    assert correction.since == pytest.approx(NOON, abs=1.0)
    assert not clock.confirmed
    clock.confirm()
    assert clock.confirmed
    assert clock.now() == pytest.approx(NOON + 24 * HOUR + 10.0, abs=1.0)


def test_a_host_that_is_wrong_for_two_seconds_causes_no_correction(hands: Hands, clock: SystemClock) -> None:
    """The simulator runs on the same host, so its time does not confirm the host's clock."""
    confirmed(clock, hands)
    hands.set_by = 25 * HOUR
    for hands.passed in (0.5, 1.0, 1.5, 2.0):
        record_dates(clock, hands, 25 * HOUR)
    hands.set_by = 0.0
    hands.passed = 2.5
    record_dates(clock, hands)
    assert clock.confirmed
    assert not clock.pending
    assert clock.now() == NOON + 2.5


def test_an_assure_that_contradicts_both_clocks_is_ignored(hands: Hands, clock: SystemClock) -> None:
    confirmed(clock, hands)
    for hands.passed in range(0, 7200, 5):
        record_dates(clock, hands, 25 * HOUR)
    assert clock.confirmed
    assert not clock.pending
    assert clock.skew == pytest.approx(-25 * HOUR, abs=1.0)


@pytest.mark.parametrize("wrong", [25 * HOUR, -25 * HOUR])
def test_an_unconfirmed_time_is_corrected_by_two_answers_a_second_apart(hands: Hands, wrong: float) -> None:
    hands.set_by = wrong
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    clock.resume(0.0)
    record_dates(clock, hands)
    hands.passed = 0.5
    record_dates(clock, hands)
    assert not clock.pending
    hands.passed = 1.0
    record_dates(clock, hands)
    assert clock.pending
    correction = clock.correct()
    assert correction is not None
    clock.confirm()
    assert clock.now() == pytest.approx(NOON + 1.0, abs=1.5)


def test_answers_that_contradict_each_other_correct_nothing(hands: Hands) -> None:
    hands.set_by = 25 * HOUR
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    for hands.passed in range(0, 100, 2):
        record_dates(clock, hands, hands.passed * HOUR)
        assert not clock.pending


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(-1e6, 1e6)), max_size=30))
@example([(1.5, 0.0), (1.25, 0.0), (1.25, 0.0), (1.25, 0.0), (60.5, 60.0), (0.0, 121.0)])
def test_a_confirmed_time_follows_boot_time_for_any_host_clock(moves: list[tuple[float, float]]) -> None:
    """Assure's answers are right, so the time is right within DRIFT."""
    hands = Hands()
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    confirmed(clock, hands)
    for passed, set_by in moves:
        hands.passed += passed
        hands.set_by = set_by
        record_dates(clock, hands)
        assert clock.confirmed
        assert abs(clock.now() - NOON - hands.passed) <= DRIFT + 2.0 + 1e-6  # the last digits of a float of this size


def test_the_clock_continues_from_the_last_event_and_is_unconfirmed(hands: Hands, clock: SystemClock) -> None:
    clock.resume(NOON + 48 * HOUR)
    assert clock.now() == NOON + 48 * HOUR
    assert not clock.confirmed


def test_a_restart_on_the_same_boot_continues_the_confirmed_time(hands: Hands, clock: SystemClock) -> None:
    anchor = confirmed(clock, hands).anchor()
    assert anchor is not None
    hands.passed, hands.set_by = HOUR, 25 * HOUR
    again = SystemClock(hands.wall, hands.elapsed, "boot")
    again.resume(NOON, Anchor.read(str(anchor)))
    assert again.now() == NOON + HOUR
    assert not again.confirmed  # the host's clock disagrees
    record_dates(again, hands)
    assert again.confirmed
    other = SystemClock(hands.wall, hands.elapsed, "another boot")
    other.resume(NOON, anchor)
    assert other.now() == hands.wall()


@pytest.mark.parametrize("text", [None, "", "boot", "boot x", " 1"])
def test_an_invalid_anchor_is_ignored(text: str | None) -> None:
    assert Anchor.read(text) is None


def test_without_assure_a_steady_clock_is_trusted_after_a_day(hands: Hands) -> None:
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    clock.resume(NOON + 48 * HOUR)
    hands.set_by = 24 * HOUR
    clock.now()
    hands.passed = 23 * HOUR
    clock.trust_steady_clock()
    assert not clock.pending
    assert not clock.confirmed
    hands.passed = 24 * HOUR + 1.0
    clock.trust_steady_clock()
    assert clock.pending or clock.confirmed


def test_an_assure_without_a_date_makes_the_agent_use_the_wall_clock(hands: Hands, clock: SystemClock) -> None:
    clock.record_date(None)
    assert clock.confirmed
    assert clock.skew is None
    record_dates(clock, hands, 25 * HOUR)
    assert not clock.confirmed


async def test_a_clock_that_is_set_back_delays_no_periodic_activity(monkeypatch: pytest.MonkeyPatch) -> None:
    """[I1] APScheduler alone would delay the next scan by an hour."""
    shift = timedelta()

    class Shifted(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + shift

    monkeypatch.setattr(base, "datetime", Shifted)
    monkeypatch.setattr(scheduler, "datetime", Shifted)
    monkeypatch.setattr(scheduler, "_CHECK_SECONDS", 0.05)
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
