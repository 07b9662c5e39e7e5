"""The reconcile loop: bounded and fair, keeps every observation, and ends only with an unwritable store (design §8)."""

import asyncio
from collections.abc import Callable

import pytest

from agent.core.effect import CreateDossier, Effect, EffectKind, StartCapture
from agent.core.errors import StoreError
from agent.core.observations import Answered, DocumentRemoved
from agent.core.policy import Policy
from agent.core.record import Outcome, Phase
from agent.core.step import Step
from agent.store.sqlite.connection import sqlite3
from tests.controller.controller_harness import Drive, Perform, capture_record, driving, uid
from tests.support.clock import patiently, until
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.stores import at_once
from verification.audits import verified


async def run(drive: Drive, world: World) -> asyncio.Task[None]:
    """The running loop, after everything that it can do at once. Time does not advance."""
    world.clock.hold()
    task = asyncio.create_task(drive.reconciler.run())
    await world.clock.rest()
    return task


async def end(drive: Drive, world: World, task: asyncio.Task[None]) -> None:
    drive.reconciler.stop()
    world.clock.release()
    await patiently(task)


# -- many at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_concurrency_is_limited_and_all_requests_settle(world: World, concurrency: int) -> None:
    """[I1]"""
    at_once: list[int] = []

    async def around(effect: Effect, perform: Perform) -> Answered:
        at_once.append(len(drive.reconciler._driven))
        return await perform(effect)

    slow = ("createDossier", "createArtifact", "getDossier", "getProcess", "deleteDossier")
    world.sandbox.faults.add([rule(operation, "latency", seconds=1.0, every=1) for operation in slow])
    names = [f"a-{number}" for number in range(8)]
    async with driving(world, around, concurrency) as drive:
        await drive.reconciler.admit([capture_record(name) for name in names])
        task = await run(drive, world)
        await world.clock.advance(200)
        assert [drive.record(name).outcome for name in names] == [Outcome.ACCEPTED] * 8
        await end(drive, world, task)
    assert max(at_once) == concurrency
    assert world.clock.most_asleep == concurrency


async def test_one_slow_call_delays_no_other_request(world: World) -> None:
    """[I9]"""
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=1_000.0)])
    names = [f"a-{number}" for number in range(6)]
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record(name) for name in names])
        task = await run(drive, world)
        await world.clock.advance(60)
        outcomes = [drive.record(name).outcome for name in names]
        assert sorted(outcomes, key=str) == [None, *[Outcome.ACCEPTED] * 5]
        await world.clock.advance(1_000)
        assert [drive.record(name).outcome for name in names] == [Outcome.ACCEPTED] * 6
        await end(drive, world, task)


async def test_new_requests_precede_polls(world: World) -> None:
    async with driving(world, concurrency=1) as drive:
        world.sandbox.world.config = world.sandbox.config
        waiting = [capture_record(f"waiting-{number}") for number in range(3)]
        await drive.reconciler.admit(waiting)
        task = await run(drive, world)
        assert {drive.record(record.name).phase for record in waiting} == {Phase.RESULT}
        await end(drive, world, task)
    world.clock.hold()
    await world.clock.advance(Policy().poll_fallback + 1)  # all requests are due now
    async with driving(world, concurrency=1) as drive:
        await drive.reconciler.admit([capture_record(f"new-{number}") for number in range(3)])
        task = await run(drive, world)
        kinds = [effect.kind for effect in drive.interpreter.effects]
        assert kinds[:6] == [EffectKind.CREATE_DOSSIER, EffectKind.START_CAPTURE] * 3
        assert kinds[6] is EffectKind.READ_DOSSIER
        await end(drive, world, task)


async def test_a_request_that_waits_costs_no_task(world: World) -> None:
    """[I8]"""
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record(f"a-{number}") for number in range(20)])
        before = len(asyncio.all_tasks())
        task = await run(drive, world)
        assert drive.reconciler.idle
        assert {drive.record(f"a-{number}").phase for number in range(20)} == {Phase.RESULT}
        assert len(drive.reconciler._driven) == 0
        await until(lambda: len(asyncio.all_tasks()) <= before + 1 + 20)  # connections of the sandbox, at most
        await end(drive, world, task)


# -- what goes wrong -----------------------------------------------------------------------------------------------


async def test_a_bug_with_one_record_is_reported_and_affects_no_other(world: World) -> None:
    """[I9]"""

    async def around(effect: Effect, perform: Perform) -> Answered:
        if isinstance(effect, CreateDossier) and uid("bad") in effect.reference:
            raise ZeroDivisionError("a bug of the agent")
        return await perform(effect)

    async with driving(world, around) as drive:
        await drive.reconciler.admit([capture_record(name) for name in ("bad", "good", "better")])
        task = await run(drive, world)
        await world.clock.advance(30)
        assert drive.record("good").outcome is Outcome.ACCEPTED
        assert drive.record("better").outcome is Outcome.ACCEPTED
        assert [(name, type(error)) for name, error in drive.bugs] == [(uid("bad"), ZeroDivisionError)]
        await end(drive, world, task)


async def test_a_record_with_a_bug_is_tried_again_later(world: World) -> None:
    """[I1] [I2] After the bug its intent is open: that is resumed, not repeated."""
    raised: list[Effect] = []

    async def around(effect: Effect, perform: Perform) -> Answered:
        answer = await perform(effect)
        if isinstance(effect, CreateDossier) and not raised:
            raised.append(effect)
            raise ZeroDivisionError("after it happened")
        return answer

    async with driving(world, around) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        await world.clock.advance(50)
        assert drive.record("a").phase is Phase.DOSSIER
        await world.clock.advance(100)
        assert drive.record("a").outcome is Outcome.ACCEPTED
        await end(drive, world, task)
    assert len(world.ledger.dossiers) == 1
    world.check_nothing_left()


async def test_an_unwritable_store_ends_the_loop_without_a_call(world: World) -> None:
    """[I4] Without a committed intent the agent sends no call."""
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        _break(world)
        with pytest.raises(StoreError) as caught:
            await patiently(drive.reconciler.run())
        assert caught.value.hint
        assert drive.interpreter.effects == []
    assert world.calls == []


async def test_a_failing_store_ends_the_agent_with_its_error(world: World) -> None:
    world.upload("a", "sandbox-delay=1m")
    with pytest.raises(StoreError):
        async with world.running() as agent:
            _break(world)
            world.clock.release()
            await until(agent._shutdown.requested.is_set)
    assert world.starts("a") == 1


async def test_an_unreadable_store_ends_the_agent_with_its_error(world: World) -> None:
    """[I1] A running agent that processes nothing would seem healthy."""
    world.upload("a", "sandbox-delay=1m")
    with pytest.raises(StoreError):
        async with world.running() as agent:
            connection = sqlite3.connect(world.state)
            connection.execute("ALTER TABLE requests RENAME TO elsewhere")
            connection.close()
            world.clock.release()
            await until(agent._shutdown.requested.is_set)


async def test_an_error_in_a_callback_after_a_commit_changes_nothing(world: World) -> None:
    """[I1] A log on a full disk made `_commit` raise after the commit: a new request was on file and never driven."""

    def seen(step: Step) -> None:
        raise OSError(28, "No space left on device")

    def failed(uid: str, error: Exception) -> None:
        raise OSError(28, "No space left on device")

    async with driving(world, seen=seen, failed=failed) as drive:
        task = await run(drive, world)
        await drive.reconciler.admit([capture_record("a")])  # while the loop waits, so that it must be woken
        await world.clock.advance(30)
        outcome = drive.record("a").outcome
        await end(drive, world, task)
    assert outcome is Outcome.ACCEPTED
    assert {log["event"] for log in world.logs} == {"a callback failed"}
    assert {log["error"].split(":")[0] for log in world.logs} == {"OSError at test_reconciler.py"}


def _break(world: World) -> None:
    """Make every update of a record fail from now on."""
    connection = sqlite3.connect(world.state)
    connection.execute("CREATE TRIGGER broken BEFORE UPDATE ON requests BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    connection.commit()
    connection.close()


# -- ending --------------------------------------------------------------------------------------------------------


async def test_stop_saves_calls_in_progress_and_starts_none(world: World) -> None:
    """[I4]"""
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=30.0)])
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        drive.reconciler.stop()
        await asyncio.sleep(0.05)
        assert not task.done()
        world.clock.release()
        await patiently(task)
        record = drive.record("a")
        assert (record.phase, record.intent) == (Phase.PROCESS, None)
        assert record.due_at is not None
    assert world.calls == ["token", "createDossier"]


async def test_a_stopped_request_continues_at_the_next_start(world: World) -> None:
    """[I1] [I2]"""
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=30.0)])
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        await end(drive, world, await run(drive, world))
    async with driving(world) as drive:
        task = await run(drive, world)
        await world.clock.advance(30)
        assert drive.record("a").outcome is Outcome.ACCEPTED
        await end(drive, world, task)
    assert world.ledger.calls["createDossier"] == 1
    assert not verified(world.state).findings


async def test_cancel_all_leaves_an_intent_that_is_resumed(world: World) -> None:
    """[I2] [I3]"""
    world.sandbox.faults.add([rule("createDossier", "hang", acts=True)])
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run_into_a_hang(drive, world)
        drive.reconciler.stop()
        await drive.reconciler.cancel_all()
        await patiently(task)
        intent = drive.record("a").intent
        assert intent is not None
        assert intent.kind is EffectKind.CREATE_DOSSIER
    async with driving(world) as drive:
        task = await run(drive, world)
        await world.clock.advance(60)
        assert drive.record("a").outcome is Outcome.ACCEPTED
        await end(drive, world, task)
    assert len(world.ledger.dossiers) == 1


async def run_into_a_hang(drive: Drive, world: World) -> asyncio.Task[None]:
    world.clock.hold()
    task = asyncio.create_task(drive.reconciler.run())
    await until(lambda: "createDossier" in world.calls)
    return task


# -- what reaches a record meanwhile -------------------------------------------------------------------------------


async def test_an_observation_for_an_active_record_waits_for_the_answer(world: World) -> None:
    """[I3] Withdrawn while its dossier is being created: the dossier is known, and deleted."""
    world.sandbox.faults.add([rule("createDossier", "latency", seconds=10.0)])
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        await drive.reconciler.deliver({uid("a"): DocumentRemoved(at=world.clock.now())})
        assert drive.record("a").present
        await world.clock.advance(30)
        record = drive.record("a")
        assert (record.outcome, record.phase, record.present) == (Outcome.WITHDRAWN, Phase.DONE, False)
        await end(drive, world, task)
    assert [entry.captures for entry in world.ledger.dossiers.values()] in ([0], [1])
    world.check_nothing_left()


async def test_an_observation_for_a_waiting_record_is_applied_at_once(world: World) -> None:
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        await drive.reconciler.deliver({uid("a"): DocumentRemoved(at=world.clock.now())})
        assert drive.record("a").outcome is Outcome.WITHDRAWN
        await world.clock.rest()
        assert drive.record("a").phase is Phase.DONE
        await end(drive, world, task)
    world.check_nothing_left()


async def test_an_observation_for_a_record_with_an_open_intent_waits_until_it_is_resumed(world: World) -> None:
    """[I3]"""
    world.sandbox.faults.add([rule("createDossier", "hang", acts=True)])
    async with driving(world) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run_into_a_hang(drive, world)
        drive.reconciler.stop()
        await drive.reconciler.cancel_all()
        await task
    async with driving(world) as drive:
        await drive.reconciler.deliver({uid("a"): DocumentRemoved(at=world.clock.now())})
        assert drive.record("a").present
        task = await run(drive, world)
        await world.clock.advance(60)
        assert drive.record("a").outcome is Outcome.WITHDRAWN
        assert drive.record("a").phase is Phase.DONE
        await end(drive, world, task)
    world.check_nothing_left()


@pytest.mark.parametrize("when", ["during the answer", "after the last step"])
async def test_a_removal_at_the_end_of_a_task_is_not_lost(world: World, when: str) -> None:
    """[I1] The record is held then, so that nothing else would wake it."""
    tasks: list[asyncio.Task[None]] = []

    def deliver() -> None:
        tasks.append(asyncio.create_task(drive.reconciler.deliver({uid("a"): DocumentRemoved(at=world.clock.now())})))

    async def around(effect: Effect, perform: Perform) -> Answered:
        answer = await perform(effect)
        if isinstance(effect, StartCapture) and when == "during the answer":
            deliver()
        return answer

    def seen(step: Step) -> None:
        if step.record.hold is not None and when == "after the last step" and not tasks:
            deliver()

    async with driving(world, around, seen=seen) as drive:
        await drive.reconciler.admit([capture_record("a")])
        world.sandbox.world.flows.start = _refuse  # type: ignore[method-assign]
        task = await run(drive, world)
        await asyncio.gather(*tasks)
        assert tasks
        await world.clock.advance(120)
        assert drive.record("a").phase is Phase.DONE
        await end(drive, world, task)
    world.check_nothing_left()


def _refuse(*_: object) -> dict[str, object]:
    from agent.sandbox.model import bad_request

    raise bad_request("not today")


async def test_no_step_is_reported_before_its_commit(world: World) -> None:
    """[I4]"""
    on_disk: list[Callable[[], bool]] = []

    def seen(step: Step) -> None:
        stored = at_once(drive.store.get(step.record.uid))
        on_disk.append(lambda: stored is not None and stored.version >= step.record.version)

    async with driving(world, seen=seen) as drive:
        await drive.reconciler.admit([capture_record("a")])
        task = await run(drive, world)
        await world.clock.advance(30)
        await end(drive, world, task)
    assert on_disk
    assert all(check() for check in on_disk)
