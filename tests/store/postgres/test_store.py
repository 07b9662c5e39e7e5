"""The whole store: opening leaves nothing behind when it fails, closing is bounded, and what it erases stays valid."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from agent.core.errors import AgentError, SettingsError, StoreAway, StoreDamaged, StoreForeign
from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.ports import Command
from agent.store.postgres import store as module
from agent.store.postgres.connect import Server
from agent.store.postgres.store import PostgresStore
from agent.store.reading.reads import Query
from agent.store.writing.statements import Statement
from tests.support.cutting_proxy import Cut, cutting_proxy
from tests.support.postgres_server import PostgresServer
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import opened
from .test_lost_answers import behind_proxy

ACCOUNT = "client at https://assure.example"
OURS = "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND application_name = 'assure-agent'"


@contextlib.asynccontextmanager
async def store(url: str, folder: Path, account: str | None = ACCOUNT) -> AsyncIterator[PostgresStore]:
    """The store, as a running agent has it."""
    store = await PostgresStore.open(Settings(state_url=url, state_dir=folder), account)
    store.watch(lambda error: None, lambda cause: None)
    try:
        yield store
    finally:
        await store.aclose()


async def refused(url: str, folder: Path, server: PostgresServer, account: str | None = ACCOUNT) -> AgentError:
    """The error of an opening that fails. It leaves no task, no connection and no life behind."""
    tasks, lives = asyncio.all_tasks(), await count(server, "SELECT count(*) FROM replicas", url)
    with pytest.raises(AgentError) as caught:
        await PostgresStore.open(Settings(state_url=url, state_dir=folder), account)
    assert asyncio.all_tasks() == tasks
    assert await count(server, "SELECT count(*) FROM replicas", url) == lives
    return caught.value


async def count(server: PostgresServer, sql: str, url: str) -> int:
    name = Server.parse(url).database
    connection = await asyncpg.connect(host=server.folder, port=server.port, user="postgres", database=name)
    try:
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


async def sessions(server: PostgresServer, url: str) -> None:
    """Wait until no session of an agent is left: the server notices the end of a connection a moment later."""
    connection = await asyncpg.connect(host=server.folder, port=server.port, user="postgres", database="postgres")
    while await connection.fetchval(OURS, Server.parse(url).database):
        await asyncio.sleep(0.01)
    await connection.close()


async def test_an_opening_that_fails_leaves_nothing(
    postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    async with store(database, tmp_path) as first:
        for taken in Life("u1").until(Phase.PROCESS).steps:
            await first.commit([taken])
    await sessions(postgres_server, database)
    key = (tmp_path / "agent.key").read_text()
    (tmp_path / "agent.key").unlink()
    assert isinstance(await refused(database, tmp_path, postgres_server), StoreDamaged)
    (tmp_path / "agent.key").write_text("00" * 32)
    assert isinstance(await refused(database, tmp_path, postgres_server), StoreDamaged)
    (tmp_path / "agent.key").write_text(key)
    assert isinstance(await refused(database, tmp_path, postgres_server, "another at elsewhere"), StoreForeign)
    await sessions(postgres_server, database)
    async with store(database, tmp_path) as again:
        assert await again.open_requests() == ["u1"]
    await sessions(postgres_server, database)


async def test_claims_need_a_folder_of_keys(database: str, tmp_path: Path) -> None:
    settings = Settings(state_url=database, state_dir=tmp_path, claims_key="x" * 40)
    with pytest.raises(SettingsError, match="its backups would keep the keys of claims"):
        await PostgresStore.open(settings, ACCOUNT)
    assert [*tmp_path.iterdir()] == []


async def test_the_mark_follows_the_journal(database: str, tmp_path: Path) -> None:
    life = Life("u1").until(Phase.DONE)
    async with store(database, tmp_path) as ours:
        for step in life.steps:
            await ours.commit([step])
        events = sum(len(step.events) for step in life.steps)
        assert int((tmp_path / "agent.mark").read_text().split()[1]) == events
        await ours.forget("u1", NOW)
        assert int((tmp_path / "agent.mark").read_text().split()[1]) == events + 1


async def test_a_request_is_erased_once_although_answers_are_lost(
    postgres_server: PostgresServer, database: str
) -> None:
    async with behind_proxy(postgres_server, database) as (ours, proxy):
        life = Life("u1").until(Phase.DONE)
        for step in life.steps:
            await ours.commits.commit([step])
        proxy.cut(Cut.ANSWER)
        await asyncio.wait_for(ours.commits.erase("u1", NOW), PATIENT)
        while proxy.pending:  # the rows were read before, by another prepared statement
            await asyncio.wait_for(ours.commits.erase("u1", NOW), PATIENT)
        assert await ours.rows("SELECT name, salt FROM requests") == [(None, None)]
        erased = await ours.rows("SELECT count(*) FROM events WHERE type = 'NameErased'")
        assert erased == [(1,)]
        await ours.counted()


async def test_a_step_follows_an_erasure_and_a_command(database: str) -> None:
    """Both add an event to the history, so the row that was remembered is of no use."""
    async with opened(database) as ours:
        life = Life("u1")
        await ours.commits.commit([life.steps[0]])
        await ours.commits.apply_command(Command(id="c1", verb="retry", uid="u1"), "", NOW)
        life.goes_on()
        await ours.commits.commit([life.steps[-1]])
        life.goes_on()
        await ours.commits.apply_command(Command(id="c2", verb="retry", uid="u1"), "", NOW, [life.steps[-1]])
        life.goes_on()
        await ours.commits.commit([life.steps[-1]])
        await ours.commits.erase("u1", NOW)
        await ours.commits.apply_command(Command(id="c3", verb="retry", uid="u1"), "", NOW)
        await ours.counted()
        assert await ours.rows("SELECT version FROM requests") == [(life.record.version + 1,)]


@pytest.mark.parametrize("waiting", [0, 3])
async def test_closing_ends_although_the_server_is_away(
    postgres_server: PostgresServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waiting: int
) -> None:
    """What waits fails, and the next start continues."""
    monkeypatch.setattr(module, "_CLOSING", 0.2)
    monkeypatch.setattr(module, "_LEAVING", 0.2)
    tasks, causes = asyncio.all_tasks(), list[str | None]()
    async with cutting_proxy(postgres_server.socket()) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{Server.parse(database).database}?sslmode=disable"
        ours = await PostgresStore.open(Settings(state_url=url, state_dir=tmp_path), ACCOUNT)
        ours.watch(lambda error: None, causes.append)
        proxy.refuse(True)
        reading = asyncio.ensure_future(ours.open_requests())
        commits = [asyncio.ensure_future(ours.commit([Life(f"u{number}").steps[0]])) for number in range(waiting)]
        while not ours.away:
            await asyncio.sleep(0.01)
        with pytest.raises(StoreAway):
            ours.refuse_away()
        await asyncio.wait_for(ours.aclose(), PATIENT)
        answers = await asyncio.gather(reading, *commits, return_exceptions=True)
        assert all(isinstance(answer, AgentError) for answer in answers), answers
        assert len(causes) == 1
        assert "cannot be reached" in str(causes[0])
    assert asyncio.all_tasks() == tasks


async def test_the_end_of_an_outage_is_reported_once(
    postgres_server: PostgresServer, database: str, tmp_path: Path
) -> None:
    causes = list[str | None]()
    async with cutting_proxy(postgres_server.socket()) as proxy:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{Server.parse(database).database}?sslmode=disable"
        async with store(url, tmp_path) as ours:
            ours.watch(lambda error: None, causes.append)
            for _ in range(2):
                proxy.refuse(True)
                reading = [asyncio.ensure_future(ours.open_requests()) for _ in range(8)]
                while not ours.away:
                    await asyncio.sleep(0.01)
                proxy.refuse(False)
                assert await asyncio.wait_for(asyncio.gather(*reading), PATIENT) == [[]] * 8
                assert not ours.away
    assert [cause is None for cause in causes] == [False, True, False, True]


async def test_a_recovery_whose_statements_are_repeated_begins_once(database: str, tmp_path: Path) -> None:
    """The answer of the opening may be lost."""
    async with store(database, tmp_path) as ours:
        await ours.commit([Life("u1").steps[0]])
    (tmp_path / "agent.mark").write_text(f"{'0' * 16} {9:020d}\n")
    execute = PostgresStore.execute

    async def twice(self: PostgresStore, *statements: Statement) -> list[int]:
        await execute(self, *statements)
        return await execute(self, *statements)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgresStore, "execute", twice)
        async with store(database, tmp_path) as ours:
            found = await ours.query(Query("SELECT cause, kept, closed_at FROM recoveries"))
    assert [tuple(row) for row in found] == [("older", 1, None)]


async def test_the_end_waits_for_no_removal_of_old_rows(
    postgres_server: PostgresServer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that answers no VACUUM would keep the agent from ending."""
    monkeypatch.setattr(module, "_CLOSING", 0.2)
    other = await postgres_server.connect(Server.parse(database).database)
    async with store(database, tmp_path) as ours:
        async with other.transaction():
            await other.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
            tidying = asyncio.create_task(ours.tidy())
            while not await other.fetch("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'requests'::regclass"):
                pass
            ours.begin_end()
            assert await asyncio.wait_for(tidying, PATIENT) is False
        assert "does not answer" in ours.leftover
    await other.close()
