"""Changes of request files and decisions after the billable act, while the agent runs (design §4)."""

from types import SimpleNamespace

import pytest

from agent.core.record import HoldReason, Outcome, Phase
from tests.support.environment import World
from tests.support.fixtures import Begin


async def test_a_file_that_changes_after_the_start_is_held_and_the_verification_goes_on(world: World) -> None:
    """[I2]"""
    world.upload("a", "sandbox-delay=30s")
    async with world.running() as agent:
        assert world.starts("a") == 1
        world.upload("a", "sandbox-delay=30s", document_id=138)
        await agent.scan()
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.CHANGED_AFTER_START
        await agent.scan()
        await world.clock.advance(60)
        record = world.record("a")
        assert (record.outcome, record.generation, record.phase) == (Outcome.ACCEPTED, 1, Phase.DONE)
        assert record.hold == hold  # the same hold stays until the operator resolves it
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


async def test_changing_the_file_back_ends_the_hold(world: World) -> None:
    path = world.upload("a")
    await world.settle()
    text = path.read_text()
    world.upload("a", document_id=138)
    await world.settle()
    assert world.record("a").state == "held"
    path.write_text(text)
    await world.settle()
    record = world.record("a")
    assert (record.state, record.generation, record.hold) == ("done", 1, None)
    assert world.starts("a") == 1


async def test_a_new_rerun_token_starts_one_generation(world: World) -> None:
    """[I2]"""
    world.upload("a")
    await world.settle()
    for _ in range(2):
        world.upload("a", annotations={"assure-agent/rerun": "2026-11-23a"})
        await world.settle()
        await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    assert [entry.reference[-4:] for entry in world.dossiers("a") if entry.reference] == ["-1-1", "-2-1"]
    assert world.starts("a") == 2
    world.check()
    world.check_nothing_left()


async def test_a_rerun_during_the_verification_deletes_its_dossier_at_once(world: World) -> None:
    """[I3]"""
    world.upload("a", "sandbox-delay=10m")
    async with world.running() as agent:
        world.upload("a", annotations={"assure-agent/rerun": "one"})
        await agent.scan()
        await world.clock.advance(60)
        record = world.record("a")
        assert (record.generation, record.outcome) == (2, Outcome.ACCEPTED)
    world.check()
    world.check_nothing_left()


async def test_a_file_removed_before_the_result_is_withdrawn_and_the_dossier_deleted(world: World) -> None:
    world.upload("b", suspend=True)
    path = world.upload("a", "sandbox-delay=10m")
    async with world.running() as agent:
        path.unlink()
        await agent.scan()
        assert world.record("a").outcome is None
        await agent.scan()
        await world.clock.rest()
        record = world.record("a")
        assert (record.outcome, record.phase, record.present) == (Outcome.WITHDRAWN, Phase.DONE, False)
    world.check_nothing_left()


async def test_a_billed_request_that_was_withdrawn_and_is_back_is_held(world: World) -> None:
    """[I2]"""
    world.upload("b", suspend=True)
    path = world.upload("a", "sandbox-delay=10m")
    async with world.running() as agent:
        text = path.read_text()
        path.unlink()
        await agent.scan()
        await agent.scan()
        await world.clock.rest()
        path.write_text(text)
        await agent.scan()
        await world.clock.advance(60)
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.REAPPEARED_AFTER_START
    assert world.starts("a") == 1
    world.check()


async def test_run_once_finds_a_removal_without_the_next_interval(world: World) -> None:
    world.upload("b")
    path = world.upload("a", suspend=True)
    await world.settle()
    path.unlink()
    await world.settle()
    assert world.record("a").outcome is Outcome.WITHDRAWN


async def test_run_once_ends_at_its_timeout_and_reports_requests_in_progress(world: World) -> None:
    world.upload("a", "sandbox-delay=20m")
    finished = await world.settle(patience=30.0)
    assert finished.unfinished
    assert world.record("a").phase is Phase.RESULT
    assert world.starts("a") == 1


async def test_run_once_does_not_wait_for_held_or_suspended_requests(world: World) -> None:
    world.upload("held", document_id=9001)
    world.upload("suspended", suspend=True)
    world.upload("resting", retention="1d")
    assert not (await world.settle()).unfinished
    assert {name: record.state for name, record in world.records().items()} == {
        "held": "held",
        "suspended": "suspended",
        "resting": "waiting",
    }


@pytest.mark.parametrize("what", ["held", "suspended"])
async def test_the_deadline_applies_to_a_held_request(begin: Begin, what: str) -> None:
    """[I3]"""
    world = await begin(interactive=True)
    path = world.capture("a", deadline="20d", suspend=False)
    if what == "held":
        world.upload("a", document_id=9001, deadline="20d")
    async with world.running(hold_ttl=7 * 86_400.0, poll_interval=3_600.0) as agent:
        if what == "suspended":
            path.write_text(path.read_text().replace("suspend: false", "suspend: true").replace("20d", "1d"))
            await agent.scan()
        await world.clock.advance((7 if what == "held" else 1) * 86_400.0 - 10)
        assert len(world.sandbox.world.dossiers) == 1
        await world.clock.advance(60)
        assert world.record("a").outcome is Outcome.EXPIRED
    world.check_nothing_left()


async def test_refused_credentials_hold_no_request_and_requests_continue_with_valid_ones(world: World) -> None:
    """[I1] Our credentials are at fault, not the request."""
    world.upload("a", "sandbox-delay=10s")
    async with world.running():
        tokens = world.sandbox.tokens
        right, tokens._config = tokens._config, SimpleNamespace(client_id="x", client_secret="y")  # type: ignore[assignment]
        tokens.revoke_all()
        await world.clock.advance(300)
        assert (world.record("a").outcome, world.record("a").hold) == (None, None)
        tokens._config = right
        await world.clock.advance(300)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()
