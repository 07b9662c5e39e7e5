"""`approve`: withdrawals that the prune guard stopped."""

import pytest

from agent.core.record import Outcome
from tests.support.commands import BOTH, ask, scanned, send_through
from tests.support.environment import World


def remove(world: World, *names: str) -> None:
    for name in names:
        (world.specs / f"{name}.yaml").unlink()


@pytest.mark.both_engines
async def test_an_approval_covers_the_waiting_withdrawals_and_no_later_ones(world: World) -> None:
    names = [f"a-{number:02}" for number in range(12)]
    for name in names:
        world.upload(name, suspend=True)
    async with world.running() as agent:
        remove(world, *names[:4])
        await scanned(world, agent)
        assert {record.outcome for record in world.records().values()} == {None}
        assert (await ask(world, "approve"))["ok"]
        await scanned(world, agent, times=2)
        assert [world.record(name).outcome for name in names] == [Outcome.WITHDRAWN] * 4 + [None] * 8
        remove(world, *names[4:8])
        await scanned(world, agent)
        assert (await ask(world, "approve"))["ok"]  # sent again: it was obeyed before
        await scanned(world, agent)
        assert [world.record(name).outcome for name in names[4:]] == [None] * 8
        assert (await ask(world, "approve", command_id="command-2"))["ok"]
        await scanned(world, agent)
        assert [world.record(name).outcome for name in names[4:]] == [Outcome.WITHDRAWN] * 4 + [None] * 4


async def test_an_approval_does_not_cover_files_that_are_removed_one_by_one_later(world: World) -> None:
    """A folder that is emptied later needs a new approval, even if each scan before missed a file."""
    names = [f"a-{number:02}" for number in range(40)]
    for name in names:
        world.upload(name, suspend=True)
    async with world.running() as agent:
        remove(world, *names[:10])
        await scanned(world, agent)
        assert (await ask(world, "approve"))["ok"]
        for name in names[10:20]:
            remove(world, name)
            await scanned(world, agent, times=1)
        remove(world, *names[20:])
        await scanned(world, agent)
        assert [world.record(name).outcome for name in names[:10]] == [Outcome.WITHDRAWN] * 10
        assert [world.record(name).outcome for name in names[20:]] == [None] * 20


@pytest.mark.both_engines
@BOTH
async def test_an_approval_remains_valid_after_a_restart(world: World, through: str) -> None:
    """An approval may also be given while no agent is running."""
    names = [f"a-{number:02}" for number in range(6)]
    for name in names:
        world.upload(name, suspend=True)
    await world.settle()
    remove(world, *names[:4])
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {None}
    await world.clock.advance(10)
    assert (await send_through(world, through, "approve"))["ok"]
    await world.settle()
    assert [world.record(name).outcome for name in names] == [Outcome.WITHDRAWN] * 4 + [None] * 2
