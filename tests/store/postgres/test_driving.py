"""The claims of several replicas: one replica at a time processes a request."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agent.core.errors import Fenced
from agent.core.record import Phase
from agent.store.postgres.driving import Driving
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import Opened, opened

LATER = NOW + 1e6


@pytest.fixture
async def replicas(database: str) -> AsyncIterator[list[tuple[Opened, Driving]]]:
    async with opened(database) as one, opened(database) as two, opened(database) as three:
        yield [(replica, Driving(replica.persistence, replica.owner)) for replica in (one, two, three)]


async def admitted(replica: Opened, count: int) -> set[str]:
    uids = {f"u{number:02}" for number in range(count)}
    for uid in uids:
        await replica.commits.commit([Life(uid).until(Phase.DOSSIER).steps[0]])
    return uids


async def test_each_request_is_claimed_once(replicas: list[tuple[Opened, Driving]]) -> None:
    """[P4] Also when all replicas claim at the same time."""
    uids = await admitted(replicas[0][0], 30)
    claims = await asyncio.gather(*(driving.claim(LATER, 12, ()) for _, driving in replicas))
    claimed = [record.uid for claim in claims for record in claim]
    assert len(claimed) == len(set(claimed))
    left = [
        record.uid for _, driving in replicas for record in await driving.claim(LATER, 30, claimed, working=claimed)
    ]
    assert {*claimed, *left} == uids


async def test_a_claim_without_a_living_replica_is_free(replicas: list[tuple[Opened, Driving]]) -> None:
    """[P4] Nothing has to recover the work of a dead replica."""
    (one, first), (_, second), _ = replicas
    uids = await admitted(one, 4)
    assert {record.uid for record in await first.claim(LATER, 10, ())} == uids
    assert await second.claim(LATER, 10, ()) == []
    await one.pool.execute("DELETE FROM replicas WHERE epoch = $1", one.owner.epoch)
    assert {record.uid for record in await second.claim(LATER, 10, ())} == uids
    with pytest.raises(Fenced):
        await first.claim(LATER, 10, ())


async def test_a_replica_keeps_the_claims_of_its_work_only(replicas: list[tuple[Opened, Driving]]) -> None:
    """Also a claim whose answer was lost is released, because the replica does not work on it."""
    (one, first), (_, second), _ = replicas
    uids = await admitted(one, 4)
    await first.claim(LATER, 10, ())
    assert await first.claim(LATER, 10, uids, working=["u01"]) == []
    assert {record.uid for record in await second.claim(LATER, 10, ())} == uids - {"u01"}
    await first.release(())
    assert [record.uid for record in await second.claim(LATER, 10, (), working=uids - {"u01"})] == ["u01"]


async def test_a_wanted_request_is_claimed_before_it_is_due_unless_another_replica_has_it(
    replicas: list[tuple[Opened, Driving]],
) -> None:
    (one, first), (_, second), _ = replicas
    await admitted(one, 2)
    assert [record.uid for record in await first.claim(0.0, 10, (), wanted=["u01"])] == ["u01"]
    assert [record.uid for record in await second.claim(0.0, 10, (), wanted=["u01", "u00"])] == ["u00"]


async def test_the_next_time_counts_what_other_replicas_left(replicas: list[tuple[Opened, Driving]]) -> None:
    (one, first), (_, second), _ = replicas
    await admitted(one, 1)
    due = await first.next_due(())
    assert due is not None
    await first.claim(LATER, 10, ())
    assert await first.next_due(()) == due  # its own claim is not an obstacle
    assert await first.next_due(["u00"]) is None
    assert await second.next_due(()) is None


async def test_the_end_of_a_life_frees_its_work_at_once(replicas: list[tuple[Opened, Driving]]) -> None:
    (one, first), (_, second), _ = replicas
    uids = await admitted(one, 3)
    await first.claim(LATER, 10, ())
    await asyncio.wait_for(one.owner.leave(), PATIENT)
    assert {record.uid for record in await second.claim(LATER, 10, ())} == uids
