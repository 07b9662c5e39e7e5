"""Many at once share a commit, an answered step is durable, and no step is written twice [I4, I5, I7]."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from agent.core.assure_types import Status
from agent.core.effect import EffectKind
from agent.core.errors import Impossible, Moved, StoreError, StoreLocked
from agent.core.observations import EffectUnanswered, Resumed
from agent.core.record import Phase
from agent.ports import Command, Receipt
from agent.store.postgres.batch import COMMIT, Batch
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW, upload

from .support import KEYS, SINKS, Opened, content, opened, waiting_for_a_lock


async def committed(to: Opened, life: Life) -> Life:
    """Commit all that happened, step by step."""
    for step in life.steps:
        await to.commits.commit([step])
    return life


async def test_many_at_once_share_commits_and_all_are_durable(database: str) -> None:
    """[I4]"""
    async with opened(database) as ours:

        async def lives(number: int) -> None:
            await committed(ours, Life(f"u{number}").until(Phase.DONE))
            assert await ours.rows("SELECT phase FROM requests WHERE uid = $1", f"u{number}") == [("done",)]

        await asyncio.gather(*(lives(number) for number in range(60)))
        assert sum(ours.batches) == 60 * len(Life().until(Phase.DONE).steps)
        assert len(ours.batches) < sum(ours.batches) / 4
        await ours.counted()


async def test_one_that_cannot_be_written_fails_alone(database: str) -> None:
    """[I9] A stale record, a name that is in use, and a request that exists."""
    async with opened(database) as ours:
        stale = await committed(ours, Life("stale").until(Phase.PROCESS))
        steps = [Life(f"u{number}").steps[0] for number in range(20)]
        steps[5:5] = [stale.steps[-1], Life("other", name="name-u1").steps[0], Life("stale").steps[0]]
        answers = await asyncio.gather(*(ours.commits.commit([step]) for step in steps), return_exceptions=True)
        failed = [(number, type(answer)) for number, answer in enumerate(answers) if answer is not None]
        assert failed == [(5, Moved), (6, StoreError), (7, Moved)]
        assert await ours.rows("SELECT count(*) FROM requests") == [(21,)]
        await ours.counted()


async def test_the_steps_of_a_caller_are_written_all_or_none(database: str) -> None:
    """[I4]"""
    async with opened(database) as ours:
        stale = await committed(ours, Life("stale").until(Phase.PROCESS))
        before = await content(ours.pool)
        receipt = Receipt(digest="d", at=NOW, forget_before=0)
        with pytest.raises(Moved, match="another version"):
            await ours.commits.commit([Life("u1").steps[0], stale.steps[-1]], receipt)
        with pytest.raises(Impossible, match="two steps"):
            await ours.commits.commit(Life("u1").until(Phase.PROCESS).steps[:2])
        assert await content(ours.pool) == before


async def test_a_row_that_another_statement_changed_is_read_again(database: str) -> None:
    """[I5] An event of other SQL moves the head of the chain, and keeps the version."""
    async with opened(database) as ours:
        life = await committed(ours, Life().until(Phase.PROCESS))
        async with ours.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                """
                INSERT INTO events SELECT max(id) + 1, 'u1', max(seq) + 1, 1, 'Other', '{}', 'other' FROM events
                """
            )
            await connection.execute("UPDATE requests SET seq = seq + 1, head = 'other'")
        life.goes_on()
        await ours.commits.commit([life.steps[-1]])
        await ours.counted()


async def test_a_command_is_part_of_the_chain_and_is_applied_once(database: str) -> None:
    """[I5]"""
    async with opened(database) as ours:
        life = await committed(ours, Life().until(Phase.PROCESS))
        await ours.commits.apply_command(Command(id="c1", verb="resolve", uid="u1"), "", NOW)
        life.goes_on()
        await ours.commits.apply_command(Command(id="c2", verb="resolve", uid="u1"), "", NOW, [life.steps[-1]])
        life.goes_on()
        await ours.commits.commit([life.steps[-1]])
        with pytest.raises(Moved):
            await ours.commits.apply_command(Command(id="c2", verb="resolve", uid="u1"), "", NOW)
        assert await ours.rows("SELECT number, id FROM commands ORDER BY number") == [(1, "c1"), (2, "c2")]
        await ours.counted()


async def test_a_cancelled_caller_does_not_take_its_step_back(database: str) -> None:
    """[I4]"""
    async with opened(database) as ours:
        task = asyncio.ensure_future(ours.commits.commit([Life("u1").steps[0]]))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ours.commits.commit([Life("u2").steps[0]])
        assert await ours.rows("SELECT uid FROM requests ORDER BY uid") == [("u1",), ("u2",)]


async def test_closing_writes_what_waits_and_refuses_the_rest(database: str) -> None:
    async with opened(database) as ours:
        waiting = [asyncio.ensure_future(ours.commits.commit([Life(f"u{number}").steps[0]])) for number in range(20)]
        await asyncio.sleep(0)
        await ours.commits.close()
        await asyncio.gather(*waiting)
        with pytest.raises(StoreError):
            await asyncio.wait_for(ours.commits.commit([Life().steps[0]]), timeout=PATIENT)
        assert await ours.rows("SELECT count(*) FROM requests") == [(20,)]


async def test_an_agent_that_lost_the_store_writes_nothing(database: str) -> None:
    """[I7] [P2] Neither a new step nor one that it computed before."""
    async with opened(database) as old:
        life = await committed(old, Life().until(Phase.PROCESS))
        life.goes_on()
        await old.pool.execute("UPDATE replicas SET until = now()")
        async with opened(database) as new:
            before = await content(new.pool)
            with pytest.raises(StoreLocked):
                await old.commits.commit([life.steps[-1]])
            with pytest.raises(StoreLocked):
                await old.commits.commit([], Receipt(digest="d", at=NOW, forget_before=0))
            assert await content(new.pool) == before
            await new.commits.commit([life.steps[-1]])


async def test_an_agent_whose_time_is_over_goes_on_while_it_is_alone(database: str) -> None:
    async with opened(database) as ours:
        await ours.pool.execute("UPDATE replicas SET until = now()")
        await ours.commits.commit([Life().steps[0]])
        assert await ours.rows("SELECT until > now() + interval '30 s' FROM replicas") == [(True,)]


async def test_two_writers_number_the_journal_without_a_gap(database: str) -> None:
    """[I5] One agent owns a store; the numbering does not depend on it. The order of commits is that of the numbers."""
    async with opened(database) as one, opened_beside(database, one) as other:

        async def lives(to: Opened, name: str) -> None:
            await committed(to, Life(name).until(Phase.DONE))

        await asyncio.gather(
            *(lives(to, f"{number}-{to is one}") for number in range(25) for to in (one, other)),
        )
        await one.counted()
        assert await one.rows("SELECT count(*) FROM requests WHERE phase = 'done'") == [(50,)]


async def test_a_commit_waits_for_the_numbers_of_another(database: str) -> None:
    """[I5] The next number follows from the last event, so it is read only when that event is visible."""
    async with opened(database) as ours:
        async with ours.pool.acquire() as connection, connection.transaction():
            batch = Batch(KEYS, SINKS)
            batch.add(Life("u1").steps[0], None)
            assert await connection.fetchval(COMMIT, ours.owner.epoch, *batch.arguments()) == "done"
            committing = asyncio.ensure_future(ours.commits.commit([Life("u2").steps[0]]))
            await waiting_for_a_lock(committing, ours.pool)
        await asyncio.wait_for(committing, PATIENT)
        await ours.counted()


async def test_nothing_is_committed_on_another_timeline(database: str) -> None:
    """[P10] After a failover, no step is written before the roll call."""
    async with opened(database) as ours:
        await ours.pool.execute("UPDATE fleet SET timeline = 'FFFFFFFF/1'")
        batch = Batch(KEYS, SINKS)
        batch.add(Life("u1").steps[0], None)
        assert await ours.pool.fetchval(COMMIT, ours.owner.epoch, *batch.arguments()) == "fenced"
        assert await ours.rows("SELECT count(*) FROM events") == [(0,)]


async def test_a_poll_without_an_event_also_moves_the_record(database: str) -> None:
    """[I5] Only the version changes."""
    async with opened(database) as one, opened_beside(database, one) as other:
        life, same = Life().until(Phase.RESULT), Life().until(Phase.RESULT)
        await committed(one, life)
        for ours in (one, other):
            ours.commits._rows["u1"] = (await ours.commits._known([life.record]))["u1"]
        assert not life.reads(Status.PROCESSING).events
        await one.commits.commit([life.steps[-1]])
        same.reads(Status.ACCEPTED)
        with pytest.raises(Moved):
            await other.commits.commit([same.steps[-1]])
        await one.counted()


async def test_two_writers_of_one_request_cannot_both_win(database: str) -> None:
    """[I5] [P1] The row decides, and the loser has written nothing of its batch."""
    async with opened(database) as one, opened_beside(database, one) as other:
        for number in range(20):
            uid = f"u{number}"
            life = await committed(one, Life(uid).until(Phase.DOSSIER))
            while life.record.intent is None:
                life.goes_on()
                await one.commits.commit([life.steps[-1]])
            life.sees(Resumed)
            step = life.steps[-1]
            answers = await asyncio.gather(
                one.commits.commit([step, Life(f"{uid}-a").steps[0]]),
                other.commits.commit([step, Life(f"{uid}-b").steps[0]]),
                return_exceptions=True,
            )
            assert {type(answer) for answer in answers} == {Moved, type(None)}
            rows = await one.rows("SELECT count(*) FROM requests WHERE uid = ANY($1)", [f"{uid}-a", f"{uid}-b"])
            assert rows == [(1,)]
        await one.counted()


def opened_beside(url: str, first: Opened) -> AbstractAsyncContextManager[Opened]:
    """A second writer of the same life, as if one agent were two."""
    return opened(url, epoch=first.owner.epoch)


async def test_a_commit_waits_for_the_disk_also_if_the_database_does_not(database: str) -> None:
    """[I4] `synchronous_commit = off` would lose answered steps in a crash of the server."""
    async with opened(database) as ours, ours.pool.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL synchronous_commit = off")
        arguments = [None] * (COMMIT.count("$") - 1)
        assert await connection.fetchval(COMMIT, ours.owner.epoch, *arguments) == "done"
        assert await connection.fetchval("SHOW synchronous_commit") == "on"


async def test_another_isolation_is_refused(database: str) -> None:
    """[I5] An old snapshot would number two events alike."""
    async with opened(database) as ours:
        name = await ours.pool.fetchval("SELECT current_database()")
        await ours.pool.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
        await ours.pool.expire_connections()
        with pytest.raises(StoreError, match="the isolation is repeatable read"):
            await ours.commits.commit([Life().steps[0]])


async def test_no_plan_scans_a_table_that_grew_since_it_was_made(database: str) -> None:
    """The plans of a function are kept for the life of its connection."""
    async with opened(database, connections=1) as ours:
        life = await committed(ours, Life("first", upload()).until(Phase.RESULT))
        for number in range(3):
            await committed(ours, Life(f"u{number}").until(Phase.DONE))
        scans = "SELECT relname, seq_scan, seq_tup_read FROM pg_stat_user_tables WHERE relname = ANY($1) ORDER BY 1"
        tables = ["attempts", "events", "requests"]
        async with ours.pool.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            before = await connection.fetch(scans, tables)
        life.sees(EffectUnanswered, kind=EffectKind.READ_DOSSIER) if life.record.intent else life.goes_on()
        await ours.commits.commit([life.steps[-1]])
        async with ours.pool.acquire() as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            assert await connection.fetch(scans, tables) == before
