from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from agent.sandbox import SandboxServer
from tests.support.timeouts import PATIENT

from .receiver import Receiver
from .support import Api, Clock, Sleeper, config

Begin = Callable[..., Awaitable[Api]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sleeper() -> Sleeper:
    return Sleeper()


@pytest.fixture
async def begin(clock: Clock, sleeper: Sleeper) -> AsyncIterator[Begin]:
    """Start a simulator with the given switches, and a client with a token."""
    async with AsyncExitStack() as stack:

        async def start(**switches: Any) -> Api:
            server = await stack.enter_async_context(SandboxServer(config(**switches), clock=clock, sleep=sleeper))
            limits = httpx.Limits(max_connections=4)
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, limits=limits, trust_env=False, timeout=PATIENT)
            )
            api = Api(server, http, clock)
            await api.log_in()
            return api

        yield start


@pytest.fixture
async def api(begin: Begin) -> Api:
    return await begin()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver
