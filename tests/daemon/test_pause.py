"""A person pauses the agent, and lets it go on."""

from agent.core.record import Outcome
from tests.support.commands import BOTH, UNKNOWN, ask, commands, told
from tests.support.environment import World
from tests.support.faults import rule


@BOTH
async def test_while_paused_nothing_new_is_begun_until_it_is_resumed(world: World, through: str) -> None:
    assert (await told(world, through, "pause", times=2))["ok"]
    world.upload("a")
    finished = await world.settle()  # `run --once` waits for nobody's word
    assert not finished.still_moving
    assert world.ledger.calls["createDossier"] == 0
    assert (await told(world, through, "resume", times=2, command_id="command-2"))["ok"]
    await world.settle()
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert commands(world) == 2


async def test_while_paused_what_runs_is_observed_and_deleted(world: World) -> None:
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


async def test_a_pause_that_is_sent_again_after_the_resume_pauses_nothing(world: World) -> None:
    async with world.running() as agent:
        assert (await ask(world, "pause"))["ok"]
        assert (await ask(world, "resume", command_id="command-2"))["ok"]
        assert (await ask(world, "pause"))["ok"]
        world.upload("a")
        await agent.scan()
        await world.clock.advance(30)
        assert world.record("a").outcome is Outcome.ACCEPTED


async def test_a_pause_holds_for_what_was_claimed_before_it(world: World) -> None:
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=10.0)])
    for name in ("a", "b", "c"):
        world.upload(name)
    async with world.running(concurrency=1):
        assert world.ledger.calls["createDossier"] == 1
        assert (await ask(world, "pause"))["ok"]
        await world.clock.advance(100)
        assert world.ledger.calls["createDossier"] == 1


async def test_the_privacy_clock_runs_while_paused(world: World) -> None:
    """[I3] A held request has a dossier at Assure, and its deadline."""
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
