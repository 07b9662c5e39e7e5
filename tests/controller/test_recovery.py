"""A lost or older store: the agent recovers what Assure still has, and starts nothing billable without proof."""

import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from agent.core.record import HoldReason, Outcome, Phase
from agent.daemon.agent import Agent
from agent.sandbox.faults.rules import Rule
from agent.store.sqlite.backup import back_up, restore
from tests.support.clock import patiently, until
from tests.support.commands import execute_offline
from tests.support.environment import World
from tests.support.faults import rule


async def approve(agent: Agent) -> str:
    answer = await agent._control.execute({"id": "approve-1", "verb": "approve"}, "root (uid 0)")
    assert answer["ok"], answer
    return str(answer["message"])


@contextlib.asynccontextmanager
async def approved(world: World) -> AsyncIterator[Agent]:
    """Run the agent with the operator's approval until it settles."""
    async with world.running() as agent:
        await approve(agent)
        await agent._work_gate.run_recovery()
        yield agent


async def killed_in(world: World, trouble: Rule) -> None:
    """Run until all calls of the rule hang, and end without their answers."""
    world.sandbox.faults.add([trouble])
    world.clock.release()
    async with world.opened(request_timeout=60.0) as agent:
        import asyncio

        task = asyncio.create_task(agent.run())
        await until(lambda: sum(row["fired"] for row in world.sandbox.faults.rows()) >= (trouble.count or 1))
        agent.stop()
        await asyncio.sleep(0)
        await agent.reconciler.cancel_all()
        await patiently(task)
    world.sandbox.faults.clear()


def recoveries(world: World) -> list[tuple[str, bool, bool]]:
    return [
        (why, bool(approved), bool(closed))
        for why, approved, closed in world.rows("SELECT cause, approved_at, closed_at FROM recoveries ORDER BY id")
    ]


# -- a first start ---------------------------------------------------------------------------------------------------


@pytest.mark.both_engines
async def test_a_first_start_begins_no_recovery_and_makes_no_call(world: World) -> None:
    world.upload("a")
    await world.settle()
    assert recoveries(world) == []
    assert world.ledger.calls["getDossiers"] == 0


# -- lost ------------------------------------------------------------------------------------------------------------


@pytest.mark.both_engines
@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("call", ["createProcess", "setImages", "startVerification", "deleteDossier"])
async def test_a_dossier_of_a_lost_store_is_adopted_and_started_once(world: World, call: str, acts: bool) -> None:
    """[I1] [I2] [I3] A pending process goes on, one that was started is observed, a final one is the result."""
    world.upload("a", back=True)
    await killed_in(world, rule(call, "hang", acts=acts))
    await world.lose()
    await world.settle()
    if (call, acts) in (("deleteDossier", True), ("createProcess", False)):
        hold = world.record("a").hold  # there is no dossier, or an empty one, which proves nothing
        assert hold is not None
        assert hold.evidence == ("not-found" if call == "deleteDossier" else "empty-dossier")
        return
    assert (world.record("a").outcome, world.record("a").phase) == (Outcome.ACCEPTED, Phase.DONE)
    assert world.starts("a") == 1
    world.check(cut=True)
    world.check_nothing_left()


@pytest.mark.both_engines
async def test_a_request_without_a_dossier_waits_for_approval_and_then_starts(world: World) -> None:
    """[I1] [I2] It may have been verified and billed: nothing is created before somebody says so."""
    world.upload("a")
    await world.settle()
    await world.lose()
    before = world.ledger.calls.copy()
    await world.settle()
    hold = world.record("a").hold
    assert hold is not None
    assert (hold.reason, hold.evidence) == (HoldReason.HISTORY_LOST, "not-found")
    made = world.ledger.calls - before
    assert set(made) == {"token", "getDossiers", "getAllProcess"}
    assert (made["getDossiers"], made["getAllProcess"]) == (1, 1)
    assert recoveries(world) == [("lost", False, False)]
    async with approved(world) as agent:
        await until(lambda: world.record("a").phase is not Phase.DOSSIER)
        world.clock.release()
        await until(lambda: world.record("a").phase is Phase.DONE)
        assert not agent.reconciler.recovering
    assert recoveries(world) == [("lost", True, True)]
    world.check(cut=True)
    world.check_nothing_left()


async def test_many_requests_of_a_lost_store_share_one_list(world: World) -> None:
    for number in range(12):
        world.upload(f"a-{number}", "sandbox-delay=5m")
    async with world.running():
        await world.clock.advance(10)
    await world.lose()
    before = world.ledger.calls.copy()
    await world.settle()
    made = world.ledger.calls - before
    assert made["getDossiers"] == 1
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert all(world.starts(f"a-{number}") == 1 for number in range(12))
    world.check(cut=True)
    world.check_nothing_left()


async def test_an_unclaimed_dossier_is_logged_and_left_alone(world: World) -> None:
    """[I3] Its file was removed while the store was lost."""
    path = world.upload("a", "sandbox-delay=5m")
    async with world.running():
        await world.clock.advance(10)
    await world.lose()
    path.unlink()
    world.upload("b")
    await world.settle()
    ((dossier_id, reference),) = world.rows("SELECT dossier_id, reference FROM unclaimed_dossiers")
    assert reference.startswith("aa-tests-")
    assert world.ledger.dossiers[dossier_id].deleted_at is None


async def test_a_capture_with_a_used_link_is_observed_after_the_store_was_lost(world: World) -> None:
    """[I2] The person may be in the middle of it: no second link."""
    world.sandbox.world.config = world.sandbox.config
    world.capture("a")
    async with world.running():
        pass
    await world.lose()
    await world.settle()
    (entry,) = world.dossiers("a")
    assert entry.captures == 1
    assert world.record("a").outcome is Outcome.ACCEPTED
    world.check(cut=True)
    world.check_nothing_left()


async def test_a_result_of_a_lost_store_is_read_long_after_its_deadline(world: World) -> None:
    """No dossier is deleted before its result was read, because it was billed."""
    world.upload("a", "sandbox-delay=10m", deadline="1h")
    async with world.running():
        await world.clock.advance(10)
    await world.lose()
    await world.clock.advance(3 * 86400)
    async with world.running():
        await world.clock.advance(60)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check_nothing_left()


async def test_nothing_starts_while_assure_returns_no_list(world: World) -> None:
    """[I2]"""
    world.upload("a")
    await world.settle()
    await world.lose()
    world.sandbox.faults.add([rule("getDossiers", "503", count=3)])
    async with world.running() as agent:
        assert world.record("a").hold is not None
        for _ in range(4):
            await agent._work_gate.run_recovery()
        assert world.record("a").hold is not None
        assert world.ledger.calls["createDossier"] == 1
    assert len(world.dossiers("a")) == 1


# -- an older copy ---------------------------------------------------------------------------------------------------


@pytest.mark.both_engines
async def test_an_older_copy_starts_nothing_before_approval(world: World) -> None:
    """[I2] What was admitted, started, finished or begun since the copy was made is not billed again."""
    world.upload("done-before")
    await world.settle()
    kept = await world.keep()
    world.upload("done-since")
    world.upload("runs", "sandbox-delay=10m")
    async with world.running():
        await world.clock.advance(60)
    await world.bring_back(kept)
    world.upload("new")
    world.switches["poll_interval"] = 60.0
    async with world.running() as agent:
        await world.clock.advance(60)
        assert recoveries(world) == [("older", False, False)]
        assert world.record("runs").phase is Phase.RESULT  # adopted and observed
        assert world.record("done-before").phase is Phase.DONE
        held = {name for name, record in world.records().items() if record.hold is not None}
        assert held == {"done-since", "new"}
        for name in ("done-since", "runs"):
            assert world.starts(name) == 1
        await agent._control.execute(
            {"id": "resolve-1", "verb": "resolve", "name": "done-since", "answer": "abandon"}, "root (uid 0)"
        )
        await approve(agent)
        await agent._work_gate.run_recovery()
        await world.clock.advance(900)
        assert world.record("runs").outcome is Outcome.ACCEPTED
        assert world.record("new").outcome is Outcome.ACCEPTED
        assert world.record("done-since").outcome is Outcome.ABANDONED
    assert {name: world.starts(name) for name in world.records()} == {
        "done-before": 1, "done-since": 1, "runs": 1, "new": 1,
    }  # fmt: skip
    assert recoveries(world) == [("older", True, True)]
    world.check(cut=True)
    world.check_nothing_left()


@pytest.mark.parametrize("call", ["createDossier", "createProcess", "setImages", "startVerification"])
async def test_a_copy_from_the_middle_of_a_request_starts_nothing_twice(world: World, call: str) -> None:
    """[I2] [I3] The copy has an open intent; the request went on to its end, or into its result, after it was made."""
    world.upload("a", "sandbox-delay=5m", back=True)
    await killed_in(world, rule(call, "hang", acts=True))
    kept = await world.keep()
    async with world.running():
        await world.clock.advance(120)
        assert world.record("a").phase is Phase.RESULT
    await world.bring_back(kept)
    async with approved(world):
        await world.clock.advance(600)
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert world.starts("a") == 1
    world.check(cut=True)
    world.check_nothing_left()


async def test_a_request_of_a_copy_is_not_billed_before_approval(world: World) -> None:
    """[I2] Its process is pending at Assure. The copy has no high-water mark, so its age is unknown."""
    world.upload("a", back=True)
    await killed_in(world, rule("setImages", "hang", acts=False))
    world.state.with_name("agent.mark").unlink()
    finished = await world.settle()
    assert finished.unfinished
    before = world.ledger.calls.copy()
    async with world.running() as agent:
        await world.clock.advance(120)
        begun = set(world.ledger.calls - before)
        assert not begun & {"createDossier", "createProcess", "setImages", "startVerification"}
        await approve(agent)
        await agent._work_gate.run_recovery()
        await world.clock.advance(60)
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


async def test_a_rerun_after_the_copy_is_adopted(world: World) -> None:
    """[I2] Its token is still in the file, and starts one generation."""
    world.upload("a")
    await world.settle()
    kept = await world.keep()
    world.upload("a", "sandbox-delay=5m", annotations={"assure-agent/rerun": "again"})
    async with world.running():
        await world.clock.advance(60)
        assert world.record("a").generation == 2
    await world.bring_back(kept)
    async with approved(world):
        await world.clock.advance(600)
    record = world.record("a")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert world.starts("a") == 2
    world.check(cut=True)
    world.check_nothing_left()


async def between_two_attempts(world: World) -> None:
    """The start of the capture has no answer, and Assure cannot delete its dossier yet."""
    world.capture("a")
    world.capture("b")
    world.sandbox.faults.add([rule("createArtifact", "503", every=1), rule("deleteDossier", "503", every=1)])
    async with world.running():
        await world.clock.advance(2)
    world.sandbox.faults.clear()


async def between_two_documents(world: World) -> None:
    """The file changed before billing, and Assure cannot delete the first dossier yet."""
    for name in ("a", "b"):
        world.upload(name)
    world.sandbox.faults.add([rule("setImages", "503", every=1), rule("deleteDossier", "503", every=1)])
    async with world.running() as agent:
        await world.clock.advance(2)
        for name in ("a", "b"):
            world.upload(name, back=True)
        await agent.scan()
        await world.clock.advance(2)
    assert world.record("a").next is not None
    world.sandbox.faults.clear()


async def capture_asked_for(world: World) -> None:
    """The agent crashed during the start of the capture."""
    world.capture("a")
    world.capture("b")
    await killed_in(world, rule("createArtifact", "hang", acts=True, count=2))


@pytest.mark.parametrize("way", ["copy", "backup"])
@pytest.mark.parametrize("until_then", [between_two_attempts, between_two_documents, capture_asked_for])
async def test_a_successor_in_a_copy_is_held_before_approval(
    world: World, until_then: Callable[[World], Awaitable[None]], way: str
) -> None:
    """[I1] [I2] It was done since, and billed: what a person gives up is not billed again, and the rest is begun."""
    world.sandbox.world.config = world.sandbox.config
    await until_then(world)
    assert {record.phase for record in world.records().values()} <= {Phase.DELETION, Phase.PROCESS}
    kept = await world.keep()
    if way == "backup":
        kept = world.folder / "backup.db"
        back_up(world.state, kept)
    await world.settle()
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert world.sandbox.world.dossiers == {}
    billed = {name: world.starts(name) for name in ("a", "b")}
    if way == "backup":
        restore(kept, world.state)
    else:
        await world.bring_back(kept)
    async with world.running() as agent:
        await world.clock.advance(300)
        holds = {name: one.hold.reason for name, one in world.records().items() if one.hold is not None}
        assert holds == {"a": HoldReason.HISTORY_LOST, "b": HoldReason.HISTORY_LOST}
        await agent._control.execute(
            {"id": "resolve-1", "verb": "resolve", "name": "a", "answer": "abandon"}, "root (uid 0)"
        )
        await approve(agent)
        await agent._work_gate.run_recovery()
        await world.clock.advance(600)
        assert world.record("b").outcome is Outcome.ACCEPTED
    assert world.record("a").outcome is Outcome.ABANDONED
    assert world.starts("a") == billed["a"]
    assert world.starts("b") == billed["b"] + 1
    world.check_nothing_left()


async def test_an_offline_command_does_not_give_up_a_capture_of_a_restored_store(world: World) -> None:
    """[I1] [I2] The copy was made while the capture was being started: its link may be in use since."""
    world.sandbox.world.config = replace(world.sandbox.config, capture_delay=1800.0)
    world.sandbox.faults.add([rule("createArtifact", "latency", seconds=5.0)])
    world.capture("a")
    kept = world.folder / "backup.db"
    async with world.running():
        await world.clock.advance(1)
        back_up(world.state, kept)
        await world.clock.advance(30)
        assert world.link("a") is not None
    restore(kept, world.state)
    assert (await execute_offline(world, "show-personal", name="a"))["ok"]
    hold = world.record("a").hold
    assert hold is not None
    assert hold.reason is HoldReason.HISTORY_LOST
    async with world.running():
        await world.clock.advance(300)
        assert len(world.sandbox.world.dossiers) == 1
    assert world.starts("a") == 1
    assert world.record("a").attempt == 1


async def test_a_copy_restored_over_its_own_successor_is_detected(world: World) -> None:
    """Each recovery gives the database another identity, so the replaced file is not taken for its successor."""
    world.upload("a")
    await world.settle()
    kept = await world.keep()
    world.upload("b")
    await world.settle()
    newer = world.folder / "newer.db"
    shutil.copy(world.state, newer)
    await world.bring_back(kept)
    async with approved(world):
        await world.clock.advance(600)
    await world.bring_back(newer)
    async with world.running():
        pass
    assert recoveries(world) == [("older", False, False)]


async def test_an_unreadable_list_is_reported_and_the_recovery_continues_later(world: World) -> None:
    world.upload("a")
    await world.settle()
    await world.lose()
    world.sandbox.faults.add([rule("getAllProcess", "foreign", every=1, status=200)])
    async with approved(world) as agent:
        for _ in range(3):
            await agent._work_gate.run_recovery()
        reported = [entry["event"] for entry in world.logs if "Assure's lists cannot be read" in entry["event"]]
        assert len(reported) == 1
        assert (await agent._store.recoveries.open()) is not None
        world.sandbox.faults.clear()
        await agent._work_gate.run_recovery()
        assert (await agent._store.recoveries.open()) is None
    assert world.logs[-1]["event"] != reported[0]
