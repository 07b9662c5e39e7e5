"""A person asks for a fresh verification."""

import asyncio

from agent.core.record import Outcome, Phase
from tests.support.clock import patiently
from tests.support.commands import BOTH, OTHER, ask, commands, refused, told
from tests.support.environment import World
from tests.support.faults import rule


@BOTH
async def test_a_rerun_verifies_anew_once(world: World, through: str) -> None:
    """[I2] Billed twice, because it was asked for in words; not three times."""
    world.upload("a")
    await world.settle()
    answer = await told(world, through, "rerun", times=3, name="a")
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    assert commands(world) == 1
    await world.settle()  # and the file that says nothing of it asks for nothing
    assert world.starts("a") == 2
    assert (await told(world, through, "rerun", name="a", command_id="command-2"))["ok"]
    assert world.starts("a") == 3
    world.check()
    world.check_nothing_left()


@BOTH
async def test_a_rerun_takes_the_document_as_it_is_now(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    assert (await told(world, through, "rerun", name="a"))["ok"]
    record = world.record("a")
    assert (record.generation, record.desired.document_id, record.hold) == (2, OTHER, None)
    assert world.starts("a") == 2


@BOTH
async def test_a_rerun_of_what_is_not_in_the_source_is_refused(world: World, through: str) -> None:
    path = world.upload("a")
    world.upload("b")
    await world.settle()
    path.unlink()
    refused(await told(world, through, "rerun", name="a"), "a")
    assert world.starts("a") == 1
    assert commands(world) == 0


async def test_a_rerun_of_a_document_that_would_be_refused_says_why(world: World) -> None:
    world.upload("a")
    await world.settle()
    (world.images / "a/front.jpg").unlink()
    refused(await told(world, "socket", "rerun", name="a"))
    assert world.starts("a") == 1


async def test_a_rerun_that_is_to_be_sent_again_was_not_obeyed(world: World) -> None:
    """[I2] One wish, one start: what is answered with "busy" is taken back before it is heard."""
    world.upload("a", "sandbox-delay=1m")
    world.sandbox.faults.add([rule("getProcess", "latency", seconds=50.0, nth=1)])
    async with world.running(request_timeout=60.0) as agent:
        while not agent.reconciler._asking or world.record("a").phase is not Phase.RESULT:
            await world.clock.advance(1)
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await asyncio.sleep(0.1)
        await world.clock.advance(40)
        refused(await patiently(asked), "busy")
        assert agent.reconciler._asking
        await world.clock.advance(600)
        assert (world.record("a").generation, world.starts("a"), commands(world)) == (1, 1, 0)
        assert (await ask(world, "rerun", name="a", command_id="command-2"))["ok"]
        await world.clock.advance(600)
    assert (world.record("a").generation, world.record("a").outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    world.check()
    world.check_nothing_left()


async def test_a_rerun_reaches_a_request_that_is_being_driven(world: World) -> None:
    """[I3] It is answered once it is durable, after the call that is under way."""
    world.sandbox.faults.add([rule("createProcess", "latency", seconds=10.0)])
    world.upload("a")
    async with world.running():
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await asyncio.sleep(0.1)
        assert not asked.done()
        await world.clock.advance(60)
        assert (await patiently(asked))["ok"]
        await world.clock.advance(60)
        assert (world.record("a").generation, world.record("a").outcome) == (2, Outcome.ACCEPTED)
    world.check()
    world.check_nothing_left()
