"""The watch of a shared store: what a command changes reaches each replica."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.core.errors import StoreAway
from agent.core.observations import RetryRequested
from agent.daemon.commands import CommandHandler
from agent.daemon.offline import execute_offline
from agent.daemon.offline_records import OfflineRecords
from agent.daemon.shared_watch import SharedWatch
from agent.platform.clock import SystemClock
from agent.ports import Command, SharedState
from tests.store.engines import PostgresEngine
from tests.store.support import committed
from tests.support.postgres_server import PostgresServer
from verification.builders.lives import Life


@pytest.fixture
async def engine(tmp_path: Path, postgres_server: PostgresServer) -> AsyncIterator[PostgresEngine]:
    found = PostgresEngine(tmp_path / "state", postgres_server)
    await found.begin()
    yield found
    await found.end()


class Watched:
    """A replica on a store, and what its watch applied."""

    def __init__(self, store: object) -> None:
        self.applied: list[str] = []
        self.woken = 0
        self.watch = SharedWatch(store, self._changed, self._executed, lambda _: None, [self._wake], self._failed)  # type: ignore[arg-type]

    def _wake(self) -> None:
        self.woken += 1

    async def _changed(self) -> None:
        self.applied.append("changed")

    async def _executed(self, command: Command) -> None:
        self.applied.append(command.verb)

    def _failed(self, error: Exception) -> None:
        raise error


async def test_each_replica_applies_each_command_once(engine: PostgresEngine) -> None:
    async with engine.opened() as one, engine.opened() as two:
        replicas = Watched(one), Watched(two)
        for replica in replicas:
            await replica.watch.poll()
            assert replica.applied == ["changed"]
        for number, verb in enumerate(("pause", "pause", "resume")):
            request = {"id": f"command-{number}", "verb": verb}
            assert (await asyncio.to_thread(execute_offline, engine.settings, request))["ok"]
            for replica in replicas:
                await replica.watch.poll()
                await replica.watch.poll()
        for replica in replicas:
            assert replica.applied == ["changed", "changed", "pause", "pause", "changed", "resume"]
            assert replica.woken == 7


async def test_an_approved_recovery_reaches_the_other_replica(engine: PostgresEngine) -> None:
    async with engine.opened() as one, engine.opened() as two:
        replica = Watched(two)
        await replica.watch.poll()
        await one.recoveries.begin(1000.0)
        await replica.watch.poll()
        assert replica.applied == ["changed"] * 2
        request = {"id": "command-1", "verb": "approve"}
        assert (await asyncio.to_thread(execute_offline, engine.settings, request))["ok"]
        await replica.watch.poll()
        assert replica.applied == ["changed", "changed", "changed", "approve"]


async def test_a_database_that_is_away_does_not_end_the_watch() -> None:
    class Away:
        polls = 0

        async def shared_state(self) -> SharedState:
            self.polls += 1
            if self.polls == 1:
                raise StoreAway("The database does not answer.", "wait")
            return SharedState(paused=False, recovery=(None, None, None), command=0)

    replica = Watched(store := Away())
    running = asyncio.create_task(replica.watch.run())
    while store.polls < 2:
        await asyncio.sleep(0.01)
    running.cancel()
    assert replica.applied == ["changed"]


async def test_a_command_leaves_a_request_whose_call_is_under_way(engine: PostgresEngine) -> None:
    """P1: only the replica that waits for the answer may end the intent, while it lives."""
    async with engine.opened() as replica:
        life = await committed(replica, Life())
        life.goes_on()
        while life.record.intent is None:
            life.goes_on()
        for taken in life.steps[1:]:
            await replica.commit([taken])
        command = await engine.open(None)
        records = OfflineRecords(command, SystemClock(), engine.settings.policy)
        now = life.record.due_at or 0.0
        assert await replica.claim(now, 1, set(), wanted=[life.record.uid])
        asked = {life.record.uid: RetryRequested(at=now)}
        assert await records.deliver(asked) == [life.record.uid]
        assert (await command.get(life.record.uid)) == life.record
        await replica.release([])
        assert not await records.deliver(asked)
        ended = await command.get(life.record.uid)
        assert ended is not None and ended.intent is None


class Impatient(SystemClock):
    """Ends each wait at once."""

    waited = 0.0

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        self.waited += seconds or 0.0


async def test_a_command_waits_for_a_call_and_then_says_that_nothing_was_changed(engine: PostgresEngine) -> None:
    """[P1] It may be sent again: after the call, it is executed once."""
    async with engine.opened() as replica:
        life = await committed(replica, Life())
        while life.record.intent is None:
            life.goes_on()
        for taken in life.steps[1:]:
            await replica.commit([taken])
        uid = life.record.uid
        assert await replica.claim(life.record.due_at or 0.0, 1, set(), wanted=[uid])
        command, clock = await engine.open(None), Impatient()
        records = OfflineRecords(command, clock, engine.settings.policy)
        handler = CommandHandler(command, records, None, clock, "default")  # type: ignore[arg-type]
        request = {"id": "command-1", "verb": "show-personal", "uid": uid}
        refused = await handler.execute(request, "root")
        assert not refused["ok"]
        assert refused["message"] == "A call to Assure is under way for the request, so nothing was changed."
        assert 30.0 <= clock.waited < 31.0
        assert await command.get(uid) == life.record
        await replica.release([])
        assert (await handler.execute(request, "root"))["ok"]
        shown = await command.get(uid)
        assert shown is not None
        assert shown.shown_at is not None
