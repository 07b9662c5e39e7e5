"""What stands before the client: what an answer says of the whole, and what is not even sent [I9]."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agent.assure.circuit_breaker import LEAST, MISSING, Cause, Opened, Seen
from agent.assure.rate_limit import Turns
from agent.assure.throttled_client import UNBELIEVED, Limited, _seen
from agent.core.answer import NEW_TOKENS_REFUSED, NOT_SENT, Answer, Busy, Done, Evidence, Refused, Trouble, Unknown
from agent.core.assure_types import ListedDossier
from tests.support.clock import VirtualClock, until

GONE = Refused(evidence=Evidence(status=404, cause="error-body"))
NO_PATH = Busy(evidence=Evidence(status=404, cause="no-such-path"))
DOWN = Unknown(evidence=Evidence(status=503, cause="server-error"))
FINE: Done[Any] = Done(value=())


@pytest.mark.parametrize(
    ("answer", "target", "gone", "seen"),
    [
        (Done(value="D1"), None, False, Seen.WELL),
        (Done(value=None), "D1", False, Seen.TARGET),
        (Done(value=None), "D1", True, Seen.TARGET),
        (GONE, "D1", False, Seen.MISSING),
        (GONE, "D1", True, Seen.WELL),  # a deletion's confirmation
        (NO_PATH, None, False, Seen.MISSING),
        (Refused(evidence=Evidence(status=400, cause="error-body")), "D1", False, Seen.WELL),
        (Refused(evidence=Evidence(cause="bad-id")), "D1", False, Seen.NOTHING),
        (Refused(evidence=Evidence(status=401, cause="invalid_client")), "D1", False, Seen.NOTHING),
        (Unknown(evidence=Evidence(status=400, cause="error-body")), "D1", False, Seen.WELL),  # "already started"
        (Unknown(evidence=Evidence(status=404, cause="error-body")), "D1", False, Seen.MISSING),
        (Unknown(evidence=Evidence(status=404, cause="foreign-body")), "D1", False, Seen.OUTAGE),
        (Unknown(evidence=Evidence(status=200, cause="unreadable")), "D1", False, Seen.NOTHING),  # a surprise is held
        (Unknown(evidence=Evidence(trouble=Trouble.TIMEOUT)), "D1", False, Seen.OUTAGE),
        (DOWN, None, False, Seen.OUTAGE),
        (Busy(evidence=Evidence(status=429, cause="not-now")), "D1", False, Seen.OUTAGE),
        (Busy(evidence=Evidence(trouble=Trouble.CONNECT)), "D1", False, Seen.OUTAGE),
        (Busy(evidence=Evidence(trouble=Trouble.NO_TOKEN)), "D1", False, Seen.NOTHING),  # the token endpoint's
        (Busy(evidence=Evidence(status=503, trouble=Trouble.NO_TOKEN)), "D1", False, Seen.NOTHING),
        (Busy(evidence=Evidence(status=401, cause="unauthorized")), "D1", False, Seen.OUTAGE),  # of a revoked token
        (Busy(evidence=Evidence(status=401, cause=NEW_TOKENS_REFUSED)), "D1", False, Seen.UNACCEPTED),
        (Busy(evidence=Evidence(status=403, cause="forbidden")), None, False, Seen.FORBIDDEN),
        (Refused(evidence=Evidence(status=403, cause="error-body")), "D1", False, Seen.FORBIDDEN),
        (Unknown(evidence=Evidence(status=403, cause="foreign-body")), "D1", False, Seen.OUTAGE),  # of a proxy
    ],
)
def test_what_an_answer_says_of_the_whole(answer: Answer[Any], target: str | None, gone: bool, seen: Seen) -> None:
    assert _seen(answer, target, gone) is seen


class Scripted:
    """A remote that answers every call as it is told, and counts them."""

    def __init__(self, answer: Answer[Any]) -> None:
        self.answer = answer
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Answer[Any]]]:
        async def call(*_: object) -> Answer[Any]:
            self.calls.append(name)
            return self.answer

        return call


def limited(answer: Answer[Any], clock: VirtualClock, rate: float = 0.0) -> tuple[Limited, Scripted, list[Any]]:
    remote, told = Scripted(answer), list[Opened | None]()
    ours = "aa-tests-".__eq__
    return Limited(remote, Turns(rate, clock), clock, lambda: 0.999, ours, told.append), remote, told  # type: ignore[arg-type]


async def test_while_it_is_open_nothing_is_sent_and_what_was_asked_for_is_busy() -> None:
    """[I2] It certainly did not happen."""
    async with VirtualClock() as clock:
        remote, sent, told = limited(DOWN, clock)
        for _ in range(LEAST):
            await remote.read_dossier("D1")
        assert remote.shut(clock.now())
        assert remote.room(clock.now()) == 0
        answer = await remote.start_verification("D1", "P1")
        assert answer == Busy(evidence=Evidence(cause=NOT_SENT))
        assert sent.calls == ["read_dossier"] * LEAST
        assert [opened.cause for opened in told] == [Cause.OUTAGE]


async def test_the_404_that_opens_the_circuit_is_not_believed_nor_are_those_that_were_under_way() -> None:
    """[I1]"""
    async with VirtualClock() as clock:
        remote, _, _ = limited(GONE, clock)
        answers = [await remote.read_dossier(f"D{number}") for number in range(MISSING + 1)]
        assert answers[:-1] == [GONE] * MISSING
        assert isinstance(answers[-1], Busy)
        assert answers[-1].evidence.cause == UNBELIEVED


async def test_404s_without_a_dossier_open_the_circuit_until_a_list_is_answered() -> None:
    """[I1] Where nothing was ever created there is nothing of ours to be seen again."""
    async with VirtualClock() as clock:
        remote, sent, told = limited(NO_PATH, clock)
        guard = asyncio.create_task(remote.guard())
        answers = [await remote.create_dossier(f"R{number}") for number in range(MISSING + 1)]
        assert answers == [NO_PATH] * (MISSING + 1)
        assert [opened.cause for opened in told] == [Cause.MISSING]
        await until(lambda: len(sent.calls) >= MISSING + 4)
        assert set(sent.calls[MISSING + 1 :]) == {"list_dossiers"}
        sent.answer = FINE
        await until(lambda: told[-1] is None)
        guard.cancel()


async def test_probes_come_ever_less_often_and_the_first_that_is_answered_closes_it() -> None:
    async with VirtualClock() as clock:
        remote, sent, told = limited(DOWN, clock)
        guard = asyncio.create_task(remote.guard())
        for _ in range(LEAST):
            await remote.read_dossier("D1")
        began = clock.now()
        await until(lambda: len(sent.calls) == LEAST + 16)
        assert sent.calls[LEAST:] == ["list_dossiers", "list_processes"] * 8
        assert 1 + 2 + 4 + 8 + 16 + 32 + 60 <= clock.now() - began + 1 <= 1 + 2 + 4 + 8 + 16 + 32 + 60 + 62
        sent.answer = FINE
        await until(lambda: told[-1] is None)
        assert not remote.shut(clock.now())
        guard.cancel()


async def test_a_dossier_of_ours_in_the_list_proves_the_account() -> None:
    async with VirtualClock() as clock:
        remote, sent, told = limited(GONE, clock)
        guard = asyncio.create_task(remote.guard())
        for number in range(MISSING + 1):
            await remote.read_dossier(f"D{number}")
        await until(lambda: len(sent.calls) >= MISSING + 3)
        assert told[-1] is not None
        sent.answer = Done(value=(ListedDossier(dossier_id="D9", reference="theirs"),))
        asked = len(sent.calls)
        sent.answer = Done(value=(ListedDossier(dossier_id="D9", reference="aa-tests-"),))
        await until(lambda: told[-1] is None)
        assert len(sent.calls) <= asked + 2
        guard.cancel()


async def test_a_pause_that_was_asked_for_is_kept_by_all_and_told_to_who_asks_meanwhile() -> None:
    async with VirtualClock() as clock:
        clock.hold()
        remote, sent, _ = limited(Busy(evidence=Evidence(status=429), retry_after=7.0), clock)
        await remote.read_dossier("D1")
        answer = await remote.create_dossier("R")
        assert answer == Busy(evidence=Evidence(cause=NOT_SENT), retry_after=7.0)
        assert remote.opens_at(clock.now()) == clock.now() + 7
        assert sent.calls == ["read_dossier"]


async def test_who_waits_for_a_turn_while_the_circuit_opens_is_not_sent() -> None:
    async with VirtualClock() as clock:
        remote, sent, _ = limited(DOWN, clock, rate=4)
        answers = await asyncio.gather(*(remote.read_dossier("D1") for _ in range(LEAST + 5)))
        assert len(sent.calls) == LEAST
        assert [answer.evidence.cause for answer in answers[LEAST:]] == [NOT_SENT] * 5
