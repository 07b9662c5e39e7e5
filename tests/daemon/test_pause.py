"""`pause` and `resume`."""

import pytest

from agent.core.record import Outcome
from tests.support.commands import BOTH, UNKNOWN, ask, commands, send_through
from tests.support.environment import World
from tests.support.faults import rule


@pytest.mark.both_engines
@BOTH
async def test_a_paused_agent_starts_nothing_until_resume(world: World, through: str) -> None:
    assert (await send_through(world, through, "pause", times=2))["ok"]
    world.upload("a")
    finished = await world.settle()  # `run --once` does not wait for `resume`
    assert not finished.unfinished
    assert world.ledger.calls["createDossier"] == 0
    assert (await send_through(world, through, "resume", times=2, command_id="command-2"))["ok"]
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert commands(world) == 2


async def test_a_paused_agent_polls_and_deletes_what_is_at_assure(world: World) -> None:
    world.upload("a", "sandbox-delay=30s")
    world.capture("b")
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        world.upload("c")
        await agent.scan()
        await world.clock.advance(100)
        outcomes = [world.record(name).outcome for name in ("a", "b", "c")]
        assert outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, None]
        assert world.sandbox.world.dossiers == {}
        assert (await ask(world, "resume", command_id="command-2"))["ok"]
        await world.clock.rest()
        await world.clock.advance(30)
        assert world.record("c").outcome is Outcome.ACCEPTED
    world.check()


async def test_a_repeated_pause_command_after_resume_does_not_pause(world: World) -> None:
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        assert (await ask(world, "resume", command_id="command-2"))["ok"]
        assert (await ask(world, "pause"))["ok"]
        world.upload("a")
        await agent.scan()
        await world.clock.advance(30)
        assert world.record("a").outcome is Outcome.ACCEPTED


async def test_a_pause_applies_to_requests_that_were_claimed_before(world: World) -> None:
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=10.0)])
    for name in ("a", "b", "c"):
        world.upload(name)
    async with world.running(concurrency=1):
        assert world.ledger.calls["createDossier"] == 1
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(100)
        assert world.ledger.calls["createDossier"] == 1


async def test_the_deletion_deadline_applies_while_paused(world: World) -> None:
    """[I3] A held request has a dossier at Assure and a deadline."""
    world.upload("a", document_id=UNKNOWN, deadline="1h")
    async with world.running():
        assert len(world.sandbox.world.dossiers) == 1
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(3_700)
        assert world.sandbox.world.dossiers == {}
        assert world.record("a").outcome is Outcome.EXPIRED


async def test_a_removed_file_is_withdrawn_and_its_dossier_deleted_while_paused(world: World) -> None:
    """[I3]"""
    path = world.upload("a", document_id=UNKNOWN)
    world.upload("b", suspend=True)
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        path.unlink()
        await agent.scan()
        await agent.scan()
        await world.clock.advance(10)
        assert world.sandbox.world.dossiers == {}
