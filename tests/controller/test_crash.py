"""Crashes: another agent opens the state on disk of the moment when a call hung [I1] [I2] [I3] [I4] [I5].

The copy of database, write-ahead log and key is what `kill -9` leaves. The first agent ends without a further commit.
"""

import asyncio
import contextlib
import itertools

import pytest

from agent.core.errors import StoreLocked
from agent.core.record import Phase
from agent.sandbox.faults.rules import Rule
from tests.support.clock import patiently, until
from tests.support.environment import World
from tests.support.faults import rule

CALLS = [
    *itertools.product(
        ("createDossier", "createProcess", "setImages", "startVerification", "deleteDossier"), (True, False)
    ),
    ("getProcess", False),
    ("getDossier", False),
]


async def crash(world: World, trouble: Rule) -> None:
    """Run until the call that hangs, and continue with the state of that moment."""
    world.sandbox.faults.add([trouble])
    world.clock.release()
    async with world.crashed() as crash_now, world.opened(request_timeout=60.0) as agent:
        task = asyncio.create_task(agent.run())
        await until(lambda: any(row["fired"] for row in world.sandbox.faults.rows()))
        await crash_now()
        agent.stop()
        await asyncio.sleep(0)
        with contextlib.suppress(StoreLocked):  # a step that comes too late
            await agent.reconciler.cancel_all()
            await patiently(task)
    world.sandbox.faults.clear()


@pytest.mark.both_engines
@pytest.mark.parametrize(("operation", "acts"), CALLS)
async def test_an_upload_continues_after_a_crash_in_any_call_and_starts_once(
    world: World, operation: str, acts: bool
) -> None:
    world.upload("a")
    await crash(world, rule(operation, "hang", acts=acts))
    assert world.findings() == []
    await world.settle()
    assert (world.record("a").outcome, world.record("a").phase) == ("accepted", Phase.DONE)
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("operation", ["createDossier", "createArtifact", "deleteDossier"])
async def test_a_capture_continues_after_a_crash_in_any_call_without_a_second_link(
    world: World, operation: str, acts: bool
) -> None:
    world.capture("a")
    await crash(world, rule(operation, "hang", acts=acts))
    await world.settle()
    assert world.record("a").outcome == "accepted"
    for entry in world.dossiers("a")[:-1]:
        assert entry.deleted_at is not None
    assert world.dossiers("a")[-1].captures == 1
    world.check()
    world.check_nothing_left()


@pytest.mark.both_engines
async def test_ten_requests_in_different_calls_survive_the_same_crash(world: World) -> None:
    for number in range(8):
        world.upload(f"a-{number}", "sandbox-delay=3s", processType="documentSelfie")
    world.capture("b-1")
    world.capture("b-2")
    await crash(world, rule("startVerification", "hang", acts=True, nth=4))
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {"accepted"}
    assert [world.starts(f"a-{number}") for number in range(8)] == [1] * 8
    world.check()
    world.check_nothing_left()


async def test_a_crash_in_every_call_in_turn_starts_once(world: World) -> None:
    world.upload("a")
    for operation in ("createDossier", "createProcess", "setImages", "startVerification", "deleteDossier"):
        await crash(world, rule(operation, "hang", acts=True))
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


@pytest.mark.both_engines
async def test_a_file_removed_while_the_agent_was_down_is_withdrawn_and_its_dossier_deleted(world: World) -> None:
    """[I3]"""
    path = world.upload("a")
    world.upload("b")
    await crash(world, rule("createProcess", "hang", acts=True))
    path.unlink()
    await world.settle()
    assert world.record("a").phase is Phase.DONE
    assert world.starts("a") <= 1
    world.check()
    world.check_nothing_left()
