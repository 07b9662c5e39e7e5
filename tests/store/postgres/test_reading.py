"""The database as the commands, the pages and the metrics read it."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from agent.core.errors import StoreAway, StoreDamaged, StoreError
from agent.core.record import Phase
from agent.platform.clock import SystemClock
from agent.platform.metrics import Metrics
from agent.platform.settings import Settings
from agent.store import open_reading, running_agent, store_exists, store_identity
from agent.store.postgres import facade, snapshot
from agent.store.postgres.reading import facade_of
from agent.store.reading.reading import Reading
from tests.support.postgres_server import PostgresServer, start
from verification.builders.lives import Life

from .support import Opened, opened

ROWS = "SELECT uid FROM requests ORDER BY uid"


def at(url: str) -> Settings:
    return Settings.model_construct(state_url=url, state_dir=Path("/nowhere"))


async def admit(ours: Opened, *uids: str) -> None:
    await ours.commits.commit([Life(uid).steps[0] for uid in uids])


def uids(reading: Reading) -> list[str]:
    return [row[0] for row in reading.query(ROWS)]


async def test_a_snapshot_does_not_see_later_commits(database: str) -> None:
    async with opened(database) as ours:
        await admit(ours, "a")
        with open_reading(at(database)) as frozen, open_reading(at(database)) as current:
            frozen.freeze()
            assert uids(frozen) == ["a"]
            await admit(ours, "b")
            assert uids(current) == ["a", "b"]
            assert uids(frozen) == ["a"]
            assert [record.uid for record in frozen.all()] == ["a"], "also of rows that are read page by page"


async def test_a_snapshot_ends_with_its_reading(database: str) -> None:
    async with opened(database) as ours:
        with open_reading(at(database)) as reading:
            reading.freeze()
            uids(reading)
            assert await _snapshots(ours) == 1
        with open_reading(at(database)) as reading:
            uids(reading)
            assert await _snapshots(ours) == 0


async def _snapshots(ours: Opened) -> int:
    """How many transactions of readers are open."""
    sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    return len(await ours.rows(sql))


async def test_rows_are_read_page_by_page(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facade, "_ROWS", 2)
    async with opened(database) as ours:
        await admit(ours, *"abcde")
        with open_reading(at(database)) as reading:
            records = reading.all()
            assert next(records).uid == "a"
            assert await _snapshots(ours) == 1
            await admit(ours, "f")
            assert [record.uid for record in records] == [*"bcde"]
            with open_reading(at(database)) as second:
                assert [record.uid for record in second.all()] == [*"abcdef"]


async def test_a_reading_cannot_write(database: str) -> None:
    with open_reading(at(database)) as reading, pytest.raises(StoreError, match="read-only transaction"):
        reading.query("DELETE FROM meta")


async def test_the_server_ends_a_query_that_takes_too_long(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_GRACE", 600.0)  # only the server has a limit
    monkeypatch.setattr(facade, "_LONGEST", 0.1)
    with pytest.raises(StoreAway, match="no answer in time"):
        facade_of(at(database)).query("SELECT pg_sleep(600)")


async def test_the_server_ends_a_snapshot_that_nobody_reads(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "_BEGIN", snapshot._BEGIN.replace("'300s'", "'10ms'"))
    with open_reading(at(database)) as reading:
        reading.freeze()
        async with opened(database) as ours:
            while await _snapshots(ours):
                pass
        with pytest.raises(StoreAway, match="the connection has ended"):
            uids(reading)
    with open_reading(at(database)) as reading:
        assert uids(reading) == []


async def test_the_version_changes_with_each_commit_for_a_role_without_privileges(
    database: str, postgres_server: PostgresServer
) -> None:
    await postgres_server.execute("DROP ROLE IF EXISTS nobody_in_particular", "CREATE ROLE nobody_in_particular LOGIN")
    with open_reading(at(database.replace("postgres@", "nobody_in_particular@"))) as reading:
        async with opened(database) as ours:
            versions = []
            for uid in "abc":
                await admit(ours, uid)
                versions.append(reading.data_version())
        assert len({*versions}) == 3


async def test_a_store_is_known_by_its_tables_and_its_agent(database: str, empty_database: str) -> None:
    assert store_identity(at(empty_database)) is None
    assert not store_exists(at(empty_database))
    assert running_agent(at(empty_database)) is None
    assert store_identity(at(database)) == store_identity(at(database))
    assert store_exists(at(database))
    assert running_agent(at(database)) is None
    async with opened(database) as ours:
        assert str(running_agent(at(database))) == f"pid {os.getpid()}"
        await ours.pool.execute("UPDATE replicas SET name = 'far-away.example:77'")
        assert str(running_agent(at(database))) == "pid 77 on far-away.example"
        await ours.pool.execute("UPDATE replicas SET until = clock_timestamp()")
        assert running_agent(at(database)) is None


async def test_all_readers_of_a_process_share_two_connections(database: str) -> None:
    def read(_: int) -> list[str]:
        with open_reading(at(database)) as reading:
            reading.freeze()
            return uids(reading)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(40))) == [[]] * 40
    async with opened(database, connections=1) as ours:
        counted = await ours.rows("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert counted[0][0] <= 3, "with the one that counts"


async def test_a_malformed_record_is_no_traceback(database: str) -> None:
    async with opened(database) as ours:
        await admit(ours, "a")
        await ours.pool.execute("""UPDATE requests SET record = '{"name": "a-secret"}'""")
        with pytest.raises(StoreDamaged, match="malformed record") as raised, open_reading(at(database)) as reading:
            list(reading.all())
        assert "a-secret" not in str(raised.value)


async def test_a_scrape_reads_one_snapshot_without_unknown_figures(database: str) -> None:
    async with opened(database) as ours:
        await ours.commits.commit([Life("a").until(Phase.DOSSIER).steps[0]])
        begun: list[Any] = []
        metrics = Metrics(SystemClock())
        metrics.register_store(lambda: _Counting(at(database), begun))
        found = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
        assert len(begun) == 1
    assert found["assure_agent_store_bytes"] > 10_000
    assert "assure_agent_store_free_bytes" not in found
    assert found["assure_agent_possible_orphans"] == 0


class _Counting:
    """A reading that notes its snapshots."""

    def __init__(self, settings: Settings, begun: list[Any]) -> None:
        self._settings, self._begun = settings, begun

    def __enter__(self) -> Reading:
        reading = open_reading(self._settings)
        freeze = reading.freeze
        reading.freeze = lambda: (self._begun.append(1), freeze())[1]  # type: ignore[method-assign, func-returns-value]
        self._reading = reading
        return reading

    def __exit__(self, *_: object) -> None:
        self._reading.close()


async def test_a_read_after_the_server_ended_the_connections_works(
    database: str, postgres_server: PostgresServer
) -> None:
    """Also if this side has not noticed it yet: its loop stands still meanwhile."""
    reader = facade_of(at(database))
    (pid,) = reader.query("SELECT pg_backend_pid()")[0]
    pool, gate = reader._pool, threading.Event()
    assert pool is not None
    connection = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_taken(pool), reader._loop))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pool), "acquire", _already(pool.acquire, connection))
        reader._loop.call_soon_threadsafe(gate.wait)
        await postgres_server.execute(f"SELECT pg_terminate_backend({pid}, 10000)")
        found = asyncio.run_coroutine_threadsafe(reader._fetch("SELECT pg_backend_pid()", ()), reader._loop)
        gate.set()
        assert (await asyncio.wrap_future(found))[0][0] != pid


async def _taken(pool: Any) -> Any:
    return await pool.acquire()


def _already(acquire: Callable[..., Any], *ready: Any) -> Callable[..., Any]:
    """Give these connections first, without a pause in which the loop could notice their end."""
    left = [*ready]

    async def acquired(_: Any, **options: Any) -> Any:
        return left.pop() if left else await acquire(**options)

    return acquired


@pytest.fixture
def crashing() -> Iterator[PostgresServer]:
    """A server of its own."""
    server = start(os.getpid(), "listen_addresses=")
    yield server
    server.stop()


async def test_reads_work_again_after_a_crash_of_the_server(
    crashing: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    reader = facade_of(at(crashing.url("postgres")))
    (pid,) = reader.query("SELECT pg_backend_pid()")[0]
    connection = await asyncpg.connect(host=crashing.folder, port=crashing.port, user="postgres", database="postgres")
    (other,) = await connection.fetchrow("SELECT pg_backend_pid()")
    os.kill(other, signal.SIGKILL)  # the server ends all other processes as well, and recovers
    while True:
        try:
            (again,) = reader.query("SELECT pg_backend_pid()")[0]
        except StoreAway:
            continue
        if again != pid:
            break
    assert reader.query("SELECT 1")[0][0] == 1
    assert caplog.text == "", "no traceback of the driver"
