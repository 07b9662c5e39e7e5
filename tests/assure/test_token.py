"""The token: one renewal for all waiting calls, before the old one expires."""

import asyncio
from base64 import b64decode

import pytest

from agent.assure.token import Token, TokenSource, basic, read_token
from agent.core.answer import Answer, Busy, Done, Evidence, Refused
from agent.core.classify import HttpReply, Unreadable

from .conftest import JumpingClock


class Endpoint:
    """Counts its requests. While `gate` is open it gives the next of `answers`, then token-1, token-2, …"""

    def __init__(self, lifetime: float = 600.0) -> None:
        self.lifetime = lifetime
        self.asked = 0
        self.answers: list[Answer[Token]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Answer[Token]:
        self.asked += 1
        number = self.asked
        await self.gate.wait()
        if self.answers:
            return self.answers.pop(0)
        return Done(value=Token(value=f"token-{number}", lifetime=self.lifetime))


def value(answer: object) -> str:
    assert isinstance(answer, Done)
    assert isinstance(answer.value, Token)
    return answer.value.value


BUSY = Busy(evidence=Evidence(status=503))


async def test_all_waiting_calls_share_one_renewal(clock: JumpingClock) -> None:
    endpoint = Endpoint()
    tokens = TokenSource(endpoint, clock)
    answers = await asyncio.gather(*(tokens.get() for _ in range(64)))
    assert {value(answer) for answer in answers} == {"token-1"}
    assert endpoint.asked == 1


@pytest.mark.parametrize(("lifetime", "used_for"), [(600.0, 570.0), (100.0, 80.0), (1.0, 0.8)])
async def test_a_token_is_renewed_before_it_ends(clock: JumpingClock, lifetime: float, used_for: float) -> None:
    tokens = TokenSource(Endpoint(lifetime), clock)
    assert value(await tokens.get()) == "token-1"
    clock.time += used_for - 0.01
    assert value(await tokens.get()) == "token-1"
    clock.time += 0.02
    assert value(await tokens.get()) == "token-2"


async def test_a_token_that_expires_at_once_serves_the_waiting_calls(clock: JumpingClock) -> None:
    endpoint = Endpoint(lifetime=1.0)
    endpoint.gate.clear()
    tokens = TokenSource(endpoint, clock)
    waiting = asyncio.create_task(tokens.get())
    while not endpoint.asked:
        await asyncio.sleep(0)
    clock.time += 5
    endpoint.gate.set()
    assert value(await waiting) == "token-1"
    assert value(await tokens.get()) == "token-2"


async def test_a_clock_that_goes_back_ends_the_token(clock: JumpingClock) -> None:
    tokens = TokenSource(Endpoint(), clock)
    await tokens.get()
    clock.time -= 1
    assert value(await tokens.get()) == "token-2"


async def test_sixty_four_401s_cause_one_renewal(clock: JumpingClock) -> None:
    endpoint = Endpoint()
    tokens = TokenSource(endpoint, clock)

    async def call() -> str:
        used = value(await tokens.get())
        await asyncio.sleep(0)
        tokens.invalidate(used)
        return value(await tokens.get())

    assert set(await asyncio.gather(*(call() for _ in range(64)))) == {"token-2"}
    tokens.invalidate("token-1")  # a straggler
    assert value(await tokens.get()) == "token-2"
    assert endpoint.asked == 2


@pytest.mark.parametrize("failure", [BUSY, Refused(evidence=Evidence(status=401, cause="invalid_client"))])
async def test_a_failure_is_shared_remembered_for_a_moment_and_counts_once(
    clock: JumpingClock, failure: Busy | Refused
) -> None:
    """Issue 14.4: each of the calls that waited for one token counted its single failure."""
    endpoint, received = Endpoint(), list[object]()
    endpoint.answers = [failure]
    tokens = TokenSource(endpoint, clock, received.append)
    assert await asyncio.gather(*(tokens.get() for _ in range(64))) == [failure] * 64
    assert await tokens.get() == failure
    assert endpoint.asked == 1
    assert received == [failure]
    clock.time += 0.21
    assert value(await tokens.get()) == "token-2"


async def test_no_token_is_requested_before_the_retry_after(clock: JumpingClock) -> None:
    endpoint = Endpoint()
    endpoint.answers = [Busy(evidence=Evidence(status=429), retry_after=60)]
    tokens = TokenSource(endpoint, clock)
    await tokens.get()
    clock.time += 59
    assert isinstance(await tokens.get(), Busy)
    clock.time += 2
    assert value(await tokens.get()) == "token-2"


async def test_a_cancelled_call_does_not_cancel_the_renewal(clock: JumpingClock) -> None:
    endpoint = Endpoint()
    endpoint.gate.clear()
    tokens = TokenSource(endpoint, clock)
    first, second = (asyncio.create_task(tokens.get()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    endpoint.gate.set()
    assert value(await second) == "token-1"
    assert first.cancelled()


async def test_closing_wakes_the_waiting_calls(clock: JumpingClock) -> None:
    endpoint = Endpoint()
    endpoint.gate.clear()
    tokens = TokenSource(endpoint, clock)
    waiting = asyncio.create_task(tokens.get())
    while not endpoint.asked:
        await asyncio.sleep(0)
    await tokens.aclose()
    assert isinstance(await waiting, Busy)


def test_both_parts_are_form_urlencoded_before_basic() -> None:
    assert b64decode(basic("sandbox-brave-fox-1", "plain").removeprefix("Basic ")) == b"sandbox-brave-fox-1:plain"
    assert b64decode(basic("a:b", "c d/é%").removeprefix("Basic ")) == b"a%3Ab:c+d%2F%C3%A9%25"


GOOD = {"access_token": "a.b-c_d", "expires_in": 600, "token_type": "Bearer", "scope": "signicat-api"}


def test_a_token_is_read_and_hidden_in_repr() -> None:
    token = read_token(HttpReply(status=200, document=GOOD))
    assert token == Token(value="a.b-c_d", lifetime=600.0)
    assert "a.b" not in repr(token)
    assert read_token(HttpReply(status=200, document=GOOD | {"expires_in": 10**12})).lifetime == 3600.0


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        GOOD | {"access_token": ""},
        GOOD | {"access_token": "a\r\nX-Evil: 1"},
        GOOD | {"access_token": 5},
        GOOD | {"expires_in": 0},
        GOOD | {"expires_in": True},
        GOOD | {"expires_in": "600"},
        GOOD | {"token_type": "mac"},
        GOOD | {"token_type": None},
    ],
)
def test_a_token_answer_that_is_not_a_token_is_unreadable(document: object) -> None:
    with pytest.raises(Unreadable):
        read_token(HttpReply(status=200, document=document))
