"""A host whose clock is wrong: nothing expires or is deleted by it, and every result arrives (issue 14, point 5).

[I1] [I3]. Boot time and Assure's `Date` are right in all of these; `set_by` is how wrong the host's clock is.
"""

import asyncio
from email.utils import formatdate

import pytest

from agent.cli.checks.assure import _events
from agent.core.errors import AgentError
from agent.core.observations import ClockCorrected
from agent.core.record import Outcome, Phase
from agent.daemon.clock_correction import ClockCorrector
from agent.platform.clock import Correction
from agent.sandbox.faults.rules import Kind
from tests.support.clock import patiently, until
from tests.support.environment import World
from tests.support.faults import rule
from verification.audits import verified

HOUR = 3600.0
AHEAD = 25 * HOUR
DAY = 2 * HOUR  # is enough for a day here


def outcomes(world: World) -> set[Outcome | None]:
    return {record.outcome for record in world.records().values()}


def messages(world: World) -> list[str]:
    return [entry["event"] for entry in world.logs]


@pytest.fixture
def host(world: World) -> World:
    """A world whose agent reads the clock of a host."""
    world.set_by = 0.0
    return world


@pytest.mark.parametrize("wrong", [AHEAD, -AHEAD])
@pytest.mark.parametrize("seconds", [2.0, 3 * HOUR])
async def test_a_clock_that_is_set_while_requests_are_billed_expires_none(
    host: World, wrong: float, seconds: float
) -> None:
    for number in range(10):
        host.upload(f"a-{number}", "sandbox-delay=20s")
    async with host.running() as agent:
        assert {record.phase for record in host.records().values()} == {Phase.RESULT}
        host.set_by = wrong
        host.upload("b", "sandbox-delay=20s")
        await host.clock.advance(min(seconds, 5.0))
        await agent.scan()
        await host.clock.advance(max(0.0, seconds - 5.0))
        host.set_by = 0.0
        await host.clock.advance(60.0)
        settled = [record for record in host.records().values() if record.phase is Phase.DONE]
        assert len(settled) >= 10
    assert outcomes(host) - {None} == {Outcome.ACCEPTED}
    assert "the host's clock is wrong" in messages(host)
    assert not verified(host.state).findings


@pytest.mark.parametrize("wrong", [AHEAD, -AHEAD, 400 * 24 * HOUR])
async def test_an_agent_that_starts_with_a_wrong_clock_is_corrected_before_it_begins_anything(
    host: World, wrong: float
) -> None:
    host.upload("old", "sandbox-delay=20s")
    async with host.running():
        pass
    host.boot, host.set_by = "another boot", wrong
    host.upload("new", "sandbox-delay=20s")
    began = host.clock.now()
    await host.settle()
    assert outcomes(host) == {Outcome.ACCEPTED}
    assert host.clock.now() - began < 60.0
    corrected = "the clock was wrong and is corrected" in messages(host)
    assert host.ledger.calls["getAllProcess"] < 30, "Assure is asked once a second"
    assert corrected is (wrong > 0)  # behind: the last event of the store says so
    for record in host.records().values():
        assert record.opened_at is not None
        assert began - 60.0 <= record.opened_at <= host.clock.now()
        assert record.done_at is not None
        assert record.done_at <= host.clock.now() + 60.0


async def test_an_agent_that_restarts_on_the_same_boot_needs_no_answer_from_assure(host: World) -> None:
    """The time that was confirmed goes on by boot time: Assure is silent, and the host's clock is wrong."""
    host.upload("a", "sandbox-delay=30s")
    async with host.running():
        pass
    host.set_by = AHEAD
    host.sandbox.faults.add([rule("*", Kind.UNAVAILABLE, rate=1.0)])
    async with host.opened() as agent:
        assert abs(agent._clock.now() - host.clock.now()) < 1.0


async def test_while_assure_is_silent_an_unknown_time_decides_nothing_for_a_day(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wait rather than destroy: nothing expires, not even what was never billed. Then a steady clock is believed."""
    monkeypatch.setattr("agent.platform.clock.STEADY_SECONDS", DAY)
    host.upload("a", "sandbox-delay=30s")
    host.upload("unbilled", suspend=True)
    async with host.running():
        pass
    host.boot, host.set_by = "another boot", 400 * 24 * HOUR
    host.sandbox.faults.add([rule("*", Kind.UNAVAILABLE, rate=1.0)])
    host.clock.release()
    began = host.clock.now()
    async with host.opened() as agent:
        task = asyncio.create_task(agent.run())
        await until(lambda: host.clock.now() > began + DAY - 600.0)
        assert not agent._clock.confirmed
        assert outcomes(host) == {None}
        await until(lambda: host.clock.now() > began + DAY + 600.0)
        assert agent._clock.confirmed
        agent.stop()
        await patiently(task)
    assert "the time is not confirmed: requests wait" in messages(host)


async def test_a_store_with_future_times_recovers_when_assure_shows_the_time(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its times are in the future: the clock was ahead, and so was the `Date` of Assure."""
    with monkeypatch.context() as patch:
        patch.setattr("agent.sandbox.app.formatdate", lambda at, usegmt: formatdate(at + AHEAD, usegmt=usegmt))
        host.set_by = AHEAD
        host.upload("a", "sandbox-delay=30s")
        async with host.running():
            assert host.record("a").phase is Phase.RESULT
    checked = {check.name: check for check in _events(host.settings(), host.clock.now())}
    assert "90000 s ahead" in checked["clock of the store"].message
    host.set_by, host.boot = 0.0, "another boot"
    host.upload("b", "sandbox-delay=30s")
    began = host.clock.now()
    await host.settle()
    assert outcomes(host) == {Outcome.ACCEPTED}
    assert host.clock.now() - began < 60.0
    assert "ClockCorrected" in host.history("a")
    assert not verified(host.state).findings


async def test_a_correction_that_a_crash_cut_off_is_completed_at_the_next_start(
    host: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I1] Some requests were corrected before the crash, so the last event of the store has the right time."""
    with monkeypatch.context() as patch:
        patch.setattr("agent.sandbox.app.formatdate", lambda at, usegmt: formatdate(at + AHEAD, usegmt=usegmt))
        host.set_by = AHEAD
        for name in ("a", "b"):
            host.upload(name, "sandbox-delay=300s")
        async with host.running():
            pass
    host.set_by, host.boot = 0.0, "another boot"

    async def cut_off(keeper: ClockCorrector, correction: Correction) -> None:
        uid = host.record("a").uid
        corrected = ClockCorrected(at=correction.at, by=correction.by, since=correction.since)
        await keeper._reconciler.deliver({uid: corrected})
        raise AgentError("killed", "start again")

    with monkeypatch.context() as patch:
        patch.setattr(ClockCorrector, "_correct_records", cut_off)
        with pytest.raises(AgentError, match="killed"):
            await host.settle()
    assert "ClockCorrected" not in host.history("b")
    began = host.clock.now()
    await host.settle()
    assert outcomes(host) == {Outcome.ACCEPTED}
    assert host.clock.now() - began < 400.0
    assert host.history("a").count("ClockCorrected") == host.history("b").count("ClockCorrected") == 1
