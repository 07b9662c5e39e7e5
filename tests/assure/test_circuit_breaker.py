"""Circuit breaker and rate limit as state machines: after any sequence of events, calls continue [I1, I9]."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.assure.answer_signal import AnswerSignal
from agent.assure.circuit_breaker import (
    HALF_OPEN_CALLS,
    MAX_COUNTED_PER_DOSSIER,
    MAX_FORBIDDEN,
    MAX_TOKEN_FAILURES,
    MAX_TRUSTED_MISSING,
    MIN_ANSWERS,
    MIN_CALLS_AFTER_PAUSE,
    OUTAGE_THRESHOLD,
    UNLIMITED_CALLS,
    WINDOW_ANSWERS,
    WINDOW_SECONDS,
    Cause,
    CircuitBreaker,
    TokenCircuit,
)
from agent.assure.rate_limit import TokenBucket
from agent.core.classify import MAX_RETRY_AFTER

NOW = 1_800_000_000.0
JUMPS = st.floats(0.0, 30.0) | st.floats(0.0, 7200.0)
GOOD = (AnswerSignal.HEALTHY, AnswerSignal.TARGET_FOUND)


# -- the bucket ------------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 1000), st.lists(st.floats(0, 3), min_size=1, max_size=100))
def test_no_second_has_more_calls_than_the_rate_and_its_burst(rate: float, pauses: list[float]) -> None:
    bucket, now, turns = TokenBucket(rate), NOW, []
    for pause in pauses:
        now += pause
        turns.append(bucket.reserve(now))
        assert turns[-1] >= now
    assert turns == sorted(turns), "first come, first served"
    for first in turns:
        within = [turn for turn in turns if first <= turn < first + 1.0 - 1e-6]
        assert len(within) <= rate + max(rate, 1.0) + 1


def test_without_a_limit_no_call_waits_and_with_one_all_wait_in_order() -> None:
    free, slow = TokenBucket(0), TokenBucket(2)
    assert [free.reserve(NOW) for _ in range(5)] == [NOW] * 5
    assert [slow.reserve(NOW) - NOW for _ in range(5)] == pytest.approx([0, 0, 0.5, 1, 1.5], abs=1e-6)


@given(st.floats(0.1, 50), st.integers(0, 30), st.floats(1, 1e6))
def test_a_clock_that_goes_back_delays_no_call_by_the_lost_time(rate: float, calls: int, back: float) -> None:
    bucket = TokenBucket(rate)
    waited = max([bucket.reserve(NOW) - NOW for _ in range(calls)], default=0.0)
    assert bucket.reserve(NOW - back) - (NOW - back) <= waited + 1 / rate + 1e-3


@given(st.floats(0.1, 50), st.integers(0, 30), st.floats(0, 10))
def test_a_call_waits_at_most_a_second_while_there_is_capacity(rate: float, calls: int, later: float) -> None:
    bucket = TokenBucket(rate)
    for _ in range(calls):
        bucket.reserve(NOW)
    now = NOW + later
    if not bucket.capacity(now):
        now = bucket.opens_at(now) + 1e-3
    assert bucket.capacity(now) >= 1
    assert bucket.reserve(now) - now <= 1.0 + 1e-3


# -- the breaker -----------------------------------------------------------------------------------------------------


class Brakes(RuleBasedStateMachine):
    """Answers, pauses, probes and clocks in any order, next to the simplest model of the consequences."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.now, self.missing = CircuitBreaker(), NOW, dict[str, int]()
        self.answers: list[tuple[float, AnswerSignal]] = []
        self.believed_until = -math.inf
        self.unaccepted = False
        self.under_way: list[int] = []

    @initialize()
    def begins_closed(self) -> None:
        assert not self.breaker.is_closed_to_calls(self.now)
        assert self.breaker.capacity(self.now) == math.inf

    @rule(seconds=JUMPS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(0, 1e9))
    def asked_to_pause(self, seconds: float) -> None:
        self.breaker.record(AnswerSignal.NEUTRAL, self.now, retry_after=seconds)
        assert self.breaker.opened or self.breaker.opens_at(self.now) <= self.now + MAX_RETRY_AFTER + 1

    @precondition(lambda self: self.breaker.opened is None)
    @rule(
        seen=st.sampled_from(AnswerSignal),
        dossier=st.sampled_from("abcdefgh"),
        chance=st.floats(0, 0.999),
        often=st.just(1) | st.integers(1, 30),
    )
    def answered(self, seen: AnswerSignal, dossier: str, chance: float, often: int) -> None:
        for _ in range(often):
            if self.breaker.opened is None:
                self._answered(seen, dossier, chance)

    def _answered(self, seen: AnswerSignal, dossier: str, chance: float) -> None:
        if seen is not AnswerSignal.NEUTRAL:
            self.unaccepted = seen is AnswerSignal.CLIENT_REJECTED
            self.answers.append((self.now, seen))
        if seen is AnswerSignal.TARGET_FOUND:
            self.missing.clear()
        if seen is AnswerSignal.TARGET_MISSING and self.now >= self.believed_until:
            self.missing[dossier] = min(MAX_COUNTED_PER_DOSSIER, self.missing.get(dossier, 0) + 1)
        self.breaker.record(seen, self.now, chance, dossier)
        cause = self._cause()
        assert (self.breaker.opened and self.breaker.opened.cause) == cause

    def _cause(self) -> Cause | None:
        """The cause according to the documents."""
        if sum(self.missing.values()) > MAX_TRUSTED_MISSING:
            return Cause.MISSING
        if self.unaccepted:
            return Cause.CREDENTIALS
        since = [seen for _, seen in self.answers if seen in (*GOOD, AnswerSignal.FORBIDDEN)][-MAX_FORBIDDEN:]
        if len(since) == MAX_FORBIDDEN and set(since) == {AnswerSignal.FORBIDDEN}:
            return Cause.CREDENTIALS
        window = [seen for at, seen in self.answers[-WINDOW_ANSWERS:] if at > self.now - WINDOW_SECONDS]
        failures = sum(seen in (AnswerSignal.OUTAGE, AnswerSignal.FORBIDDEN) for seen in window)
        return Cause.OUTAGE if len(window) >= MIN_ANSWERS and failures >= OUTAGE_THRESHOLD * len(window) else None

    @precondition(lambda self: self.breaker.opened is not None)
    @rule(seen=st.sampled_from(AnswerSignal))
    def answered_late(self, seen: AnswerSignal) -> None:
        """Answers to calls that were sent before the circuit opened have no effect."""
        before = self.breaker.opened
        self.breaker.record(seen, self.now, 0.5, "a")
        assert self.breaker.opened == before

    @precondition(lambda self: self.breaker.opened is not None)
    @rule(well=st.booleans(), chance=st.floats(0, 0.999))
    def probed(self, well: bool, chance: float) -> None:
        before = self.breaker.opened
        assert before is not None
        self.now = max(self.now, before.probe_at)
        self.breaker.record_probe(well, self.now, chance)
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
        assert self.breaker.is_closed_to_calls(self.now) or self.breaker.capacity(self.now) == HALF_OPEN_CALLS, (
            "a call that hangs delays no other call"
        )

    @rule()
    def believed(self) -> None:
        """The operator confirms the missing dossiers. No effect while the cause is another one."""
        outage = self.breaker.opened is not None and self.breaker.opened.cause is not Cause.MISSING
        closes = self.breaker.opened is not None and not outage
        self.breaker.trust_missing(self.now)
        assert (self.breaker.opened is not None) == outage
        if closes:
            self._closed()
            self.believed_until = self.now + 3600.0

    @precondition(lambda self: self.breaker.opened is None)
    @rule(calls=st.integers(1, 20))
    def calls_begin(self, calls: int) -> None:
        """Start as many calls as the capacity allows."""
        if self.breaker.is_closed_to_calls(self.now):
            self.now = self.breaker.opens_at(self.now)
        for _ in range(int(min(calls, self.breaker.capacity(self.now)))):
            self.under_way.append(self.breaker.start_call())

    @rule()
    def calls_end(self) -> None:
        """End calls, which frees capacity."""
        for begun in self.under_way:
            self.breaker.end_call(begun)
        self.under_way = []
        assert self.breaker.is_closed_to_calls(self.now) or self.breaker.capacity(self.now) >= HALF_OPEN_CALLS

    @invariant()
    def it_is_shut_and_has_no_room_or_says_when(self) -> None:
        opens_at = self.breaker.opens_at(self.now)
        if self.breaker.opened is not None:
            assert opens_at == math.inf
        else:
            assert self.now <= opens_at <= self.now + MAX_RETRY_AFTER + 1
        assert not (self.breaker.is_closed_to_calls(self.now) and self.breaker.capacity(self.now))
        assert self.breaker.is_closed_to_calls(self.now - 1e8) == (self.breaker.opened is not None), (
            "a clock that goes back frees"
        )


Brakes.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBrakes = Brakes.TestCase


@pytest.mark.parametrize("seed", range(20))
def test_noise_on_a_third_of_the_calls_is_no_outage_and_silence_is(seed: int) -> None:
    """[I9] Issue 14.4: the share of failures in a window tells them apart, not a run of unlucky calls."""
    chance, breaker = Random(seed), CircuitBreaker()
    for number in range(4_000):
        breaker.record(AnswerSignal.OUTAGE if chance.random() < 0.33 else AnswerSignal.TARGET_FOUND, NOW + number / 50)
        assert breaker.opened is None
    for number in range(WINDOW_ANSWERS):
        breaker.record(AnswerSignal.OUTAGE, NOW + 80 + number / 50)
    assert breaker.opened is not None


def test_calls_that_fail_now_and_then_over_a_long_time_are_no_outage() -> None:
    """[I9] Fewer than MIN_ANSWERS in a window."""
    breaker = CircuitBreaker()
    for number in range(1_000):
        breaker.record(AnswerSignal.OUTAGE, NOW + number * (WINDOW_SECONDS / (MIN_ANSWERS - 1)))
    assert breaker.opened is None


def out(breaker: CircuitBreaker) -> None:
    """No call is answered."""
    for _ in range(MIN_ANSWERS):
        breaker.record(AnswerSignal.OUTAGE, NOW)
    assert breaker.opened is not None


def rounds(breaker: CircuitBreaker, now: float) -> list[float]:
    """The calls that are allowed in each round, while all succeed, until there is no limit."""
    begun = [breaker.capacity(now)]
    while begun[-1] < math.inf:
        calls = [breaker.start_call() for _ in range(int(begun[-1]))]
        for call in calls:
            breaker.end_call(call)
            breaker.record(AnswerSignal.HEALTHY, now)
        begun.append(breaker.capacity(now))
    return begun


def test_after_an_outage_each_success_lets_more_calls_through_until_there_is_no_limit() -> None:
    breaker = CircuitBreaker()
    out(breaker)
    breaker.record_probe(True, NOW)
    assert rounds(breaker, NOW) == [2, 4, 8, 16, 32, 64, 128, math.inf]


def test_calls_in_flight_since_before_the_outage_do_not_count_after_it() -> None:
    """[I9] Otherwise the agent is silent until they time out."""
    breaker = CircuitBreaker()
    hanging = [breaker.start_call() for _ in range(64)]
    out(breaker)
    breaker.record_probe(True, NOW)
    assert breaker.capacity(NOW) == HALF_OPEN_CALLS
    for call in hanging:
        breaker.end_call(call)
    assert breaker.capacity(NOW) == HALF_OPEN_CALLS


def test_a_retry_after_halves_the_calls_in_flight_once_and_does_not_restart_at_two() -> None:
    """Issue 14.4: a slow ramp after each of them kept the agent at 10 calls a second with 3 % of 429."""
    breaker = CircuitBreaker()
    calls = [breaker.start_call() for _ in range(64)]
    for number in range(3):  # the others of the same burst
        breaker.record(AnswerSignal.OUTAGE, NOW + number / 100, retry_after=1.0 + number / 10)
    assert breaker.capacity(NOW + 0.5) == 0
    for call in calls:
        breaker.end_call(call)
    assert rounds(breaker, NOW + 2)[:3] == [32, 64, 128]


def test_many_pauses_in_a_row_still_allow_some_calls() -> None:
    breaker = CircuitBreaker()
    for number in range(100):
        breaker.record(AnswerSignal.OUTAGE, NOW + 2 * number, retry_after=1.0)
        breaker.record(AnswerSignal.HEALTHY, NOW + 2 * number)
    assert breaker.capacity(NOW + 1_000) >= MIN_CALLS_AFTER_PAUSE
    assert MIN_CALLS_AFTER_PAUSE < UNLIMITED_CALLS


def test_one_retry_after_among_good_answers_pauses_its_request_and_several_pause_all() -> None:
    """Issue 14.4: with 3 % of 429, only the requests that got one wait."""
    breaker, now = CircuitBreaker(), NOW
    breaker.record(AnswerSignal.OUTAGE, now, retry_after=7.0)
    assert breaker.is_closed_to_calls(now), "nothing is known yet: it is meant for all"
    now += 100
    for number in range(1_000):
        breaker.record(
            AnswerSignal.OUTAGE if number % 33 == 32 else AnswerSignal.TARGET_FOUND,
            now,
            retry_after=7.0 if number % 33 == 32 else None,
        )
    assert not breaker.is_closed_to_calls(now)
    for _ in range(WINDOW_ANSWERS // 4):
        breaker.record(AnswerSignal.OUTAGE, now, retry_after=7.0)
    assert breaker.is_closed_to_calls(now)
    assert breaker.opens_at(now) == now + 7


def test_403_opens_the_circuit_at_the_third_in_a_row_for_any_failure_between() -> None:
    """Issue 14.2: wrong credentials are a cause of their own, reported within seconds."""
    breaker = CircuitBreaker()
    for seen in (
        AnswerSignal.FORBIDDEN,
        AnswerSignal.FORBIDDEN,
        AnswerSignal.TARGET_FOUND,
        AnswerSignal.FORBIDDEN,
        AnswerSignal.OUTAGE,
        AnswerSignal.FORBIDDEN,
    ):
        breaker.record(seen, NOW)
        assert breaker.opened is None
    breaker.record(AnswerSignal.FORBIDDEN, NOW)
    assert breaker.opened is not None
    assert breaker.opened.cause is Cause.CREDENTIALS


# -- the token endpoint --------------------------------------------------------------------------------------------


def test_one_failed_token_request_is_a_pause_of_half_a_second_and_is_not_reported() -> None:
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
        assert (circuit.opened is not None) == (number >= MAX_TOKEN_FAILURES)
        circuit.failed(now, 0.999)
        assert circuit.next is not None
        waits.append(round(circuit.next.probe_at - now, 1))
        now = circuit.next.probe_at
    assert circuit.opened is not None
    assert circuit.opened.cause is Cause.TOKEN
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0, 60.0]


@given(st.floats(-10, 1e9) | st.just(math.inf))
def test_a_token_is_requested_again_after_the_retry_after_and_within_a_minute(seconds: float) -> None:
    circuit = TokenCircuit()
    circuit.failed(NOW, 0.0, pause=seconds)
    assert circuit.next is not None
    assert min(seconds, MAX_RETRY_AFTER) - 1e-6 <= circuit.next.probe_at - NOW <= MAX_RETRY_AFTER


@pytest.mark.parametrize(("certain", "answers"), [(True, 1), (False, MAX_FORBIDDEN)])
def test_a_client_that_is_not_accepted_is_reported_at_once_or_after_the_third_401(certain: bool, answers: int) -> None:
    """Issue 14.2: `invalid_client` is certain. A 401 may also come from a gateway."""
    circuit = TokenCircuit()
    for number in range(answers):
        assert circuit.opened is None, number
        circuit.failed(NOW, 0.5, denied=True, certain=certain)
    assert circuit.opened is not None
    assert circuit.opened.cause is Cause.CREDENTIALS


def test_one_missing_dossier_never_opens_the_circuit() -> None:
    """The agent reads it until the request is lost."""
    breaker = CircuitBreaker()
    for _ in range(100):
        breaker.record(AnswerSignal.TARGET_MISSING, NOW, 0.5, "a")
    assert breaker.opened is None


def test_404s_without_a_dossier_count_until_any_call_succeeds() -> None:
    breaker = CircuitBreaker()
    for _ in range(20):
        for _ in range(MAX_TRUSTED_MISSING):
            breaker.record(AnswerSignal.TARGET_MISSING, NOW)
        breaker.record(AnswerSignal.HEALTHY, NOW)
    assert breaker.opened is None
    for _ in range(MAX_TRUSTED_MISSING + 1):
        breaker.record(AnswerSignal.TARGET_MISSING, NOW)
    assert breaker.opened is not None
    assert breaker.opened.cause is Cause.MISSING


def test_one_success_between_them_resets_the_count() -> None:
    breaker = CircuitBreaker()
    for number in range(36):
        breaker.record(
            AnswerSignal.TARGET_FOUND if number % 6 == 5 else AnswerSignal.TARGET_MISSING, NOW, 0.5, str(number)
        )
        breaker.record(AnswerSignal.HEALTHY, NOW)  # a list proves nothing of the account
    assert breaker.opened is None
    for number in range(MAX_TRUSTED_MISSING + 1):
        assert breaker.opened is None
        breaker.record(AnswerSignal.TARGET_MISSING, NOW, 0.5, f"more-{number}")
    assert breaker.opened is not None
