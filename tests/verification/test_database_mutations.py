"""The tests of the database's rules are sensitive: each rule that is broken makes one of them fail [P1 to P10]."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from agent.platform.settings import Settings
from agent.store.postgres.commits import Commits
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.driving import Driving
from agent.store.postgres.store import PostgresStore
from tests.store.postgres import (
    test_circuit,
    test_commits,
    test_driving,
    test_duties,
    test_lost_answers,
    test_ownership,
    test_shared_work,
)
from tests.store.postgres.support import opened
from tests.support.cutting_proxy import Cut
from tests.support.postgres_server import PostgresServer, database
from verification.database_mutations import DATABASE_MUTATIONS, mutate_database

__all__ = ["database"]
ENOUGH = 5.0  # seconds: a proof that takes longer under a mutation has noticed it

Proof = Callable[[str, Path], Awaitable[None]]


def plain(test: Callable[[str], Awaitable[None]]) -> Proof:
    """A test that needs a database."""
    return lambda url, folder: test(url)


def of_driving(test: Callable[[Any], Awaitable[None]]) -> Proof:
    """A test that needs three replicas with claims."""

    async def proof(url: str, folder: Path) -> None:
        async with opened(url) as one, opened(url) as two, opened(url) as three:
            await test([(each, Driving(each.persistence, each.owner)) for each in (one, two, three)])

    return proof


@contextlib.asynccontextmanager
async def stores(url: str, folder: Path) -> AsyncIterator[list[PostgresStore]]:
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(3):
            given = Settings(state_url=url, state_dir=folder / f"{number}", key_file=folder / "agent.key")
            found.append(await PostgresStore.open(given, test_shared_work.ACCOUNT))
            stack.push_async_callback(found[-1].aclose)
        yield found


async def budget(url: str, folder: Path) -> None:
    async with stores(url, folder) as found:
        await test_shared_work.test_a_start_waits_for_that_of_another_replica(found)


async def probe(url: str, folder: Path) -> None:
    async with stores(url, folder) as found:
        clock = test_circuit.HandClock()
        await test_circuit.test_a_due_probe_is_taken_once([test_circuit.Replica(one, clock) for one in found])


REMOVAL = plain(test_ownership.test_a_row_is_removed_only_after_its_time_by_the_clock_of_the_server)
CLAIMS = of_driving(test_driving.test_a_claim_without_a_living_replica_is_free)
PROOFS: dict[str, Proof] = {
    "a-write-does-not-check-the-lease": plain(test_commits.test_an_agent_that_lost_the_store_writes_nothing),
    "a-write-does-not-lock-the-lease": plain(test_ownership.test_a_commit_in_progress_holds_its_row),
    "living-replicas-are-removed": plain(
        test_ownership.test_a_row_is_removed_only_after_its_time_by_the_clock_of_the_server
    ),
    "ended-replicas-stay": REMOVAL,
    "claims-end-with-time": CLAIMS,
    "claims-of-the-dead-count": CLAIMS,
    "the-journal-is-not-locked": plain(test_commits.test_a_commit_waits_for_the_numbers_of_another),
    "versions-are-not-compared": plain(test_commits.test_two_writers_of_one_request_cannot_both_win),
    "delays-begin-again-at-each-join": plain(
        test_ownership.test_a_replica_that_joins_others_does_not_begin_the_delays_again
    ),
    "the-budget-is-not-locked": budget,
    "a-turn-moves-while-its-holder-lives": plain(test_duties.test_one_of_three_holds_a_turn_for_as_long_as_it_lives),
    "each-replica-does-each-duty": plain(test_duties.test_one_of_three_takes_a_periodic_task),
    "another-timeline-is-written": plain(test_commits.test_nothing_is_committed_on_another_timeline),
    "each-replica-probes": probe,
}


async def notices(proof: Awaitable[None]) -> bool:
    """True if the proof fails, or takes too long."""
    try:
        await asyncio.wait_for(proof, ENOUGH)
    except (Exception, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("mutation", DATABASE_MUTATIONS)
async def test_a_broken_rule_of_the_database_is_noticed(mutation: str, database: str, tmp_path: Path) -> None:
    pool = await open_pool(Server.parse(database), 1)
    await mutate_database(pool, mutation)
    await pool.close()
    assert await notices(PROOFS[mutation](database, tmp_path))


@pytest.mark.parametrize("proof", [CLAIMS, budget, probe])
async def test_an_intact_database_is_not_accused(proof: Proof, database: str, tmp_path: Path) -> None:
    """The other proofs are tests."""
    await proof(database, tmp_path)


async def test_a_lost_answer_that_counts_as_failed_is_noticed(postgres_server: PostgresServer, database: str) -> None:
    """[P10] The step is in the database, and its caller gets an error."""
    with mock.patch.object(Commits, "_is_written", mock.AsyncMock(return_value=False)):
        assert await notices(test_lost_answers.test_every_step_is_written_once(postgres_server, database, [Cut.ANSWER]))


async def test_a_lost_answer_that_counts_as_done_is_noticed(postgres_server: PostgresServer, database: str) -> None:
    """[P10] Another replica has written another step."""
    with mock.patch.object(Commits, "_is_written", mock.AsyncMock(return_value=True)):
        proof = test_lost_answers.test_a_lost_question_does_not_hide_the_step_of_another_writer
        assert await notices(proof(postgres_server, database))
