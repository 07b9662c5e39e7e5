"""The whole agent: its start without Assure, and its end."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from agent.core.errors import RemoteError, StoreDamaged, StoreLocked
from agent.core.record import Outcome, Phase
from tests.support.clock import patiently, until
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin
from tests.support.locks import locks

FOR_EVER = 3600.0  # seconds: what is waited for that long is waited for in vain


async def away(world: World) -> None:
    """The sandbox is stopped while the block runs. Its data and its port stay the same."""
    port = int(world.sandbox.url.rpartition(":")[2])
    await world.sandbox.stop()
    world.sandbox.config = replace(world.sandbox.config, port=port)


async def test_an_agent_without_assure_logs_an_error_and_continues_when_assure_answers(world: World) -> None:
    """[I1]"""
    world.upload("a")
    await away(world)
    async with world.running():
        world.clock.release()
        await until(lambda: "Assure is unreachable" in [entry["event"] for entry in world.logs])
        await world.clock.advance(60)
        assert world.record("a").phase is Phase.DOSSIER
        await world.sandbox.start()
        await world.clock.advance(120)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()
    world.check_nothing_left()


async def test_run_once_gives_up_without_an_answer_and_keeps_the_requests(world: World) -> None:
    """[I1]"""
    world.upload("a")
    await away(world)
    with pytest.raises(RemoteError, match="cannot be reached"):
        await world.settle()
    assert world.record("a").phase is Phase.DOSSIER
    await world.sandbox.start()
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED


async def test_an_outage_in_the_middle_costs_no_second_start(world: World) -> None:
    """[I2] A refused connection proves that Assure did not receive the call."""
    names = [f"a-{number}" for number in range(5)]
    for name in names:
        world.upload(name, "sandbox-delay=30s")
    async with world.running():
        await away(world)
        await world.clock.advance(300)
        assert {record.phase for record in world.records().values()} == {Phase.RESULT}
        await world.sandbox.start()
        await world.clock.advance(300)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert [world.starts(name) for name in names] == [1] * 5
    world.check()
    world.check_nothing_left()


async def test_wrong_credentials_end_the_agent_before_its_first_call(world: World) -> None:
    world.upload("a")
    with pytest.raises(RemoteError, match="client id and secret"):
        await world.settle(client_secret="wrong")
    assert world.calls == ["token"]
    assert world.record("a").opened_at is None


@pytest.mark.state_file  # a database has no lock file
async def test_a_removed_lock_file_ends_the_agent_before_its_next_call(world: World) -> None:
    """[I2] [I7] Another agent may have started on the same store."""
    with pytest.raises(StoreLocked, match="was removed or replaced"):
        async with world.running() as agent:
            world.state.with_name("agent.db.lock").unlink()
            world.upload("a")
            await agent.scan()
            await world.clock.advance(60)
    assert world.ledger.calls["createDossier"] == 0


async def _ended(world: World, operation: str, **more: Any) -> None:
    """Stop an agent whose call hangs. The agent must not wait for the answer."""
    world.sandbox.faults.add([rule(operation, "hang")])
    world.clock.release()
    async with world.opened(**more) as agent:
        task = asyncio.create_task(agent.run())
        await until(lambda: operation in world.calls)
        agent.stop()
        await patiently(task)


async def test_the_end_of_an_agent_waits_for_an_open_call(world: World) -> None:
    """[I4] The short timeout of the call is its answer."""
    world.upload("a")
    await _ended(world, "createDossier", request_timeout=0.5)
    (attempt,) = world.rows("SELECT effect, result, trouble FROM attempts")
    assert attempt == ("create_dossier", "unknown", "timeout")


async def test_the_end_of_an_agent_waits_for_answers_up_to_the_drain_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I2] An unanswered call is a stored intent, and the next start resumes it."""
    monkeypatch.setattr("agent.daemon.agent._DRAIN_TIMEOUT", 0.3)
    world.upload("a")
    await _ended(world, "createProcess", request_timeout=FOR_EVER)
    assert world.record("a").intent is not None
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert world.starts("a") == 1
    world.check_nothing_left()


async def test_an_agent_without_a_token_ends_at_once(world: World) -> None:
    await _ended(world, "token", request_timeout=FOR_EVER)


async def test_a_hanging_list_of_results_does_not_delay_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unanswered read has nothing to save."""
    monkeypatch.setattr("agent.daemon.agent._DRAIN_TIMEOUT", 0.3)
    world.upload("a", "sandbox-delay=20m")
    await _ended(world, "getAllProcess", request_timeout=FOR_EVER)


async def test_an_end_with_many_open_requests_loses_none(world: World) -> None:
    """[I1] [I2]"""
    names = [f"a-{number}" for number in range(20)]
    for name in names:
        world.upload(name)
    for operation in ("createProcess", "setImages", "startVerification", "deleteDossier"):
        world.clock.release()
        async with world.opened(concurrency=4) as agent:
            task = asyncio.create_task(agent.run())
            count = world.ledger.calls[operation]
            await until(lambda operation=operation, count=count: world.ledger.calls[operation] >= count + 2)
            agent.stop()
            await patiently(task)
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert [world.starts(name) for name in names] == [1] * 20
    world.check()
    world.check_nothing_left()


@pytest.mark.state_file  # locks of files
async def test_reading_the_store_leaves_the_agent_its_locks(world: World) -> None:
    """[I7] Without them another opener truncates the shared memory under it: the process dies of SIGBUS."""
    world.upload("a")
    async with world.running():
        await world.clock.advance(60)
        before = locks(world.state)
        assert {name for name, *_ in before} == {"agent.db", "agent.db-shm"}
        assert world.history("a")
        assert world.state_bytes()
        assert locks(world.state) == before


async def test_a_token_with_a_lifetime_of_one_second_is_renewed_as_often_as_needed(begin: Begin) -> None:
    world = await begin(token_lifetime=1.0)
    for number in range(4):
        world.upload(f"a-{number}", "sandbox-delay=20s")
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert [world.starts(f"a-{number}") for number in range(4)] == [1] * 4
    assert world.ledger.calls["token"] > 1
    world.check()
    world.check_nothing_left()


@pytest.mark.state_file  # a server checks its pages itself
@pytest.mark.parametrize("run", ["run", "run --once", "run --once, its time is over"])
async def test_damage_in_a_large_store_is_found_while_it_runs_and_ends_the_agent(
    world: World, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    """[I2] The damage is in a page that the start does not check."""
    world.upload("a")
    await world.settle()
    monkeypatch.setattr("agent.store.sqlite.integrity.SMALL", 0)
    (root,) = world.rows("SELECT rootpage FROM sqlite_master WHERE name = 'deliveries_by_sink'")[0]
    with world.state.open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(b"\xff" * 4096)
    async with world.opened() as agent:
        with pytest.raises(StoreDamaged, match="damaged") as found:
            await (agent.run() if run == "run" else agent.run_once(0 if "over" in run else 60))
    assert "assure-agent restore" in found.value.hint
