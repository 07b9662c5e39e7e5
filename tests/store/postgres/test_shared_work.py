"""What replicas share: the start budget, and what each notices of the others."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from unittest import mock
from uuid import UUID

import pytest

from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.ports import Command
from agent.store.postgres.replica_work import _TAKE_START
from agent.store.postgres.store import PostgresStore
from verification.builders.lives import Life
from verification.builders.records import NOW as NOW_OF_LIVES

from .support import waiting_for_a_lock

ACCOUNT = "client at https://assure.example"
DAY = 1_790_000_000.0 - 1_790_000_000.0 % 86400
NOW = DAY + 3600


@pytest.fixture
async def stores(database: str, tmp_path: Path) -> AsyncIterator[list[PostgresStore]]:
    """Three replicas on one database, each with a folder of its own."""
    found = []
    for number in range(3):
        given = Settings(state_url=database, state_dir=tmp_path / f"{number}", key_file=tmp_path / "agent.key")
        found.append(await PostgresStore.open(given, ACCOUNT))
    yield found
    for one in found:
        await one.aclose()


async def test_the_budget_is_exact_over_all_replicas(stores: list[PostgresStore]) -> None:
    takes = [one.take_start(f"u{number}", 1, DAY, 20) for number in range(30) for one in (stores[number % 3],)]
    answers = await asyncio.gather(*takes)
    assert sum(taken for taken, _ in answers) == 20
    assert max(count for _, count in answers) == 20
    today = await stores[0]._pool.fetchval("SELECT extract(epoch FROM date_trunc('day', now(), 'UTC'))::float8")
    assert await stores[1].take_start("today", 1, today, 20) == (True, 1)
    assert (await stores[0].shared_state()).starts == 1


async def test_a_start_waits_for_that_of_another_replica(stores: list[PostgresStore]) -> None:
    """[I2] Otherwise both would count the same starts, and take the last one."""
    first, second = stores[0], stores[1]
    async with first._pool.acquire() as connection, connection.transaction():
        taken = await connection.fetchrow(_TAKE_START, UUID(first.epoch), "u1", 1, DAY, 1)
        assert tuple(taken) == (True, 1)
        asked = asyncio.ensure_future(second.take_start("u2", 1, DAY, 1))
        await waiting_for_a_lock(asked, first._pool)
    assert await asked == (False, 1)


async def test_the_first_step_after_a_claim_reads_no_row(stores: list[PostgresStore]) -> None:
    """The claim has what the commit needs, although another replica wrote the row."""
    life = Life("u1")
    await stores[0].commit([life.steps[0]])
    claimed = await stores[1].claim(NOW_OF_LIVES + 1e6, 5, set())
    assert [record.uid for record in claimed] == ["u1"]
    life.goes_on()
    with mock.patch.object(stores[1]._commits, "_stored", side_effect=AssertionError("it was read")):
        await stores[1].commit([life.steps[1]])
    found = await stores[2].get("u1")
    assert found is not None
    assert found.version == life.record.version


async def test_starts_of_a_replica_without_a_limit_count(stores: list[PostgresStore]) -> None:
    assert await stores[0].take_start("u1", 1, DAY, 3) == (True, 1)
    life = Life("u2").until(Phase.RESULT)
    for step in life.steps:
        await stores[1].commit([step])
    began = NOW_OF_LIVES - NOW_OF_LIVES % 86400
    assert await stores[0].take_start("u3", 1, began, 2) == (True, 2)
    assert await stores[0].take_start("u4", 1, began, 2) == (False, 2)


async def test_a_repeated_take_is_free(stores: list[PostgresStore]) -> None:
    """The replica that took it may have ended before it committed the step."""
    assert await stores[0].take_start("u1", 1, DAY, 1) == (True, 1)
    assert await stores[1].take_start("u1", 1, DAY, 1) == (True, 1)
    assert await stores[2].take_start("u2", 1, DAY, 1) == (False, 1)
    assert await stores[2].take_start("u2", 1, DAY + 86400, 1) == (True, 1)


async def test_each_replica_sees_the_commands_and_the_other_replicas(stores: list[PostgresStore]) -> None:
    one, two, three = stores
    before = await two.shared_state()
    assert (before.replicas, before.command, before.starts) == (3, 0, None)
    await one.apply_command(Command(id="c" * 12, verb="pause"), "paused", NOW)
    await one.apply_command(Command(id="d" * 12, verb="resume"), "resumed", NOW)
    await three.aclose()
    after = await two.shared_state()
    assert (after.replicas, after.command) == (2, 2)
