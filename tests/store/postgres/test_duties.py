"""Of several replicas, one does a periodic task, and one has a turn."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from agent.core.errors import Fenced
from agent.store.postgres.duties import DutyTable
from verification.builders.records import NOW

from .support import Opened, opened

TURN = "source/main"


@contextlib.asynccontextmanager
async def replicas(database: str, number: int = 3) -> AsyncIterator[list[tuple[Opened, DutyTable]]]:
    """So many replicas on one database."""
    async with contextlib.AsyncExitStack() as stack:
        lives = [await stack.enter_async_context(opened(database)) for _ in range(number)]
        yield [(one, DutyTable(one.persistence, one.owner)) for one in lives]


async def test_one_of_three_takes_a_periodic_task(database: str) -> None:
    async with replicas(database) as found:
        taken = await asyncio.gather(*(duties.take_duty("sweep", 60.0) for _, duties in found))
        assert sorted(taken) == [False, False, True]
        assert [await duties.take_duty("sweep", 60.0) for _, duties in found] == taken  # its own timer decides
        await found[0][0].pool.execute("UPDATE duties SET next_at = clock_timestamp()")
        others = [duties for (_, duties), took in zip(found, taken, strict=True) if not took]
        assert [await duties.take_duty("sweep", 60.0) for duties in others] == [True, False]


async def test_a_task_of_a_dead_replica_is_free(database: str) -> None:
    async with replicas(database, 2) as [(one, first), (_, second)]:
        assert await first.take_duty("sweep", 60.0)
        assert not await second.take_duty("sweep", 60.0)
        await one.pool.execute("DELETE FROM replicas WHERE epoch = $1", one.owner.epoch)
        assert await second.take_duty("sweep", 60.0)


async def test_a_clock_that_was_set_back_delays_no_task(database: str) -> None:
    async with replicas(database, 2) as [(one, first), (_, second)]:
        await first.take_duty("sweep", 60.0)
        await one.pool.execute("UPDATE duties SET next_at = clock_timestamp() + interval '1 day'")
        assert await second.take_duty("sweep", 60.0)


async def test_one_of_three_holds_a_turn_for_as_long_as_it_lives(database: str) -> None:
    async with replicas(database) as found:
        held = await asyncio.gather(*(duties.hold_turn(TURN) for _, duties in found))
        assert sorted(held) == [False, False, True]
        for _ in range(2):
            assert [await duties.hold_turn(TURN) for _, duties in found] == held
        holder = held.index(True)
        ended, others = found[holder], [one for number, one in enumerate(found) if number != holder]
        await ended[0].pool.execute("DELETE FROM replicas WHERE epoch = $1", ended[0].owner.epoch)
        assert [await duties.hold_turn(TURN) for _, duties in others] == [True, False]
        with pytest.raises(Fenced):
            await ended[1].hold_turn(TURN)
        with pytest.raises(Fenced):
            await ended[1].take_duty("sweep", 60.0)


async def test_a_turn_that_was_given_back_is_free(database: str) -> None:
    async with replicas(database, 2) as [(_, first), (second, other)]:
        assert await first.hold_turn(TURN)
        await other.release_turn(TURN)  # it has not got it
        assert not await other.hold_turn(TURN)
        await first.release_turn(TURN)
        assert await other.hold_turn(TURN)
        assert not await first.hold_turn(TURN)
        await second.owner.leave()
        assert await first.hold_turn(TURN)


async def test_an_image_is_missing_only_once_two_replicas_looked_for_a_minute(database: str) -> None:
    async with replicas(database, 2) as [(_, first), (_, second)]:
        for seconds in range(0, 100, 10):
            assert not await first.images_missing("uid", NOW + seconds)
        assert await second.images_missing("uid", NOW + 100)
        await first.images_found("uid")
        assert not await second.images_missing("uid", NOW + 110)


async def test_the_only_replica_decides_about_an_image_alone(database: str) -> None:
    async with replicas(database, 1) as [(_, duties)]:
        assert [await duties.images_missing("uid", NOW + seconds) for seconds in (0, 59, 60)] == [False, False, True]
        assert not await duties.images_missing("uid", NOW + 1000)  # a search of its own


async def test_a_look_of_a_dead_replica_counts_for_nothing(database: str) -> None:
    async with replicas(database, 3) as [(one, first), (_, second), _]:
        for seconds in (0, 30, 60):
            await first.images_missing("uid", NOW + seconds)
        await one.pool.execute("DELETE FROM replicas WHERE epoch = $1", one.owner.epoch)
        assert not await second.images_missing("uid", NOW + 70)
