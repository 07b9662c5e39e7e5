"""One agent at a time owns a database [I7]."""

import asyncio

import pytest

from agent.core.errors import StoreLocked
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.ownership import LEASE, Ownership
from agent.store.postgres.persistence import Persistence
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life

from .support import opened


async def test_a_second_agent_is_refused_until_the_first_leaves(database: str) -> None:
    async with opened(database) as ours:
        other = Ownership(ours.persistence)
        with pytest.raises(StoreLocked, match=r"Another agent \(pid \d+\) uses the database") as caught:
            await other.join()
        assert "try again in" in caught.value.hint
        await ours.owner.leave()
        await other.join()
        assert not await ours.persistence.ask(ours.owner.renew)


async def test_of_many_that_join_at_once_one_owns_the_database(database: str) -> None:
    pools = [await open_pool(Server.parse(database)) for _ in range(3)]
    owners = [Ownership(Persistence(pools[number % 3], "db")) for number in range(9)]
    answers = await asyncio.gather(*(owner.join() for owner in owners), return_exceptions=True)
    assert [type(answer) for answer in answers].count(StoreLocked) == 8
    for pool in pools:
        await pool.close()


async def test_a_killed_agent_is_replaced_after_its_time(database: str) -> None:
    async with opened(database, lease=1.0) as ours:
        other = Ownership(ours.persistence)
        with pytest.raises(StoreLocked):
            await other.join()
        await asyncio.wait_for(other.join(patient=True), PATIENT)
        assert not await ours.persistence.ask(ours.owner.renew)


async def test_joining_again_after_a_lost_answer_is_the_same_life(database: str) -> None:
    async with opened(database) as ours:
        await ours.owner.join()
        assert await ours.rows("SELECT count(*) FROM replicas") == [(1,)]


async def test_a_commit_in_progress_is_waited_for(database: str) -> None:
    """An agent is not replaced between the check of its life and the end of its commit."""
    async with opened(database) as ours:
        other = Ownership(ours.persistence)
        async with ours.pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM replicas FOR KEY SHARE")
            await ours.pool.execute("UPDATE replicas SET until = now()")
            joining = asyncio.ensure_future(other.join())
            await asyncio.sleep(0.2)
            assert not joining.done()
        await asyncio.wait_for(joining, PATIENT)


async def test_the_agent_learns_that_it_lost_the_database(database: str) -> None:
    async with opened(database, lease=0.3) as ours:
        lost: list[StoreLocked] = []
        keeping = asyncio.ensure_future(ours.owner.keep(lost.append))
        await ours.pool.execute("DELETE FROM replicas")
        await asyncio.wait_for(keeping, PATIENT)
        assert "Another agent has taken the database" in str(lost[0])


async def test_an_owner_that_renews_is_alive(database: str) -> None:
    """A new agent need not wait for the end of its lease."""
    async with opened(database, lease=3600.0) as ours:
        other = Ownership(ours.persistence)
        joining = asyncio.ensure_future(other.join(patient=True))
        async with asyncio.timeout(PATIENT):
            while not joining.done():
                await ours.persistence.ask(ours.owner.renew)
                await asyncio.sleep(0.05)
        with pytest.raises(StoreLocked, match=r"Another agent \(pid \d+\) uses the database") as caught:
            joining.result()
        assert "killed" not in caught.value.hint


async def test_a_kept_life_lasts_longer_than_its_lease(database: str) -> None:
    async with opened(database, lease=1.0) as ours:
        keeping = asyncio.ensure_future(ours.owner.keep(lambda error: None))
        begun = await ours.rows("SELECT until FROM replicas")
        while await ours.rows("SELECT until FROM replicas") == begun:
            await asyncio.sleep(0.05)
        keeping.cancel()


async def test_a_life_is_confirmed_without_the_server_while_no_other_agent_can_join(database: str) -> None:
    async with opened(database) as ours:
        now = 0.0
        owner = Ownership(ours.persistence, elapsed=lambda: now)
        owner.epoch = ours.owner.epoch
        await owner.join()
        await ours.pool.execute("DELETE FROM replicas")
        now = 0.8 * LEASE - 0.01
        assert await owner.confirm()
        now = 0.8 * LEASE
        assert not await owner.confirm()


async def test_a_life_that_may_have_ended_is_renewed_before_it_is_confirmed(database: str) -> None:
    async with opened(database) as ours:
        now = 0.0
        owner = Ownership(ours.persistence, elapsed=lambda: now)
        owner.epoch = ours.owner.epoch
        await owner.join()
        await ours.pool.execute("UPDATE replicas SET until = now() - interval '1 hour'")
        now = LEASE
        assert await owner.confirm()
        with pytest.raises(StoreLocked):
            await Ownership(ours.persistence).join()


async def test_a_renewal_counts_from_its_request(database: str) -> None:
    """The process may be stopped before it reads the answer."""
    async with opened(database) as ours:
        times = iter([0.0, LEASE, LEASE, 3 * LEASE, 3 * LEASE, 3 * LEASE])
        owner = Ownership(ours.persistence, elapsed=lambda: next(times))
        owner.epoch = ours.owner.epoch
        await owner.join()
        assert await owner.confirm()
        assert next(times, None) is None


async def test_after_its_end_a_life_has_moved_no_record(database: str) -> None:
    """Its rows have other versions because another agent works on them. That is no bug to report."""
    async with opened(database) as ours:
        life = Life()
        await ours.commits.commit([life.steps[0]])
        await ours.owner.leave()
        async with opened(database) as other:
            life.goes_on()
            await other.commits.commit([life.steps[1]])
            ours.commits.forget()
            with pytest.raises(StoreLocked):
                await ours.commits.commit([life.steps[1]])


async def test_a_server_that_stays_away_confirms_nothing(database: str) -> None:
    async with opened(database) as ours:
        now = 0.0
        owner = Ownership(ours.persistence, elapsed=lambda: now)
        owner.epoch = ours.owner.epoch
        await owner.join()
        now = LEASE
        ours.persistence.limit(0.0)
        assert not await owner.confirm()
