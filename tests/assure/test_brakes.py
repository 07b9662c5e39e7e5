"""The brakes as state machines with time as a value: whatever happens in whatever order, they let go again [I1, I9]."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.assure.brakes import MISSING, RUN, TWICE, Breaker, Bucket, Cause, Seen
from agent.core.classify import LONGEST_PAUSE

NOW = 1_800_000_000.0
JUMPS = st.floats(0.0, 30.0) | st.floats(0.0, 7200.0)
GOOD = (Seen.WELL, Seen.TARGET)


# -- the bucket ------------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_no_second_has_more_turns_than_the_rate_and_its_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, turns = Bucket(rate), NOW, []
    for pause in pauses:
        now += pause
        turns.append(bucket.turn(now))
        assert turns[-1] >= now
    assert turns == sorted(turns), "first come, first served"
    for first in turns:
        within = [turn for turn in turns if first <= turn < first + 1.0 - 1e-6]
        assert len(within) <= rate + max(rate, 1.0) + 1


def test_nobody_waits_where_there_is_no_limit_and_everybody_the_same_where_there_is() -> None:
    free, slow = Bucket(0), Bucket(2)
    assert [free.turn(NOW) for _ in range(5)] == [NOW] * 5
    assert [slow.turn(NOW) - NOW for _ in range(5)] == pytest.approx([0, 0, 0.5, 1, 1.5], abs=1e-6)


@given(st.floats(0.1, 50), st.integers(0, 30), st.floats(1, 1e6))
def test_a_clock_that_goes_back_makes_nobody_wait_for_the_time_it_lost(rate: float, calls: int, back: float) -> None:
    bucket = Bucket(rate)
    waited = max([bucket.turn(NOW) - NOW for _ in range(calls)], default=0.0)
    assert bucket.turn(NOW - back) - (NOW - back) <= waited + 1 / rate + 1e-3


@given(st.floats(0.1, 50), st.integers(0, 30), st.floats(0, 10))
def test_where_there_is_room_the_turn_comes_within_a_second_and_room_comes_when_it_is_said(
    rate: float, calls: int, later: float
) -> None:
    bucket = Bucket(rate)
    for _ in range(calls):
        bucket.turn(NOW)
    now = NOW + later
    if not bucket.room(now):
        now = bucket.opens_at(now) + 1e-3
    assert bucket.room(now) >= 1
    assert bucket.turn(now) - now <= 1.0 + 1e-3


# -- the breaker -----------------------------------------------------------------------------------------------------


class Brakes(RuleBasedStateMachine):
    """Answers, pauses, probes and clocks in any order, beside the simplest account of what should follow."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now, self.run, self.missing = Breaker(), NOW, 0, dict[str, int]()
        self.believed_until = -math.inf

    @initialize()
    def begins_closed(self) -> None:
        assert not self.breaker.shut(self.now)
        assert self.breaker.room(self.now) == math.inf

    @rule(seconds=JUMPS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(0, 1e9))
    def asked_to_pause(self, seconds: float) -> None:
        self.breaker.pause(seconds, self.now)
        assert self.breaker.opened or self.breaker.opens_at(self.now) <= self.now + LONGEST_PAUSE + 1

    @precondition(lambda self: self.breaker.opened is None)
    @rule(seen=st.sampled_from(Seen), dossier=st.sampled_from("abcdefgh"), chance=st.floats(0, 0.999))
    def answered(self, seen: Seen, dossier: str, chance: float) -> None:
        if seen is not Seen.NOTHING:
            self.run = self.run + 1 if seen is Seen.OUTAGE else 0
        if seen is Seen.TARGET:
            self.missing.clear()
        if seen is Seen.MISSING and self.now >= self.believed_until:
            self.missing[dossier] = min(TWICE, self.missing.get(dossier, 0) + 1)
        self.breaker.saw(seen, self.now, chance, dossier)
        opens = self.run >= RUN or sum(self.missing.values()) > MISSING
        assert (self.breaker.opened is not None) == opens
        if self.breaker.opened is not None:
            missing = sum(self.missing.values()) > MISSING
            assert self.breaker.opened.cause is (Cause.MISSING if missing else Cause.OUTAGE)

    @precondition(lambda self: self.breaker.opened is not None)
    @rule(seen=st.sampled_from(Seen))
    def answered_late(self, seen: Seen) -> None:
        """What was sent before it opened changes nothing any more."""
        before = self.breaker.opened
        self.breaker.saw(seen, self.now, 0.5, "a")
        assert self.breaker.opened == before

    @precondition(lambda self: self.breaker.opened is not None)
    @rule(well=st.booleans(), chance=st.floats(0, 0.999))
    def probed(self, well: bool, chance: float) -> None:
        before = self.breaker.opened
        assert before is not None
        self.now = max(self.now, before.probe_at)
        self.breaker.probed(well, self.now, chance)
        after = self.breaker.opened
        if well:
            assert after is None
            self.run, self.missing = 0, {}
            return
        assert after is not None
        assert after.interval == min(2 * before.interval, before.cause.longest)
        assert self.now + after.interval / 2 <= after.probe_at <= self.now + after.interval

    @rule()
    def believed(self) -> None:
        """A person says that what is missing is gone indeed; it is no such word while nothing is said to be missing."""
        outage = self.breaker.opened is not None and self.breaker.opened.cause is Cause.OUTAGE
        closes = self.breaker.opened is not None and not outage
        self.breaker.believe(self.now)
        assert (self.breaker.opened is not None) == outage
        if closes:
            self.run, self.missing = 0, {}
            self.believed_until = self.now + 3600.0

    @rule(calls=st.integers(1, 20))
    def calls_begin(self, calls: int) -> None:
        """As many as there is room for; when there is none, it comes at the time that is told."""
        for _ in range(calls):
            if self.breaker.opened is not None:
                return
            if not self.breaker.room(self.now):
                self.now = self.breaker.opens_at(self.now)
            assert self.breaker.room(self.now) >= 1
            self.breaker.begin()

    @invariant()
    def it_is_shut_and_has_no_room_or_says_when(self) -> None:
        opens_at = self.breaker.opens_at(self.now)
        if self.breaker.opened is not None:
            assert opens_at == math.inf
        else:
            assert self.now <= opens_at <= self.now + LONGEST_PAUSE + 7
        assert not (self.breaker.shut(self.now) and self.breaker.room(self.now))
        assert self.breaker.shut(self.now - 1e8) == (self.breaker.opened is not None), "a clock that goes back frees"


Brakes.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBrakes = Brakes.TestCase


def test_after_an_outage_calls_begin_gently_and_soon_without_any_limit() -> None:
    breaker = Breaker()
    for _ in range(RUN):
        breaker.saw(Seen.OUTAGE, NOW)
    breaker.probed(True, NOW)
    begun = []
    for second in range(7):
        room = breaker.room(NOW + second)
        begun.append(room)
        for _ in range(int(min(room, 10_000))):
            breaker.begin()
    assert begun == [2, 6, 24, 96, 384, 1536, math.inf]


def test_one_dossier_that_is_gone_never_opens_the_circuit() -> None:
    """It is asked for until it is lost."""
    breaker = Breaker()
    for _ in range(100):
        breaker.saw(Seen.MISSING, NOW, 0.5, "a")
    assert breaker.opened is None


def test_404s_without_a_dossier_count_until_anything_is_answered_as_it_should_be() -> None:
    breaker = Breaker()
    for _ in range(20):
        for _ in range(MISSING):
            breaker.saw(Seen.MISSING, NOW)
        breaker.saw(Seen.WELL, NOW)
    assert breaker.opened is None
    for _ in range(MISSING + 1):
        breaker.saw(Seen.MISSING, NOW)
    assert breaker.opened is not None
    assert breaker.opened.cause is Cause.MISSING


def test_one_success_between_them_and_the_count_begins_anew() -> None:
    breaker = Breaker()
    for number in range(36):
        breaker.saw(Seen.TARGET if number % 6 == 5 else Seen.MISSING, NOW, 0.5, str(number))
        breaker.saw(Seen.WELL, NOW)  # a list proves nothing of the account
    assert breaker.opened is None
    for number in range(MISSING + 1):
        assert breaker.opened is None
        breaker.saw(Seen.MISSING, NOW, 0.5, f"more-{number}")
    assert breaker.opened is not None
