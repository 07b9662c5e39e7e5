"""Two agents on one database: one acts on the source, both are ready, and both finish `run --once`."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from agent.daemon.agent import Agent
from agent.daemon.once_result import OnceResult
from tests.support.environment import World
from tests.support.postgres_server import PostgresServer


@pytest.fixture
def database_server(postgres_server: PostgresServer) -> PostgresServer:
    return postgres_server


@contextlib.asynccontextmanager
async def pair(world: World) -> AsyncIterator[tuple[Agent, Agent]]:
    """Two agents with folders of their own, and one key. The first one has the turn of the source."""
    key = world.folder / "agent.key"
    async with (
        world.running(key_file=key) as first,
        world.running(key_file=key, state_dir=world.folder / "other-state") as second,
    ):
        yield first, second


async def test_the_agent_that_stands_by_admits_nothing_and_is_ready(world: World) -> None:
    world.capture("a")
    async with pair(world) as (first, second):
        assert not first._admission.stands_by
        assert second._admission.stands_by
        world.capture("b")
        await second.scan()
        assert set(world.records()) == {"a"}
        assert await second._health.not_ready_reason() is None
        await first.scan()
        assert set(world.records()) == {"a", "b"}
        await world.server.execute("UPDATE sources SET synced_at = synced_at - 100000", database=world.database)
        assert await second._health.not_ready_reason() == "the source cannot be read"
        assert await first._health.not_ready_reason() is None


async def test_an_agent_that_ends_leaves_the_source_to_the_other_one(world: World) -> None:
    world.capture("a")
    key = world.folder / "agent.key"
    async with world.opened(key_file=key, state_dir=world.folder / "other-state") as second:
        async with world.running(key_file=key) as first:
            assert not first._admission.stands_by
            await second.scan()
            assert second._admission.stands_by
        world.capture("b")
        await second.scan()
        assert set(world.records()) == {"a", "b"}


async def test_run_once_finishes_beside_an_agent_that_has_the_turn(world: World) -> None:
    world.capture("a")
    key = world.folder / "agent.key"
    async with world.running(key_file=key):
        finished = await world.settle(key_file=key, state_dir=world.folder / "other-state")
    assert finished == OnceResult(refused=0, withdrawals=0, unfinished=False)
