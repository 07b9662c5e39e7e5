"""`rerun`: the operator requests another verification."""

import asyncio

import pytest

from agent.core.record import Outcome, Phase
from tests.support.clock import patiently
from tests.support.commands import BOTH, OTHER, ask, commands, refused, send_through
from tests.support.environment import World
from tests.support.faults import rule


@pytest.mark.both_engines
@BOTH
async def test_a_rerun_verifies_again_once(world: World, through: str) -> None:
    """[I2] The second verification is billed because the operator requested it; there is no third one."""
    world.upload("a")
    await world.settle()
    answer = await send_through(world, through, "rerun", times=3, name="a")
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    assert commands(world) == 1
    await world.settle()  # the file has no rerun token, so it starts nothing
    assert world.starts("a") == 2
    assert (await send_through(world, through, "rerun", name="a", command_id="command-2"))["ok"]
    assert world.starts("a") == 3
    world.check()
    world.check_nothing_left()


@BOTH
async def test_a_rerun_uses_the_current_document(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    assert (await send_through(world, through, "rerun", name="a"))["ok"]
    record = world.record("a")
    assert (record.generation, record.desired.document_id, record.hold) == (2, OTHER, None)
    assert world.starts("a") == 2


@BOTH
async def test_a_rerun_without_a_file_is_refused(world: World, through: str) -> None:
    path = world.upload("a")
    world.upload("b")
    await world.settle()
    path.unlink()
    refused(await send_through(world, through, "rerun", name="a"), "a")
    assert world.starts("a") == 1
    assert commands(world) == 0


async def test_a_rerun_of_an_invalid_document_is_refused(world: World) -> None:
    world.upload("a")
    await world.settle()
    (world.images / "a/front.jpg").unlink()
    refused(await send_through(world, "socket", "rerun", name="a"))
    assert world.starts("a") == 1


async def test_a_rerun_that_must_be_sent_again_was_not_executed(world: World) -> None:
    """[I2] The command is retracted before its answer, so that a repeated command causes one start."""
    world.upload("a", "sandbox-delay=1m")
    world.sandbox.faults.add([rule("getProcess", "latency", seconds=50.0, nth=1)])
    async with world.running(request_timeout=60.0) as agent:
        while not agent.reconciler._calling or world.record("a").phase is not Phase.RESULT:
            await world.clock.advance(1)
        asked = asyncio.create_task(ask(world, "rerun", name="a"))
        await asyncio.sleep(0.1)
        await world.clock.advance(40)
        refused(await patiently(asked), "waits for a slow call")
        assert agent.reconciler._calling
        await world.clock.advance(600)
        assert (world.record("a").generation, world.starts("a"), commands(world)) == (1, 1, 0)
        assert (await ask(world, "rerun", name="a", command_id="command-2"))["ok"]
        await world.clock.advance(600)
    assert (world.record("a").generation, world.record("a").outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    world.check()
    world.check_nothing_left()


async def test_a_rerun_is_delivered_to_a_driven_request(world: World) -> None:
    """[I3] The answer follows when the rerun is durable, after the open call."""
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
