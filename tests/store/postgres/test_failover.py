"""Another server takes over, with all transactions or without the last ones [P10].

It replays a base backup and the log of the first server, and is promoted: its timeline is a real new one.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.core.errors import Fenced, StoreDamaged, StoreForeign
from agent.core.record import Phase
from agent.platform.clock import SystemClock
from agent.platform.settings import Settings
from agent.ports import MetaKey, Recovery
from agent.store.postgres.store import PostgresStore
from agent.store.reading.reads import Query
from tests.acceptance.databases import execute
from tests.support.restartable_server import RestartableServer, restartable_server
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.postgres_server import binaries

ACCOUNT = "client at https://assure.example"


class Fleet:
    """Replicas on a database, each with a folder of its own, and all with one key."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder, self._url = folder, url
        self.lost: dict[str, Exception] = {}
        self.stores: list[PostgresStore] = []

    async def join(
        self, name: str, lease: float = 60.0, account: str = ACCOUNT, key: str = "6b", rebind: bool = False
    ) -> PostgresStore:
        """Begin a life of the replica with this name."""
        file = self._folder / f"{key}.key"
        file.write_text(key * 32)
        file.chmod(0o600)
        folder = self._folder / name
        given = Settings(state_url=self._url, state_dir=folder, key_file=file, replica_lease=lease)
        store = await PostgresStore.open(given, account, rebind=rebind)
        self.stores.append(store)
        store.watch(lambda error: self.lost.setdefault(name, error), lambda cause: None)
        return store


@pytest.fixture
async def fleet(empty_database: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet on a server that stays."""
    async with running(tmp_path, empty_database) as fleet:
        yield fleet


@contextlib.asynccontextmanager
async def running(folder: Path, url: str) -> AsyncIterator[Fleet]:
    fleet = Fleet(folder, url)
    try:
        yield fleet
    finally:
        for store in fleet.stores:
            await store.aclose()


def back_up(server: RestartableServer) -> None:
    """Make the base backup from which the new server begins."""
    target = ("-D", server.folder / "base", "--checkpoint=fast", "--wal-method=fetch")
    execute(binaries() / "pg_basebackup", "-h", server.folder, "-U", "postgres", *target)


def fail_over(server: RestartableServer, lossless: bool) -> None:
    """Crash the server. A new one with the same address replays what it has, and is promoted."""
    server.crash()
    old = server.data.rename(server.folder / "old")
    (server.folder / "base").rename(server.data)
    restore = f"cp {old}/pg_wal/%f %p" if lossless else "false"
    with (server.data / "postgresql.auto.conf").open("a") as file:
        file.write(f"restore_command = '{restore}'\nrecovery_target_action = promote\n")
    execute("touch", server.data / "recovery.signal")
    server.start()


async def older(store: PostgresStore) -> Recovery | None:
    """The recovery that holds new work. A new store with a given key looks for its dossiers, which holds nothing."""
    recovery = await store.recoveries.open()
    return recovery if recovery is not None and recovery.holds_new_work else None


async def until(true: Callable[[], object]) -> None:
    """Return when this is true."""
    async with asyncio.timeout(PATIENT):
        while not true():
            await asyncio.sleep(0.02)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[RestartableServer, Fleet]]:
    """A fleet on a server that another one replaces."""
    if not (binaries() / "pg_basebackup").exists():
        pytest.skip(f"no pg_basebackup in {binaries()}")
    with restartable_server() as server:
        async with running(tmp_path, server.url()) as fleet:
            yield server, fleet


async def test_a_failover_that_loses_nothing_needs_no_approval(pair: tuple[RestartableServer, Fleet]) -> None:
    server, fleet = pair
    one, two = await fleet.join("one"), await fleet.join("two")
    first, *others = Life("u1").until(Phase.PROCESS).steps
    await one.commit([first])
    await asyncio.to_thread(back_up, server)
    for step in others:
        await two.commit([step])
    await asyncio.to_thread(fail_over, server, lossless=True)
    await asyncio.gather(
        *(one.commit([step]) for step in Life("u2").until(Phase.DOSSIER).steps[:1]), two._owner.restore()
    )
    assert await older(one) is None
    assert fleet.lost == {}
    assert not (one.behind or two.behind)


async def test_no_step_is_committed_before_each_replica_has_answered(pair: tuple[RestartableServer, Fleet]) -> None:
    """A replica that lives may know of a lost transaction: the others wait for it."""
    server, fleet = pair
    one, two = await fleet.join("one"), await fleet.join("two")
    await asyncio.to_thread(back_up, server)
    await asyncio.to_thread(fail_over, server, lossless=True)
    committing = asyncio.ensure_future(one.commit(Life("u1").until(Phase.DOSSIER).steps[:1]))
    await until(lambda: one._owner.unsettled)
    assert not committing.done()
    assert await two._owner.restore()
    await asyncio.wait_for(committing, PATIENT)
    assert await older(one) is None


async def test_lost_transactions_end_every_life_and_begin_one_recovery(pair: tuple[RestartableServer, Fleet]) -> None:
    """[I2] The intent of a call is lost, and another replica knows nothing of it."""
    server, fleet = pair
    one, two = await fleet.join("one"), await fleet.join("two")
    first, *others = Life("u1").until(Phase.PROCESS).steps
    await one.commit([first])
    await asyncio.to_thread(back_up, server)
    for step in others:
        await one.commit([step])
    await asyncio.to_thread(fail_over, server, lossless=False)
    refused = await asyncio.gather(
        one.commit(Life("u2").until(Phase.DOSSIER).steps[:1]),
        two.commit(Life("u3").until(Phase.DOSSIER).steps[:1]),
        return_exceptions=True,
    )
    assert [type(error) for error in refused] == [Fenced, Fenced]
    assert one.behind
    assert "lost transactions" in str(refused[0])
    for store in (one, two):
        await store.aclose()
    again = [await fleet.join("one"), await fleet.join("two")]
    recoveries = [await store.recoveries.open() for store in again]
    assert recoveries[0] == recoveries[1]
    assert recoveries[0] is not None
    assert recoveries[0].cause == "older"
    assert recoveries[0].holds_new_work
    assert len(await again[0].query(_query("SELECT 1 FROM recoveries WHERE cause = 'older'"))) == 1


async def test_a_replica_that_reports_a_settled_loss_later_begins_no_other_recovery(
    pair: tuple[RestartableServer, Fleet],
) -> None:
    server, fleet = pair
    one, two = await fleet.join("one"), await fleet.join("two")
    await asyncio.to_thread(back_up, server)
    for step in Life("u1").until(Phase.PROCESS).steps:
        await one.commit([step])
    await two._owner.restore()
    await asyncio.to_thread(fail_over, server, lossless=False)
    await asyncio.gather(one._owner.restore(), two._owner.restore())
    await one.aclose()
    again = await fleet.join("one")
    await again.recoveries.approve(1.0)
    await again.recoveries.close(2.0)
    await two.aclose()
    late = await fleet.join("two")
    assert await late.recoveries.open() is None
    assert await again._owner.restore()


async def test_a_silent_replica_may_know_of_lost_transactions(pair: tuple[RestartableServer, Fleet]) -> None:
    server, fleet = pair
    one, silent = await fleet.join("one"), await fleet.join("silent", lease=2.0)
    await asyncio.to_thread(back_up, server)
    silent._lost.cancel()
    silent._owner.restore = one._owner.confirm  # type: ignore[method-assign]  # it renews no more
    await asyncio.to_thread(fail_over, server, lossless=True)
    assert not await asyncio.wait_for(one._owner.restore(), PATIENT)
    await one.aclose()
    recovery = await (await fleet.join("one")).recoveries.open()
    assert recovery is not None
    assert recovery.cause == "older"


async def test_a_fleet_that_was_stopped_trusts_its_marks(pair: tuple[RestartableServer, Fleet]) -> None:
    """Without a mark, a database of another lineage has to be approved."""
    server, fleet = pair
    one = await fleet.join("one")
    for step in Life("u1").until(Phase.PROCESS).steps:
        await one.commit([step])
    await asyncio.to_thread(back_up, server)
    await one.aclose()
    await asyncio.to_thread(fail_over, server, lossless=True)
    again = await fleet.join("one")
    assert await older(again) is None


async def test_a_fleet_without_marks_does_not_trust_another_lineage(pair: tuple[RestartableServer, Fleet]) -> None:
    server, fleet = pair
    one = await fleet.join("one")
    for step in Life("u1").until(Phase.PROCESS).steps:
        await one.commit([step])
    await asyncio.to_thread(back_up, server)
    await one.aclose()
    await asyncio.to_thread(fail_over, server, lossless=True)
    recovery = await (await fleet.join("another")).recoveries.open()
    assert recovery is not None
    assert recovery.cause == "older"


async def test_replicas_that_begin_at_once_agree_on_one_identity(fleet: Fleet) -> None:
    await asyncio.gather(*(fleet.join(str(number)) for number in range(4)))
    marks = {store._mark.read() for store in fleet.stores}
    identity = await fleet.stores[0].recall(MetaKey.IDENTITY)
    assert {mark.identity for mark in marks if mark is not None} == {identity}
    assert fleet.lost == {}


async def test_of_two_keys_that_begin_at_once_one_is_refused(fleet: Fleet) -> None:
    """Before the first request as well: a request would have two uids, and would be billed twice."""
    begun = await asyncio.gather(fleet.join("one", key="6b"), fleet.join("two", key="6c"), return_exceptions=True)
    assert sorted(type(one).__name__ for one in begun) == ["PostgresStore", "StoreDamaged"]
    with pytest.raises(StoreDamaged, match="under another key"):
        await fleet.join("three", key="6d")


async def test_of_two_accounts_that_begin_at_once_one_is_refused(fleet: Fleet) -> None:
    begun = await asyncio.gather(fleet.join("one"), fleet.join("two", account="other"), return_exceptions=True)
    assert sorted(type(one).__name__ for one in begun) == ["PostgresStore", "StoreForeign"]
    with pytest.raises(StoreForeign):
        await fleet.join("three", account="third")


async def test_the_time_is_that_of_the_server_however_wrong_the_clock_of_the_host_is(fleet: Fleet) -> None:
    store = await fleet.join("one")
    clock = SystemClock(wall=lambda: 9e9)
    clock.follow(store.database_time)
    clock.record_date(5e8)
    (now,) = (await store.query(_query("SELECT extract(epoch FROM clock_timestamp())::float8")))[0]
    assert math.isclose(clock.now(), now, abs_tol=PATIENT)
    assert clock.confirmed
    assert not clock.pending
    assert clock.skew is not None


def _query(sql: str) -> Query:
    return Query(sql)
