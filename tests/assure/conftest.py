"""Fixtures: a scripted server, a clock that jumps, and a client between them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Operation
from tests.assure.scripted_server import ScriptedServer

PATIENT = 30.0  # seconds: longer than any test, even on a machine that is suspended for a while
HURRIED = 0.2  # of the one timeout that a test is about


@dataclass
class JumpingClock:
    time: float = 1_800_000_000.0
    confirmed: bool = True

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        raise AssertionError("the client asks for the time, and never waits")


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def observed() -> list[tuple[Operation, str]]:
    """The calls that the client reported to its observer, without the seconds."""
    return []


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as server:
        yield server


@pytest.fixture
def config(server: ScriptedServer) -> Config:
    return Config(
        base_url=server.url,
        token_url=f"{server.url}/token",
        client_id="sandbox-brave-fox-1",
        client_secret="s3cret",
        request_timeout=PATIENT,
        connect_timeout=PATIENT,
        json_limit=4096,
        image_limit=8192,
    )


@pytest.fixture
async def client(
    config: Config, clock: JumpingClock, observed: list[tuple[Operation, str]]
) -> AsyncIterator[AssureClient]:
    def observe(operation: Operation, result: str, seconds: float) -> None:
        assert seconds >= 0
        observed.append((operation, result))

    async with AssureClient(config, clock, observe) as client:
        yield client
