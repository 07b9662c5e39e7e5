"""The throttle around the client: answers that concern the whole account, and calls that are not sent [I9]."""

import asyncio
from typing import Any

import pytest

from agent.assure.answer_signal import AnswerSignal, signal_of
from agent.assure.circuit_breaker import MAX_TRUSTED_MISSING, MIN_ANSWERS, Cause
from agent.assure.throttle import LIST_ATTEMPTS, MISSING_NOT_TRUSTED
from agent.core.answer import (
    NEW_TOKENS_REFUSED,
    NOT_SENT,
    Answer,
    Busy,
    Done,
    Evidence,
    Refused,
    Trouble,
    Unknown,
)
from agent.core.assure_types import ListedDossier
from tests.assure.throttled import limited
from tests.support.clock import VirtualClock, until

GONE = Refused(evidence=Evidence(status=404, cause="error-body"))
NO_PATH = Busy(evidence=Evidence(status=404, cause="no-such-path"))
DOWN = Unknown(evidence=Evidence(status=503, cause="server-error"))
FINE: Done[Any] = Done(value=())


@pytest.mark.parametrize(
    ("answer", "target", "gone", "seen"),
    [
        (Done(value="D1"), None, False, AnswerSignal.HEALTHY),
        (Done(value=None), "D1", False, AnswerSignal.TARGET_FOUND),
        (Done(value=None), "D1", True, AnswerSignal.TARGET_FOUND),
        (GONE, "D1", False, AnswerSignal.TARGET_MISSING),
        (GONE, "D1", True, AnswerSignal.HEALTHY),  # a deletion's confirmation
        (NO_PATH, None, False, AnswerSignal.TARGET_MISSING),
        (Refused(evidence=Evidence(status=400, cause="error-body")), "D1", False, AnswerSignal.HEALTHY),
        (Refused(evidence=Evidence(cause="bad-id")), "D1", False, AnswerSignal.NEUTRAL),
        (
            Busy(evidence=Evidence(status=401, trouble=Trouble.NO_TOKEN, cause="invalid_client")),
            "D1",
            False,
            AnswerSignal.NEUTRAL,
        ),
        (
            Unknown(evidence=Evidence(status=400, cause="error-body")),
            "D1",
            False,
            AnswerSignal.HEALTHY,
        ),  # "already started"
        (Unknown(evidence=Evidence(status=404, cause="error-body")), "D1", False, AnswerSignal.TARGET_MISSING),
        (Unknown(evidence=Evidence(status=404, cause="foreign-body")), "D1", False, AnswerSignal.OUTAGE),
        (
            Unknown(evidence=Evidence(status=200, cause="unreadable")),
            "D1",
            False,
            AnswerSignal.NEUTRAL,
        ),  # a surprise is held
        (Unknown(evidence=Evidence(trouble=Trouble.TIMEOUT)), "D1", False, AnswerSignal.OUTAGE),
        (DOWN, None, False, AnswerSignal.OUTAGE),
        (Busy(evidence=Evidence(status=429, cause="not-now")), "D1", False, AnswerSignal.OUTAGE),
        (Busy(evidence=Evidence(trouble=Trouble.CONNECT)), "D1", False, AnswerSignal.OUTAGE),
        (Busy(evidence=Evidence(trouble=Trouble.NO_TOKEN)), "D1", False, AnswerSignal.NEUTRAL),  # the token endpoint's
        (Busy(evidence=Evidence(status=503, trouble=Trouble.NO_TOKEN)), "D1", False, AnswerSignal.NEUTRAL),
        (
            Busy(evidence=Evidence(status=401, cause="unauthorized")),
            "D1",
            False,
            AnswerSignal.OUTAGE,
        ),  # of a revoked token
        (Busy(evidence=Evidence(status=401, cause=NEW_TOKENS_REFUSED)), "D1", False, AnswerSignal.CLIENT_REJECTED),
        (Busy(evidence=Evidence(status=403, cause="forbidden")), None, False, AnswerSignal.FORBIDDEN),
        (Refused(evidence=Evidence(status=403, cause="error-body")), "D1", False, AnswerSignal.FORBIDDEN),
        (Unknown(evidence=Evidence(status=403, cause="foreign-body")), "D1", False, AnswerSignal.OUTAGE),  # of a proxy
    ],
)
def test_effects_of_an_answer_on_the_whole_account(
    answer: Answer[Any], target: str | None, gone: bool, seen: AnswerSignal
) -> None:
    assert signal_of(answer, target, gone) is seen


@pytest.mark.parametrize(
    ("answer", "attempts"), [(FINE, 1), (DOWN, LIST_ATTEMPTS), (Busy(evidence=Evidence(status=404)), 1)]
)
async def test_a_list_that_fails_is_read_again_at_once(answer: Answer[Any], attempts: int) -> None:
    async with VirtualClock() as clock:
        remote, sent, _ = limited(answer, clock)
        assert await remote.list_dossiers() == answer
        assert sent.calls == ["list_dossiers"] * attempts


async def test_while_the_circuit_is_open_nothing_is_sent_and_calls_are_busy() -> None:
    """[I2] The call certainly had no effect."""
    async with VirtualClock() as clock:
        remote, sent, reported = limited(DOWN, clock)
        for _ in range(MIN_ANSWERS):
            await remote.read_dossier("D1")
        assert remote.is_closed(clock.now())
        assert remote.capacity(clock.now()) == 0
        answer = await remote.start_verification("D1", "P1")
        assert answer == Busy(evidence=Evidence(cause=NOT_SENT))
        assert sent.calls == ["read_dossier"] * MIN_ANSWERS
        assert [opened.cause for opened in reported] == [Cause.OUTAGE]


async def test_the_404_that_opens_the_circuit_and_those_in_flight_are_not_trusted() -> None:
    """[I1]"""
    async with VirtualClock() as clock:
        remote, _, _ = limited(GONE, clock)
        answers = [await remote.read_dossier(f"D{number}") for number in range(MAX_TRUSTED_MISSING + 1)]
        assert answers[:-1] == [GONE] * MAX_TRUSTED_MISSING
        assert isinstance(answers[-1], Busy)
        assert answers[-1].evidence.cause == MISSING_NOT_TRUSTED


async def test_404s_without_a_dossier_open_the_circuit_until_a_list_is_answered() -> None:
    """[I1] Before the first dossier, no probe can find one of this agent."""
    async with VirtualClock() as clock:
        remote, sent, reported = limited(NO_PATH, clock)
        guard = asyncio.create_task(remote.run_probes())
        answers = [await remote.create_dossier(f"R{number}") for number in range(MAX_TRUSTED_MISSING + 1)]
        assert answers == [NO_PATH] * (MAX_TRUSTED_MISSING + 1)
        assert [opened.cause for opened in reported] == [Cause.MISSING]
        await until(lambda: len(sent.calls) >= MAX_TRUSTED_MISSING + 4)
        assert set(sent.calls[MAX_TRUSTED_MISSING + 1 :]) == {"list_dossiers"}
        sent.answer = FINE
        await until(lambda: reported[-1] is None)
        guard.cancel()


async def test_probes_become_rarer_and_the_first_success_closes_the_circuit() -> None:
    async with VirtualClock() as clock:
        remote, sent, reported = limited(DOWN, clock)
        guard = asyncio.create_task(remote.run_probes())
        for _ in range(MIN_ANSWERS):
            await remote.read_dossier("D1")
        began = clock.now()
        await until(lambda: len(sent.calls) == MIN_ANSWERS + 16)
        assert sent.calls[MIN_ANSWERS:] == ["list_dossiers", "list_processes"] * 8
        assert 1 + 2 + 4 + 8 + 16 + 32 + 60 <= clock.now() - began + 1 <= 1 + 2 + 4 + 8 + 16 + 32 + 60 + 62
        sent.answer = FINE
        await until(lambda: reported[-1] is None)
        assert not remote.is_closed(clock.now())
        guard.cancel()


async def test_a_dossier_of_this_agent_in_the_list_proves_the_account() -> None:
    async with VirtualClock() as clock:
        remote, sent, reported = limited(GONE, clock)
        guard = asyncio.create_task(remote.run_probes())
        for number in range(MAX_TRUSTED_MISSING + 1):
            await remote.read_dossier(f"D{number}")
        await until(lambda: len(sent.calls) >= MAX_TRUSTED_MISSING + 3)
        assert reported[-1] is not None
        sent.answer = Done(value=(ListedDossier(dossier_id="D9", reference="theirs"),))
        asked = len(sent.calls)
        sent.answer = Done(value=(ListedDossier(dossier_id="D9", reference="aa-tests-"),))
        await until(lambda: reported[-1] is None)
        assert len(sent.calls) <= asked + 2
        guard.cancel()


async def test_a_requested_pause_applies_to_all_and_is_reported_to_callers() -> None:
    async with VirtualClock() as clock:
        clock.hold()
        remote, sent, _ = limited(Busy(evidence=Evidence(status=429), retry_after=7.0), clock)
        await remote.read_dossier("D1")
        answer = await remote.create_dossier("R")
        assert answer == Busy(evidence=Evidence(cause=NOT_SENT), retry_after=7.0)
        assert remote.opens_at(clock.now()) == clock.now() + 7
        assert sent.calls == ["read_dossier"]


async def test_a_call_that_waits_for_the_rate_limit_while_the_circuit_opens_is_not_sent() -> None:
    async with VirtualClock() as clock:
        remote, sent, _ = limited(DOWN, clock, rate=4)
        answers = await asyncio.gather(*(remote.read_dossier("D1") for _ in range(MIN_ANSWERS + 5)))
        assert len(sent.calls) == MIN_ANSWERS
        assert [answer.evidence.cause for answer in answers[MIN_ANSWERS:]] == [NOT_SENT] * 5
