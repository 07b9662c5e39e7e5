"""A state folder that was restored as a whole, with high-water mark and checkpoints: only Assure shows it."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.core.record import HoldReason, Outcome, Phase
from agent.sandbox.model import View
from tests.controller.test_recovery import approve, approved, killed_in, recoveries
from tests.support.clock import until
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]


def snapshot(world: World) -> Path:
    """A copy of the state folder. No agent runs."""
    kept = world.folder / "snapshot"
    shutil.copytree(world.state.parent, kept)
    return kept


def put_back(world: World, kept: Path) -> None:
    """Restore the folder, with no trace outside it."""
    shutil.rmtree(world.state.parent)
    shutil.copytree(kept, world.state.parent)


async def nothing_yet(world: World) -> Path:
    """A state folder in which nothing was asked for yet."""
    async with world.running():
        pass
    return snapshot(world)


async def asked(world: World) -> dict[str, int]:
    """The calls of an agent that starts without any work."""
    before = world.ledger.calls.copy()
    async with world.running():
        pass
    return dict(world.ledger.calls - before)


# -- what is noticed ---------------------------------------------------------------------------------------------------


async def test_a_request_that_was_started_since_is_adopted_and_the_rest_waits_for_approval(world: World) -> None:
    """[I2] One that runs at Assure proves it; of what is done nothing is to be seen, and it is not billed again."""
    kept = await nothing_yet(world)
    world.upload("done")
    await world.settle()
    world.upload("runs", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(60)
    put_back(world, kept)
    world.upload("new")
    async with world.running() as agent:
        await world.clock.advance(60)
        assert recoveries(world) == [("older", False, False)]
        assert world.record("runs").phase is Phase.RESULT
        holds = {name: one.hold.reason for name, one in world.records().items() if one.hold is not None}
        assert holds == {"done": HoldReason.HISTORY_LOST, "new": HoldReason.HISTORY_LOST}
        await agent._control.execute(
            {"id": "resolve-1", "verb": "resolve", "name": "done", "answer": "abandon"}, "root (uid 0)"
        )
        await approve(agent)
        await agent._work_gate.run_recovery()
        await world.clock.advance(4_000)
        assert world.record("runs").outcome is Outcome.ACCEPTED
        assert world.record("new").outcome is Outcome.ACCEPTED
    assert {name: world.starts(name) for name in world.records()} == {"done": 1, "new": 1, "runs": 1}
    assert recoveries(world) == [("older", True, True)]
    world.check_nothing_left()


@pytest.mark.parametrize("call", ["createDossier", "createProcess", "setImages", "startVerification"])
async def test_a_folder_from_the_middle_of_a_request_starts_nothing_twice(world: World, call: str) -> None:
    """[I2] [I3] Where the copy would go on blindly it is noticed; where it reads before it acts, that is enough."""
    world.upload("a", "sandbox-delay=5m", back=True)
    await killed_in(world, rule(call, "hang", acts=True))
    kept = snapshot(world)
    async with world.running():
        await world.clock.advance(120)
        assert world.record("a").phase is Phase.RESULT
    put_back(world, kept)
    async with world.running() as agent:
        assert bool(recoveries(world)) is (call in ("createDossier", "setImages"))
        if recoveries(world):
            await approve(agent)
            await agent._work_gate.run_recovery()
        await world.clock.advance(600)
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert world.starts("a") == 1
    world.check_nothing_left()


async def test_a_rerun_that_began_since_is_noticed(world: World) -> None:
    """[I2] Its token is still in the file and is applied once."""
    world.upload("a")
    await world.settle()
    kept = snapshot(world)
    world.upload("a", "sandbox-delay=5m", annotations={"assure-agent/rerun": "again"})
    async with world.running():
        await world.clock.advance(60)
    put_back(world, kept)
    async with approved(world):
        await world.clock.advance(600)
    assert (world.record("a").generation, world.record("a").outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    world.check_nothing_left()


@pytest.mark.parametrize(("agent_id", "noticed"), [("", True), ("tests", False)])
async def test_an_unknown_dossier_is_a_sign_only_under_an_agent_id_that_is_unique(
    world: World, agent_id: str, noticed: bool
) -> None:
    """Its file is gone. An AGENT_ID that was set may be that of another agent, with a key of its own."""
    world.switches["agent_id"] = agent_id
    kept = await nothing_yet(world)
    path = world.upload("a", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(60)
    path.unlink()
    put_back(world, kept)
    async with world.running():
        assert bool(recoveries(world)) is noticed


async def test_the_agent_reads_the_list_again_while_assure_gives_none(world: World) -> None:
    """[I2] Nothing is begun meanwhile."""
    kept = await nothing_yet(world)
    world.upload("a", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(60)
    put_back(world, kept)
    world.sandbox.faults.add([rule("getDossiers", "503", count=2)])
    finished = await world.settle(patience=600.0)
    assert finished.unfinished
    assert recoveries(world) == [("older", False, False)]
    assert world.starts("a") == 1


# -- not a sign ---------------------------------------------------------------------------------------------------


async def test_a_start_costs_two_lists_and_the_first_none(world: World) -> None:
    assert "getDossiers" not in await asked(world)
    world.upload("a", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(60)
    made = await asked(world)
    assert (made["getDossiers"], made["getAllProcess"]) == (1, 1)
    assert recoveries(world) == []


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize(
    "call", ["createDossier", "createProcess", "setImages", "startVerification", "createArtifact", "deleteDossier"]
)
async def test_a_dossier_of_an_unanswered_call_is_not_evidence(world: World, call: str, acts: bool) -> None:
    if call == "createArtifact":
        world.capture("a")
    else:
        world.upload("a", back=True)
    await killed_in(world, rule(call, "hang", acts=acts))
    await world.settle()
    assert recoveries(world) == []
    assert world.record("a").phase is Phase.DONE
    world.check()


async def test_a_list_that_shows_a_deleted_dossier_is_not_evidence(world: World) -> None:
    """The agent reads the dossier before it believes the list."""
    kept = await nothing_yet(world)
    world.upload("a", "sandbox-delay=5m")
    async with world.running():
        await world.clock.advance(60)
    stale = world.sandbox.world.list_dossiers(View())
    world.clock.release()
    async with world.running():
        await world.clock.advance(900)
    assert world.sandbox.world.dossiers == {}
    put_back(world, kept)

    def list_dossiers(*_: Any) -> Any:
        return stale

    world.sandbox.world.list_dossiers = list_dossiers  # type: ignore[method-assign]
    async with world.running():
        assert recoveries(world) == []


async def test_a_dossier_that_an_earlier_recovery_left_is_not_evidence(world: World) -> None:
    """The file was removed while the store was lost: its dossier still exists and is reported once."""
    world.switches["agent_id"] = ""
    path = world.upload("a", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(60)
    for file in world.state.parent.glob("agent.db*"):
        file.unlink()
    path.unlink()
    async with approved(world) as agent:
        await until(lambda: not agent.reconciler.recovering)
    assert recoveries(world) == [("lost", True, True)]
    assert await asked(world)
    assert recoveries(world) == [("lost", True, True)]
