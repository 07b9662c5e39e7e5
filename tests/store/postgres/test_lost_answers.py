"""A commit whose question or answer is lost is done exactly once, and the caller learns of no failure [I4, I5]."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

import pytest

from agent.core.errors import Moved, StoreError
from agent.core.observations import PersonalDataDisclosed
from agent.core.record import Phase
from agent.ports import Command, Receipt
from agent.store.postgres.connect import Server
from tests.support.cutting_proxy import Cut, CuttingProxy, cutting_proxy
from tests.support.postgres_server import PostgresServer
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import Opened, opened


@contextlib.asynccontextmanager
async def behind_proxy(
    server: PostgresServer, url: str, connections: int = 4
) -> AsyncIterator[tuple[Opened, CuttingProxy]]:
    """An agent that reaches its database through the proxy, with statements that are prepared."""
    name = Server.parse(url).database
    async with cutting_proxy(server.socket()) as proxy:
        address = f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
        async with opened(address) as ours:
            yield ours, proxy


async def committed_while(ours: Opened, proxy: CuttingProxy, *cuts: Cut) -> Life:
    """A life whose every step is cut like this at its first send."""
    life = Life()
    await ours.commits.commit([life.steps[0]])
    for cut in itertools.cycle(cuts):
        if life.record.phase is Phase.DONE:
            return life
        life.goes_on()
        proxy.cut(cut)
        await asyncio.wait_for(ours.commits.commit([life.steps[-1]]), PATIENT)
        await ours.commits.commit([], Receipt(digest="d", at=NOW, forget_before=0))  # prepares the statement again
    raise AssertionError


@pytest.mark.parametrize("cuts", [[Cut.QUESTION], [Cut.ANSWER], [Cut.ANSWER, Cut.QUESTION]], ids=str)
async def test_every_step_is_written_once(postgres_server: PostgresServer, database: str, cuts: list[Cut]) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        life = await committed_while(ours, proxy, *cuts)
        assert proxy.pending == 0
        events = sum(len(step.events) for step in life.steps)
        assert await ours.rows("SELECT count(*) FROM events") == [(events,)]
        assert await ours.rows("SELECT version FROM requests") == [(life.record.version,)]
        assert await ours.rows("SELECT sum(value) FROM counters WHERE counter = 'start'") == [(1,)]
        await ours.counted()


async def test_a_step_that_arrives_after_its_repetition_changes_nothing(
    postgres_server: PostgresServer, database: str
) -> None:
    """A pooler or a network may deliver late. The late statement finds another version, or the inserted row."""
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        await ours.commits.commit([Life("u0").steps[0]])
        life = Life("u1")
        for _ in range(4):
            proxy.cut(Cut.LATE)
            await asyncio.wait_for(ours.commits.commit([life.steps[-1]]), PATIENT)
            await ours.commits.commit([], Receipt(digest="d", at=NOW, forget_before=0))
            life.goes_on()
        written = await ours.rows("SELECT * FROM events ORDER BY id")
        proxy.release()
        while proxy.late < 4:
            await asyncio.sleep(0.01)
        assert await ours.rows("SELECT * FROM events ORDER BY id") == written
        await ours.counted()


async def test_a_group_of_many_whose_answer_is_lost_is_written_once(
    postgres_server: PostgresServer, database: str
) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        lives = [Life(f"u{number}") for number in range(30)]
        await asyncio.gather(*(ours.commits.commit([life.steps[0]]) for life in lives))
        for _ in range(6):
            proxy.cut(Cut.ANSWER)
            for life in lives:
                life.goes_on()
            await asyncio.gather(*(ours.commits.commit([life.steps[-1]]) for life in lives))
        assert await ours.rows("SELECT count(*) FROM events") == [
            (sum(len(s.events) for life in lives for s in life.steps),)
        ]
        await ours.counted()


@pytest.mark.parametrize("uid", [None, "u1"])
async def test_a_command_whose_answer_is_lost_is_applied_once(
    postgres_server: PostgresServer, database: str, uid: str | None
) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        life = Life("u1")
        await ours.commits.commit([life.steps[0]])
        await ours.commits.apply_command(Command(id="c1", verb="pause"), "", NOW)
        await ours.rows("SELECT 1")
        proxy.cut(Cut.ANSWER)
        await ours.commits.apply_command(Command(id="c2", verb="retry", uid=uid), "", NOW)
        assert await ours.rows("SELECT number, id FROM commands ORDER BY number") == [(1, "c1"), (2, "c2")]
        await ours.counted()


async def test_an_outage_delays_commits_and_loses_none(postgres_server: PostgresServer, database: str) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        life = Life()
        await ours.commits.commit([life.steps[0]])
        proxy.refuse(True)
        life.goes_on()
        task = asyncio.ensure_future(ours.commits.commit([life.steps[-1]]))
        while not ours.persistence.away:
            await asyncio.sleep(0.01)
        assert not task.done()
        proxy.refuse(False)
        await asyncio.wait_for(task, PATIENT)
        assert not ours.persistence.away
        await ours.counted()


async def test_closing_during_an_outage_ends_the_callers(postgres_server: PostgresServer, database: str) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        proxy.refuse(True)
        tasks = [asyncio.ensure_future(ours.commits.commit([Life(f"u{number}").steps[0]])) for number in range(3)]
        while not ours.persistence.away:
            await asyncio.sleep(0.01)
        await ours.commits.close(patience=0.01)
        answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), PATIENT)
        assert {type(answer) for answer in answers} == {StoreError}


async def test_sessions_that_the_operator_ends_cost_nothing(database: str) -> None:
    """A failover and a restart end sessions like this."""
    async with opened(database) as ours, opened(database, epoch=ours.owner.epoch) as operator:
        ending, ended = True, list[int]()

        async def end_sessions() -> None:
            while ending:
                rows = await operator.pool.fetch(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
                        AND pid <> pg_backend_pid() AND query LIKE 'SELECT * FROM commit_batch%'
                    """
                )
                ended.append(len(rows))
                await asyncio.sleep(0.1)

        async def lives(number: int) -> None:
            life = Life(f"u{number}").until(Phase.DONE)
            for step in life.steps:
                await ours.commits.commit([step])

        task = asyncio.ensure_future(end_sessions())
        await asyncio.gather(*(lives(number) for number in range(30)))
        ending = False
        await task
        assert sum(ended) > 0
        assert await ours.rows("SELECT count(*) FROM requests WHERE phase = 'done'") == [(30,)]
        await ours.counted()


async def test_a_lost_question_does_not_hide_the_step_of_another_writer(
    postgres_server: PostgresServer, database: str
) -> None:
    """[P10] The repetition finds another row, which is not the one of this step."""
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        life, other = Life(), Life()
        await ours.commits.commit([life.steps[0]])
        async with opened(database, epoch=ours.owner.epoch) as beside:
            other.sees(PersonalDataDisclosed)
            await beside.commits.commit([other.steps[1]])
        life.goes_on()
        proxy.cut(Cut.QUESTION)
        with pytest.raises(Moved):
            await asyncio.wait_for(ours.commits.commit([life.steps[1]]), PATIENT)
