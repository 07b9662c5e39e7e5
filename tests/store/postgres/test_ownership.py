"""One agent at a time owns a database [I7]."""

import asyncio

import pytest

from agent.core.errors import Fenced, StoreLocked
from agent.store.postgres.ownership import Ownership
from agent.store.postgres.versions import versioned
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life

from .support import opened

LEASE = 15.0


async def test_replicas_live_together_and_a_copy_is_alone(database: str) -> None:
    async with opened(database) as ours:
        await Ownership(ours.persistence, LEASE).join()
        await Ownership(ours.persistence, LEASE, "command").join()
        with pytest.raises(StoreLocked, match=r"Another (agent|command) \(pid \d+\) uses the database") as caught:
            await Ownership(ours.persistence, LEASE, "copy").join()
        assert "try again in" in caught.value.hint
        await ours.pool.execute("DELETE FROM replicas")
        await Ownership(ours.persistence, LEASE, "copy").join()
        with pytest.raises(StoreLocked, match="Another copy"):
            await Ownership(ours.persistence, LEASE).join()


async def test_a_replica_that_joins_others_does_not_begin_the_delays_again(database: str) -> None:
    async with opened(database) as ours:
        await ours.pool.execute("UPDATE fleet SET since = 1000")
        other = Ownership(ours.persistence, LEASE)
        await other.join()
        assert other.running_since == 1000
        await ours.pool.execute("DELETE FROM replicas")
        first = Ownership(ours.persistence, LEASE)
        await first.join()
        assert first.running_since > 1000


async def test_a_row_is_removed_only_after_its_time_by_the_clock_of_the_server(database: str) -> None:
    """[P3]"""
    async with opened(database) as ours:
        other = Ownership(ours.persistence, LEASE)
        await other.join()
        assert await ours.persistence.ask(ours.owner.renew)
        await ours.pool.execute("UPDATE replicas SET until = now() WHERE epoch = $1", ours.owner.epoch)
        assert await ours.persistence.ask(other.renew)
        assert not await ours.persistence.ask(ours.owner.renew)


async def test_a_commit_in_progress_holds_its_row(database: str) -> None:
    """[P2] [P3] A life does not end between its check and the end of its commit. Renewals do not wait."""
    async with opened(database) as ours:
        other = Ownership(ours.persistence, LEASE)
        await other.join()
        async with ours.pool.acquire() as connection, connection.transaction():
            assert await connection.fetchval(versioned("SELECT holds_lease($1)"), ours.owner.epoch)
            await ours.pool.execute("UPDATE replicas SET until = now() WHERE epoch = $1", ours.owner.epoch)
            assert await asyncio.wait_for(ours.persistence.ask(other.renew), PATIENT)
            assert len(await ours.rows("SELECT 1 FROM replicas")) == 2
        await ours.persistence.ask(other.renew)
        assert len(await ours.rows("SELECT 1 FROM replicas")) == 1


async def test_joining_again_after_a_lost_answer_is_the_same_life(database: str) -> None:
    async with opened(database) as ours:
        await ours.owner.join()
        assert await ours.rows("SELECT count(*) FROM replicas") == [(1,)]


async def test_the_agent_learns_that_it_lost_the_database(database: str) -> None:
    async with opened(database, lease=0.3) as ours:
        lost: list[Fenced] = []
        keeping = asyncio.ensure_future(ours.owner.keep(lost.append))
        await ours.pool.execute("DELETE FROM replicas")
        await asyncio.wait_for(keeping, PATIENT)
        assert "has ended, and another one removed it" in str(lost[0])


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
        owner = Ownership(ours.persistence, LEASE, elapsed=lambda: now)
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
        owner = Ownership(ours.persistence, LEASE, elapsed=lambda: now)
        owner.epoch = ours.owner.epoch
        await owner.join()
        await ours.pool.execute("UPDATE replicas SET until = now() - interval '1 hour'")
        now = LEASE
        assert await owner.confirm()
        await Ownership(ours.persistence, LEASE).join()
        assert await ours.persistence.ask(owner.renew)


async def test_a_renewal_counts_from_its_request(database: str) -> None:
    """The process may be stopped before it reads the answer."""
    async with opened(database) as ours:
        times = iter([0.0, LEASE, LEASE, 3 * LEASE, 3 * LEASE, 3 * LEASE])
        owner = Ownership(ours.persistence, LEASE, elapsed=lambda: next(times))
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
        owner = Ownership(ours.persistence, LEASE, elapsed=lambda: now)
        owner.epoch = ours.owner.epoch
        await owner.join()
        now = LEASE
        ours.persistence.limit(0.0)
        assert not await owner.confirm()
