"""Circuit breaker, rate limit and create barrier against the sandbox (design §8)."""

import asyncio
from typing import Any

import pytest

from agent.assure.circuit_breaker import Cause
from agent.core.record import Outcome, Phase
from agent.ports import Command
from agent.sandbox.model import not_found
from tests.daemon.test_metrics import get, metrics
from tests.support.clock import patiently, until
from tests.support.commands import ask
from tests.support.environment import World
from tests.support.faults import rule

HOUR = 3600.0


def down(world: World) -> None:
    """Every call gets a 503, and has no effect."""
    world.sandbox.faults.add([rule("*", "503", every=1, acts=False)])


def notes(world: World) -> list[str]:
    """The log events about the circuit."""
    return [entry["event"] for entry in world.logs if "circuit" in entry["event"]]


# -- an outage -----------------------------------------------------------------------------------------------------


async def test_an_outage_of_an_hour_costs_probes_and_then_everything_continues(world: World) -> None:
    """[I1] [I2] [I8] Meanwhile nothing is claimed or committed, and no request waits for an old backoff."""
    names = [f"a-{number}" for number in range(30)]
    async with world.running(http=True) as agent:
        # Each creation takes a while, so that all are under way before the doubt of one bars the others.
        world.sandbox.faults.add([rule("createDossier", "latency", every=1, seconds=1.0)])
        down(world)
        for name in names:
            world.upload(name)
        await agent.scan()
        await world.clock.advance(30)
        assert (await metrics(world))["circuit_open", ()] == 1
        assert (await get(world, "/readyz")).status_code == 200
        assert world.rows("SELECT value FROM meta WHERE key = 'remembered/circuit'") == [("outage",)]
        calls, versions = len(world.calls), world.rows("SELECT sum(version) FROM requests")
        await world.clock.advance(HOUR)
        assert set(world.calls[calls:]) <= {"getDossiers", "getAllProcess", "token"}
        assert 50 < len(world.calls) - calls < 150, "a probe a minute or so"
        assert world.rows("SELECT sum(version) FROM requests") == versions
        world.sandbox.faults.clear()
        await world.clock.advance(60)
        assert (await metrics(world))["circuit_open", ()] == 0
        await world.clock.advance(60)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert notes(world) == [
        "circuit open: only probes are sent to Assure",
        "circuit closed: calls to Assure continue",
    ]
    opening = next(entry for entry in world.logs if entry["event"].startswith("circuit open"))
    assert opening["cause"] == "outage"
    assert opening["error"].startswith("Assure: HTTP 503 at http")
    assert [world.starts(name) for name in names] == [1] * 30
    world.check()
    world.check_nothing_left()


async def test_one_request_that_always_fails_opens_no_circuit_that_stays_open(world: World) -> None:
    """[I9] The neutral read succeeds, and the other requests continue."""
    world.upload("a")
    async with world.running() as agent:
        world.sandbox.faults.add([rule("createProcess", "500", every=1, acts=False)])
        await world.clock.advance(10 * 60)
        world.capture("b")
        await agent.scan()
        await world.clock.advance(30)
        assert world.record("b").outcome is Outcome.ACCEPTED
        world.sandbox.faults.clear()
        await world.clock.advance(120)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()


async def test_deadlines_decide_while_the_circuit_is_open(world: World) -> None:
    """A billed request is read once more before it expires, however long the outage: it may have succeeded. [I1]"""
    world.upload("billed", "sandbox-delay=50m", deadline="1h")
    async with world.running() as agent:
        await world.clock.advance(10)
        assert world.record("billed").phase is Phase.RESULT
        down(world)
        world.upload("unbilled", deadline="30m")
        await agent.scan()
        await world.clock.rest()  # its deadline begins with its first call, and the doubt of another would bar that
        world.upload("later", deadline="24h")
        await agent.scan()
        await world.clock.advance(120)
        assert agent._throttle.opened is not None
        await world.clock.advance(40 * 60)
        unbilled = world.record("unbilled")
        assert unbilled.outcome is Outcome.EXPIRED or (unbilled.outcome is None and unbilled.doubt is not None)
        await world.clock.advance(5 * HOUR)
        assert (world.record("billed").outcome, world.record("later").outcome) == (None, None)
        world.sandbox.faults.clear()
        await world.clock.advance(300)
        assert {record.phase for record in world.records().values()} == {Phase.DONE}
        assert world.record("billed").outcome is Outcome.ACCEPTED
        assert world.record("later").outcome is Outcome.ACCEPTED
    world.check()
    world.check_nothing_left()


async def test_late_reads_that_only_fail_for_one_request_end_an_hour_after_the_deadline(world: World) -> None:
    """Other requests are answered, so the dossier can be deleted, and must be. [I3]"""
    world.upload("a", "sandbox-delay=180m", deadline="1h")
    async with world.running():
        await world.clock.advance(10)
        world.sandbox.faults.add([rule("getProcess", "500", every=1)])
        await world.clock.advance(1.9 * HOUR)
        assert world.record("a").outcome is None
        await world.clock.advance(0.3 * HOUR)
        assert (world.record("a").outcome, world.record("a").phase) == (Outcome.EXPIRED, Phase.DONE)
    world.check()
    world.check_nothing_left()


async def test_an_agent_that_is_stopped_while_the_circuit_is_open_ends_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.daemon.agent._DRAIN_TIMEOUT", 3600.0)
    world.upload("a")
    world.clock.release()
    async with world.opened() as agent:
        task = asyncio.create_task(agent.run())
        await until(lambda: world.clock.now() > 1_800_000_005)
        down(world)
        for number in range(12):
            world.upload(f"b-{number}")
        await agent.scan()
        await until(lambda: agent._throttle.opened is not None)
        agent.stop()
        await patiently(task)
    world.sandbox.faults.clear()
    await world.settle()
    world.check()
    world.check_nothing_left()


# -- another account ---------------------------------------------------------------------------------------------------


def elsewhere(world: World) -> dict[str, Any]:
    """Move the client to another account, without a dossier of the agent. Returns the earlier contents."""
    ours = dict(world.sandbox.world.dossiers)
    world.sandbox.world.dossiers.clear()
    return ours


async def test_a_wrong_account_opens_the_circuit_and_nothing_is_lost_created_or_deleted(world: World) -> None:
    """[I1] [I3] More than five 404s without one success between them."""
    names = [f"a-{number}" for number in range(8)]
    for name in names:
        world.upload(name, "sandbox-delay=20m")
    async with world.running() as agent:
        await world.clock.advance(60)
        ours = elsewhere(world)
        await world.clock.advance(15 * 60)  # each polls its own process
        assert agent._throttle.opened is not None
        assert agent._throttle.opened.cause is Cause.MISSING
        world.upload("new")
        await agent.scan()
        calls = len(world.calls)
        await world.clock.advance(3 * HOUR)
        assert set(world.calls[calls:]) <= {"getDossier", "getDossiers", "token"}
        assert len(world.calls) - calls < 120
        records = world.records()
        assert {record.outcome for record in records.values()} == {None}
        assert max(record.missing for record in records.values()) < 3
        assert records["new"].opened_at is None
        world.sandbox.world.dossiers.update(ours)
        await world.clock.advance(HOUR)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    world.check()
    world.check_nothing_left()


async def test_a_404_to_a_creation_holds_no_request_and_ends_with_the_circuit(world: World) -> None:
    """[I1] [I3] Without a dossier in the path, a 404 concerns the path or the account, not the request."""

    def nowhere(*_: object) -> Any:
        raise not_found("Dossier")

    original = world.sandbox.world.create_dossier, world.sandbox.world.list_dossiers
    world.sandbox.world.create_dossier = world.sandbox.world.list_dossiers = nowhere  # type: ignore[method-assign]
    for number in range(8):
        world.upload(f"a-{number}")
    async with world.running() as agent:
        await world.clock.advance(HOUR)
        assert agent._throttle.opened is not None
        assert agent._throttle.opened.cause is Cause.MISSING
        assert {record.state for record in world.records().values()} == {"active"}
        assert len(world.calls) < 60
        world.sandbox.world.create_dossier, world.sandbox.world.list_dossiers = original  # type: ignore[method-assign]
        await world.clock.advance(600)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    world.check()
    world.check_nothing_left()


async def test_a_request_that_was_deleted_at_assure_is_lost_once_the_operator_confirms_it(world: World) -> None:
    """[I1]"""
    for number in range(8):
        world.upload(f"a-{number}", "sandbox-delay=20m")
    async with world.running() as agent:
        await world.clock.advance(60)
        elsewhere(world)
        await world.clock.advance(2 * HOUR)
        assert {record.outcome for record in world.records().values()} == {None}
        await agent._command_executed(Command(id="command-1", verb="resume"))
        await world.clock.advance(600)
        assert {record.outcome for record in world.records().values()} == {Outcome.LOST}
        assert {record.phase for record in world.records().values()} == {Phase.DONE}


async def test_a_resume_while_nothing_is_missing_does_not_confirm_later_404s(world: World) -> None:
    """[I1] [I3] It only ends a pause. Dossiers that are missing later are not confirmed by it."""
    for number in range(8):
        world.upload(f"a-{number}", "sandbox-delay=20m")
    async with world.running() as agent:
        await world.clock.advance(60)
        for verb in ("pause", "resume"):
            assert (await ask(world, verb, command_id=f"command-{verb}"))["ok"]
        ours = elsewhere(world)
        await world.clock.advance(2 * HOUR)
        assert agent._throttle.opened is not None
        assert agent._throttle.opened.cause is Cause.MISSING
        assert {record.outcome for record in world.records().values()} == {None}
        world.sandbox.world.dossiers.update(ours)
        await world.clock.advance(HOUR)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    world.check()
    world.check_nothing_left()


async def test_missing_dossiers_are_lost_when_others_of_the_agent_exist(world: World) -> None:
    """[I1] The list has dossiers of this agent: the account is the right one."""
    for number in range(9):
        world.upload(f"a-{number}", "sandbox-delay=20m")
    world.upload("kept", retention="5d")
    async with world.running():
        await world.clock.advance(60)
        kept = world.record("kept").dossier_id
        for dossier_id in [one for one in world.sandbox.world.dossiers if one != kept]:
            del world.sandbox.world.dossiers[dossier_id]
        await world.clock.advance(2 * HOUR)
        outcomes = {name: record.outcome for name, record in world.records().items()}
        assert outcomes == {f"a-{number}": Outcome.LOST for number in range(9)} | {"kept": Outcome.ACCEPTED}


# -- pauses and paces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["seconds", "http-date"])
async def test_retry_after_holds_all_calls(world: World, how: Any) -> None:
    async with world.running() as agent:
        world.sandbox.faults.add([rule("createDossier", "429", seconds=20.0, retry_after=how)])
        world.upload("a")
        await agent.scan()
        await world.clock.rest()
        world.upload("b")
        await agent.scan()
        calls = len(world.calls)
        await world.clock.advance(18)
        assert world.calls[calls:] == []
        await world.clock.advance(60)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    world.check_nothing_left()


async def test_an_excessive_retry_after_holds_calls_for_a_minute(world: World) -> None:
    async with world.running() as agent:
        world.sandbox.faults.add([rule("createDossier", "429", seconds=1e9, retry_after="seconds")])
        world.upload("a")
        await agent.scan()
        await world.clock.rest()
        world.upload("b")
        await agent.scan()
        await world.clock.advance(120)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}


async def test_the_rate_limits_the_calls_in_a_second(world: World) -> None:
    """[I8] A waiting request is a row. Only a request in progress waits in memory."""
    times: list[float] = []
    called = world.sandbox.ledger.called

    def counted(operation: Any) -> None:
        times.append(world.clock.now())
        called(operation)

    world.sandbox.ledger.called = counted  # type: ignore[method-assign]
    for number in range(20):
        world.upload(f"a-{number}")
    async with world.running(rate_limit=4) as agent:
        most = 0
        for _ in range(60):
            await world.clock.advance(1)
            most = max(most, len(agent.reconciler._driven))
        assert most <= 10, most
        await world.clock.advance(120)
    assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    for first in times:
        assert sum(first <= time < first + 10 for time in times) <= 4 * 10 + 4 + 1
    world.check_nothing_left()


# -- the barrier -----------------------------------------------------------------------------------------------------


async def test_no_dossier_is_created_before_the_search_for_an_unanswered_one(world: World) -> None:
    """[I3] One list resolves all doubts."""
    names = [f"a-{number}" for number in range(12)]
    async with world.running(concurrency=3) as agent:
        # Each takes a while, so that three are under way before the first of them is in doubt.
        kinds = ("latency", "reset-before")
        world.sandbox.faults.add([rule("createDossier", kind, nth=1, count=3, seconds=2.0) for kind in kinds])
        for name in names:
            world.upload(name)
        await agent.scan()
        await world.clock.rest()
        assert world.ledger.calls["createDossier"] == 3, "those under way; the nine others wait"
        await world.clock.advance(2 + 4.5)
        assert world.ledger.calls["createDossier"] == 3
        assert 1 <= world.ledger.calls["getDossiers"] <= 3
        await world.clock.advance(60)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    assert world.rows("SELECT count(*) FROM orphans") == [(0,)]
    world.check()
    world.check_nothing_left()


async def test_a_doubt_that_cannot_be_resolved_blocks_other_creations_for_a_minute_only(world: World) -> None:
    """[I9] GET dossiers fails permanently."""
    async with world.running() as agent:
        world.sandbox.faults.add(
            [rule("createDossier", "reset-before"), rule("getDossiers", "500", every=1, acts=False)]
        )
        world.upload("a")
        await agent.scan()
        await world.clock.rest()
        world.upload("b")
        await agent.scan()
        await world.clock.advance(40)
        assert world.record("b").opened_at is None
        await world.clock.advance(60)
        assert world.record("b").outcome is Outcome.ACCEPTED
        assert world.record("a").doubt is not None
        world.sandbox.faults.clear()
        await world.clock.advance(120)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check_nothing_left()
