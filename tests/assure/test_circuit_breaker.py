"""The brakes as state machines with time as a value: whatever happens in whatever order, they let go again [I1, I9]."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.assure.circuit_breaker import (
    ANSWERS,
    FORBIDDEN,
    HALF_OPEN,
    LEAST,
    MISSING,
    NO_TOKENS,
    PAUSED_LEAST,
    SHARE,
    TWICE,
    UNLIMITED,
    WINDOW,
    Breaker,
    Cause,
    Seen,
    TokenCircuit,
)
from agent.assure.rate_limit import Bucket
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
    """Answers, pauses, probes and clocks in any order, beside the simplest account of the consequences."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now, self.missing = Breaker(), NOW, dict[str, int]()
        self.answers: list[tuple[float, Seen]] = []
        self.believed_until = -math.inf
        self.unaccepted = False
        self.under_way: list[int] = []

    @initialize()
    def begins_closed(self) -> None:
        assert not self.breaker.shut(self.now)
        assert self.breaker.room(self.now) == math.inf

    @rule(seconds=JUMPS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(0, 1e9))
    def asked_to_pause(self, seconds: float) -> None:
        self.breaker.saw(Seen.NOTHING, self.now, retry_after=seconds)
        assert self.breaker.opened or self.breaker.opens_at(self.now) <= self.now + LONGEST_PAUSE + 1

    @precondition(lambda self: self.breaker.opened is None)
    @rule(
        seen=st.sampled_from(Seen),
        dossier=st.sampled_from("abcdefgh"),
        chance=st.floats(0, 0.999),
        often=st.just(1) | st.integers(1, 30),
    )
    def answered(self, seen: Seen, dossier: str, chance: float, often: int) -> None:
        for _ in range(often):
            if self.breaker.opened is None:
                self._answered(seen, dossier, chance)

    def _answered(self, seen: Seen, dossier: str, chance: float) -> None:
        if seen is not Seen.NOTHING:
            self.unaccepted = seen is Seen.UNACCEPTED
            self.answers.append((self.now, seen))
        if seen is Seen.TARGET:
            self.missing.clear()
        if seen is Seen.MISSING and self.now >= self.believed_until:
            self.missing[dossier] = min(TWICE, self.missing.get(dossier, 0) + 1)
        self.breaker.saw(seen, self.now, chance, dossier)
        cause = self._cause()
        assert (self.breaker.opened and self.breaker.opened.cause) == cause

    def _cause(self) -> Cause | None:
        """As the documents say it."""
        if sum(self.missing.values()) > MISSING:
            return Cause.MISSING
        if self.unaccepted:
            return Cause.CREDENTIALS
        since = [seen for _, seen in self.answers if seen in (*GOOD, Seen.FORBIDDEN)][-FORBIDDEN:]
        if len(since) == FORBIDDEN and set(since) == {Seen.FORBIDDEN}:
            return Cause.CREDENTIALS
        window = [seen for at, seen in self.answers[-ANSWERS:] if at > self.now - WINDOW]
        failures = sum(seen in (Seen.OUTAGE, Seen.FORBIDDEN) for seen in window)
        return Cause.OUTAGE if len(window) >= LEAST and failures >= SHARE * len(window) else None

    @precondition(lambda self: self.breaker.opened is not None)
    @rule(seen=st.sampled_from(Seen))
    def answered_late(self, seen: Seen) -> None:
        """Answers to what was sent before it opened change nothing any more."""
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
            self._closed()
            return
        assert after is not None
        assert after.interval == min(2 * before.interval, before.cause.longest)
        assert self.now + after.interval / 2 <= after.probe_at <= self.now + after.interval

    def _closed(self) -> None:
        self.answers, self.missing, self.unaccepted = [], {}, False
        assert self.breaker.shut(self.now) or self.breaker.room(self.now) == HALF_OPEN, "what hangs holds nobody up"

    @rule()
    def believed(self) -> None:
        """A person says that what is missing is gone indeed; without effect while nothing is said to be missing."""
        outage = self.breaker.opened is not None and self.breaker.opened.cause is not Cause.MISSING
        closes = self.breaker.opened is not None and not outage
        self.breaker.believe(self.now)
        assert (self.breaker.opened is not None) == outage
        if closes:
            self._closed()
            self.believed_until = self.now + 3600.0

    @precondition(lambda self: self.breaker.opened is None)
    @rule(calls=st.integers(1, 20))
    def calls_begin(self, calls: int) -> None:
        """As many as there is room for."""
        if self.breaker.shut(self.now):
            self.now = self.breaker.opens_at(self.now)
        for _ in range(int(min(calls, self.breaker.room(self.now)))):
            self.under_way.append(self.breaker.begin())

    @rule()
    def calls_end(self) -> None:
        """Then there is room again."""
        for begun in self.under_way:
            self.breaker.ended(begun)
        self.under_way = []
        assert self.breaker.shut(self.now) or self.breaker.room(self.now) >= HALF_OPEN

    @invariant()
    def it_is_shut_and_has_no_room_or_says_when(self) -> None:
        opens_at = self.breaker.opens_at(self.now)
        if self.breaker.opened is not None:
            assert opens_at == math.inf
        else:
            assert self.now <= opens_at <= self.now + LONGEST_PAUSE + 1
        assert not (self.breaker.shut(self.now) and self.breaker.room(self.now))
        assert self.breaker.shut(self.now - 1e8) == (self.breaker.opened is not None), "a clock that goes back frees"


Brakes.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBrakes = Brakes.TestCase


@pytest.mark.parametrize("seed", range(20))
def test_noise_on_a_third_of_the_calls_is_no_outage_and_silence_is(seed: int) -> None:
    """[I9] Issue 14.4: the share of failures in a window tells them apart, not a run of unlucky calls."""
    chance, breaker = Random(seed), Breaker()
    for number in range(4_000):
        breaker.saw(Seen.OUTAGE if chance.random() < 0.33 else Seen.TARGET, NOW + number / 50)
        assert breaker.opened is None
    for number in range(ANSWERS):
        breaker.saw(Seen.OUTAGE, NOW + 80 + number / 50)
    assert breaker.opened is not None


def test_calls_that_fail_now_and_then_over_a_long_time_are_no_outage() -> None:
    """[I9] Fewer than LEAST in a window."""
    breaker = Breaker()
    for number in range(1_000):
        breaker.saw(Seen.OUTAGE, NOW + number * (WINDOW / (LEAST - 1)))
    assert breaker.opened is None


def out(breaker: Breaker) -> None:
    """Nobody answers."""
    for _ in range(LEAST):
        breaker.saw(Seen.OUTAGE, NOW)
    assert breaker.opened is not None


def rounds(breaker: Breaker, now: float) -> list[float]:
    """How many calls are let through in each round, while all succeed, until there is no limit."""
    begun = [breaker.room(now)]
    while begun[-1] < math.inf:
        calls = [breaker.begin() for _ in range(int(begun[-1]))]
        for call in calls:
            breaker.ended(call)
            breaker.saw(Seen.WELL, now)
        begun.append(breaker.room(now))
    return begun


def test_after_an_outage_each_success_lets_more_calls_through_until_there_is_no_limit() -> None:
    breaker = Breaker()
    out(breaker)
    breaker.probed(True, NOW)
    assert rounds(breaker, NOW) == [2, 4, 8, 16, 32, 64, 128, math.inf]


def test_calls_that_hang_since_before_the_outage_take_no_place_after_it() -> None:
    """[I9] Otherwise the agent is silent until they time out."""
    breaker = Breaker()
    hanging = [breaker.begin() for _ in range(64)]
    out(breaker)
    breaker.probed(True, NOW)
    assert breaker.room(NOW) == HALF_OPEN
    for call in hanging:
        breaker.ended(call)
    assert breaker.room(NOW) == HALF_OPEN


def test_a_retry_after_halves_the_calls_under_way_once_and_does_not_begin_at_two_again() -> None:
    """Issue 14.4: a slow ramp after each of them kept the agent at 10 calls a second with 3 % of 429."""
    breaker = Breaker()
    calls = [breaker.begin() for _ in range(64)]
    for number in range(3):  # the others of the same burst
        breaker.saw(Seen.OUTAGE, NOW + number / 100, retry_after=1.0 + number / 10)
    assert breaker.room(NOW + 0.5) == 0
    for call in calls:
        breaker.ended(call)
    assert rounds(breaker, NOW + 2)[:3] == [32, 64, 128]


def test_many_pauses_in_a_row_leave_places_for_some_calls() -> None:
    breaker = Breaker()
    for number in range(100):
        breaker.saw(Seen.OUTAGE, NOW + 2 * number, retry_after=1.0)
        breaker.saw(Seen.WELL, NOW + 2 * number)
    assert breaker.room(NOW + 1_000) >= PAUSED_LEAST
    assert PAUSED_LEAST < UNLIMITED


def test_one_retry_after_among_good_answers_stops_its_request_alone_and_several_stop_all() -> None:
    """Issue 14.4: with 3 % of 429 nobody but their own requests waits."""
    breaker, now = Breaker(), NOW
    breaker.saw(Seen.OUTAGE, now, retry_after=7.0)
    assert breaker.shut(now), "nothing is known yet: it is meant for all"
    now += 100
    for number in range(1_000):
        breaker.saw(
            Seen.OUTAGE if number % 33 == 32 else Seen.TARGET, now, retry_after=7.0 if number % 33 == 32 else None
        )
    assert not breaker.shut(now)
    for _ in range(ANSWERS // 4):
        breaker.saw(Seen.OUTAGE, now, retry_after=7.0)
    assert breaker.shut(now)
    assert breaker.opens_at(now) == now + 7


def test_403_opens_the_circuit_at_the_third_in_a_row_whatever_fails_between() -> None:
    """Issue 14.2: wrong credentials are a cause of their own, told within seconds."""
    breaker = Breaker()
    for seen in (Seen.FORBIDDEN, Seen.FORBIDDEN, Seen.TARGET, Seen.FORBIDDEN, Seen.OUTAGE, Seen.FORBIDDEN):
        breaker.saw(seen, NOW)
        assert breaker.opened is None
    breaker.saw(Seen.FORBIDDEN, NOW)
    assert breaker.opened is not None
    assert breaker.opened.cause is Cause.CREDENTIALS


# -- the token endpoint --------------------------------------------------------------------------------------------


def test_one_token_that_is_not_given_is_a_pause_of_half_a_second_and_no_circuit_that_is_told() -> None:
    """Issue 14.4: a token answer counts once."""
    circuit = TokenCircuit()
    circuit.failed(NOW, 0.999)
    assert circuit.opened is None
    assert circuit.next is not None
    assert circuit.next.probe_at <= NOW + 0.5
    circuit.issued()
    assert circuit.next is None


def test_the_third_failure_of_the_token_endpoint_in_a_row_opens_its_circuit() -> None:
    circuit, now, waits = TokenCircuit(), NOW, []
    for number in range(12):
        assert (circuit.opened is not None) == (number >= NO_TOKENS)
        circuit.failed(now, 0.999)
        assert circuit.next is not None
        waits.append(round(circuit.next.probe_at - now, 1))
        now = circuit.next.probe_at
    assert circuit.opened is not None
    assert circuit.opened.cause is Cause.TOKEN
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0, 60.0]


@given(st.floats(-10, 1e9) | st.just(math.inf))
def test_the_token_endpoint_is_asked_again_when_it_said_and_within_a_minute(seconds: float) -> None:
    circuit = TokenCircuit()
    circuit.failed(NOW, 0.0, pause=seconds)
    assert circuit.next is not None
    assert min(seconds, LONGEST_PAUSE) - 1e-6 <= circuit.next.probe_at - NOW <= LONGEST_PAUSE


@pytest.mark.parametrize(("certain", "answers"), [(True, 1), (False, FORBIDDEN)])
def test_a_client_that_is_not_accepted_is_told_at_once_or_after_the_third_401(certain: bool, answers: int) -> None:
    """Issue 14.2: `invalid_client` is certain; a 401 of anything on the way is noise at first."""
    circuit = TokenCircuit()
    for number in range(answers):
        assert circuit.opened is None, number
        circuit.failed(NOW, 0.5, denied=True, certain=certain)
    assert circuit.opened is not None
    assert circuit.opened.cause is Cause.CREDENTIALS


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
