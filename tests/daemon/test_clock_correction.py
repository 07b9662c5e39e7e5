"""The host's clock is set: the agent's own goes by boot time, and Assure's `Date` is its witness (issue 14)."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from apscheduler.schedulers import base
from hypothesis import given
from hypothesis import strategies as st

from agent.daemon import scheduler
from agent.platform.clock import DRIFT, Anchor, SystemClock
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
    return SystemClock(hands.wall, hands.elapsed, "boot")


def test_it_is_the_wall_clock_while_nobody_sets_it(hands: Hands, clock: SystemClock) -> None:
    for _ in range(100):
        hands.passed += 0.37
        hands.set_by += 0.001  # as NTP does
        assert clock.now() == pytest.approx(hands.wall(), abs=0.01)


def heard(clock: SystemClock, hands: Hands, wrong_by: float = 0.0) -> None:
    """An answer of Assure arrives."""
    clock.heard(float(int(NOON + hands.passed + wrong_by)), 0.1)


def confirmed(clock: SystemClock, hands: Hands) -> SystemClock:
    heard(clock, hands)
    assert clock.confirmed
    return clock


def test_half_a_minute_forward_is_caught_up_with_slowly(hands: Hands, clock: SystemClock) -> None:
    hands.set_by = 30.0
    assert clock.now() == NOON
    hands.passed = 10.0
    assert clock.now() == NOON + 20.0
    hands.passed = 60.0
    assert clock.now() == hands.wall()


def test_half_a_minute_back_never_goes_back_and_never_stands_still(hands: Hands, clock: SystemClock) -> None:
    """[I1] What was due in a second is due in two."""
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


@pytest.mark.parametrize("wrong", [HOUR, -HOUR, 365 * 24 * HOUR])
def test_a_clock_that_is_set_is_not_followed_without_a_witness(hands: Hands, clock: SystemClock, wrong: float) -> None:
    confirmed(clock, hands)
    hands.set_by = wrong
    hands.passed = 2 * HOUR
    assert clock.now() == NOON + 2 * HOUR
    assert clock.confirmed  # boot time tells
    heard(clock, hands)
    assert clock.skew == pytest.approx(wrong, abs=1.0)
    assert not clock.pending


def test_a_pause_that_boot_time_did_not_count_needs_answers_for_ten_seconds(hands: Hands, clock: SystemClock) -> None:
    """A virtual machine was stopped for a day: the host's clock was set by NTP since, and Assure agrees with it."""
    confirmed(clock, hands)
    hands.set_by = 24 * HOUR
    for second in range(10):
        hands.passed = float(second)
        heard(clock, hands, 24 * HOUR)
        assert not clock.pending
        assert not clock.confirmed
    hands.passed = 10.0
    heard(clock, hands, 24 * HOUR)
    correction = clock.correct()
    assert correction is not None
    assert correction.by == pytest.approx(24 * HOUR, abs=1.0)
    assert correction.since == pytest.approx(NOON, abs=1.0)
    assert not clock.confirmed
    clock.confirm()
    assert clock.confirmed
    assert clock.now() == pytest.approx(NOON + 24 * HOUR + 10.0, abs=1.0)


def test_two_seconds_in_which_all_of_the_host_is_wrong_correct_nothing(hands: Hands, clock: SystemClock) -> None:
    """The simulator runs on the same host: what it says is no witness of its own."""
    confirmed(clock, hands)
    hands.set_by = 25 * HOUR
    for hands.passed in (0.5, 1.0, 1.5, 2.0):
        heard(clock, hands, 25 * HOUR)
    hands.set_by = 0.0
    hands.passed = 2.5
    heard(clock, hands)
    assert clock.confirmed
    assert not clock.pending
    assert clock.now() == NOON + 2.5


def test_an_assure_that_is_wrong_alone_is_not_followed(hands: Hands, clock: SystemClock) -> None:
    confirmed(clock, hands)
    for hands.passed in range(0, 7200, 5):
        heard(clock, hands, 25 * HOUR)
    assert clock.confirmed
    assert not clock.pending
    assert clock.skew == pytest.approx(-25 * HOUR, abs=1.0)


@pytest.mark.parametrize("wrong", [25 * HOUR, -25 * HOUR])
def test_a_first_time_is_corrected_by_two_answers_a_second_apart(hands: Hands, wrong: float) -> None:
    hands.set_by = wrong
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    clock.resume(0.0)
    heard(clock, hands)
    hands.passed = 0.5
    heard(clock, hands)
    assert not clock.pending
    hands.passed = 1.0
    heard(clock, hands)
    assert clock.pending
    correction = clock.correct()
    assert correction is not None
    clock.confirm()
    assert clock.now() == pytest.approx(NOON + 1.0, abs=1.5)


def test_answers_that_contradict_each_other_correct_nothing(hands: Hands) -> None:
    hands.set_by = 25 * HOUR
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    for hands.passed in range(0, 100, 2):
        heard(clock, hands, hands.passed * HOUR)
        assert not clock.pending


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(-1e6, 1e6)), max_size=30))
def test_whatever_the_host_does_a_confirmed_time_goes_by_boot_time(moves: list[tuple[float, float]]) -> None:
    """Assure's answers are right, so the time is, within what counts as agreement."""
    hands = Hands()
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    confirmed(clock, hands)
    for passed, set_by in moves:
        hands.passed += passed
        hands.set_by = set_by
        heard(clock, hands)
        assert clock.confirmed
        assert abs(clock.now() - NOON - hands.passed) <= DRIFT + 2.0 + 1e-6  # the last digits of a float of this size


def test_it_goes_on_from_the_last_event_and_waits_for_the_witness(hands: Hands, clock: SystemClock) -> None:
    clock.resume(NOON + 48 * HOUR)
    assert clock.now() == NOON + 48 * HOUR
    assert not clock.confirmed


def test_a_restart_on_the_same_boot_goes_on_with_the_time_that_was_confirmed(hands: Hands, clock: SystemClock) -> None:
    anchor = confirmed(clock, hands).anchor()
    assert anchor is not None
    hands.passed, hands.set_by = HOUR, 25 * HOUR
    again = SystemClock(hands.wall, hands.elapsed, "boot")
    again.resume(NOON, Anchor.read(str(anchor)))
    assert again.now() == NOON + HOUR
    assert not again.confirmed  # the host's clock disagrees
    heard(again, hands)
    assert again.confirmed
    other = SystemClock(hands.wall, hands.elapsed, "another boot")
    other.resume(NOON, anchor)
    assert other.now() == hands.wall()


@pytest.mark.parametrize("text", [None, "", "boot", "boot x", " 1"])
def test_an_anchor_that_cannot_be_read_is_none(text: str | None) -> None:
    assert Anchor.read(text) is None


def test_without_a_witness_a_steady_clock_is_believed_after_a_day(hands: Hands) -> None:
    clock = SystemClock(hands.wall, hands.elapsed, "boot")
    clock.resume(NOON + 48 * HOUR)
    hands.set_by = 24 * HOUR
    clock.now()
    hands.passed = 23 * HOUR
    clock.alone()
    assert not clock.pending
    assert not clock.confirmed
    hands.passed = 24 * HOUR + 1.0
    clock.alone()
    assert clock.pending or clock.confirmed


def test_an_assure_without_a_date_leaves_the_host_to_tell(hands: Hands, clock: SystemClock) -> None:
    clock.heard(None)
    assert clock.confirmed
    assert clock.skew is None
    heard(clock, hands, 25 * HOUR)
    assert not clock.confirmed


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
