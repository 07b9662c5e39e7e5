"""Facts about a request outside its record: a pause, waiting withdrawals, annotations that name no open hold."""

import asyncio

import pytest

from agent.core.policy import Policy
from agent.core.record import Outcome, Phase
from agent.daemon.agent import Agent
from agent.views.explain import RequestContext, describe_state, next_step
from agent.views.explain_json import explanation_json
from tests.cli.command_runner import CommandResult, Here
from tests.support.commands import ask
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD

from .test_explain import RESULT, record

__all__ = ["begin", "world"]

PAUSED = RequestContext(paused_since=10.0)


async def said(here: Here, world: World, *arguments: str) -> CommandResult:
    here.env |= {"STATE_URL": f"sqlite:///{world.state}", "SPECS_DIR": str(world.specs)}
    return await asyncio.to_thread(here, *arguments)


async def scanned(world: World, agent: Agent) -> None:
    for _ in range(3):
        await agent.scan()
        await world.clock.advance(10)


async def test_a_pause_is_reported_with_its_time_and_the_command_that_ends_it(world: World, here: Here) -> None:
    async with world.running() as agent:
        await ask(world, "pause")
        world.upload("a")
        await scanned(world, agent)
        reported = (await said(here, world, "explain", "a")).out
        (item,) = (await said(here, world, "explain", "a", "-o", "json")).json["items"]
        listed = (await said(here, world, "get")).out
        seen = (await said(here, world, "doctor", "--offline")).out
    assert "The agent is paused since 2027-01-15T08:00:" in reported
    assert "The agent is paused; after `assure-agent resume` it will" in reported
    assert "As soon as an agent runs" not in reported
    assert item["paused"]
    assert item["pausedSince"].startswith("2027-01-15T08:00:")
    for text in (listed, seen):
        assert "assure-agent resume" in text
    assert world.ledger.dossiers == {}


async def test_a_second_pause_keeps_the_time_of_the_first(world: World, here: Here) -> None:
    async with world.running():
        await ask(world, "pause")
        (first,) = world.rows("SELECT value FROM meta WHERE key = 'remembered/paused'")
        await world.clock.advance(60)
        await ask(world, "pause", command_id="command-2")
        assert world.rows("SELECT value FROM meta WHERE key = 'remembered/paused'") == [first]
        await ask(world, "resume", command_id="command-3")
    world.upload("a")
    await world.settle()
    assert "paused" not in (await said(here, world, "explain", "a")).out


@pytest.mark.parametrize("more", [RESULT, {**RESULT, "phase": Phase.DELETION, "delete_at": 0.0}])
def test_a_paused_agent_still_polls_and_deletes(more: dict[str, object]) -> None:
    one = record(**more)
    assert "As soon as an agent runs" in next_step(one, 20.0, Policy(), PAUSED).sentence
    assert any(
        "continues to poll and delete what is at Assure" in sentence for sentence in describe_state(one, 20.0, PAUSED)
    )


def test_a_pause_of_an_unknown_time() -> None:
    around = RequestContext(paused_since=0.0)
    assert any(
        "The agent is paused. It starts nothing new" in sentence for sentence in describe_state(record(), 20.0, around)
    )
    assert explanation_json(record(), [], 20.0, Policy(), around)["pausedSince"] is None


async def test_a_restored_copy_without_dossiers_names_approve_and_then_resume(world: World, here: Here) -> None:
    """[I1] [I2] First `approve`, then `resume`: many missing dossiers may mean a wrong account."""
    names = [f"a-{number}" for number in range(8)]
    for name in names:
        world.upload(name, "sandbox-delay=5m")
    async with world.running():
        await world.clock.advance(60)
    kept = await world.keep()
    await world.settle()
    await world.bring_back(kept)
    async with world.running() as agent:
        await world.clock.advance(5)
        before = (await said(here, world, "explain", "a-0")).out
        assert "the agent starts nothing new before `assure-agent approve`" in before
        await ask(world, "approve")
        await agent._work_gate.run_recovery()
        await world.clock.advance(600)
        assert {record.phase for record in world.records().values()} == {Phase.RESULT}
        reported = (await said(here, world, "explain", "a-0")).out
        (item,) = (await said(here, world, "explain", "a-0", "-o", "json")).json["items"]
        assert "run `assure-agent resume`" in reported
        assert "When the circuit breaker closes, the agent will" in reported
        assert "before `assure-agent approve`" not in reported
        assert item["circuit"] == "missing"
        await ask(world, "resume", command_id="command-2")
        await world.clock.advance(1_800)
        assert {record.outcome for record in world.records().values()} == {Outcome.LOST}
        assert "resume" not in (await said(here, world, "explain", "a-0")).out
    assert [world.starts(name) for name in names] == [1] * 8


def test_a_new_request_in_a_restored_copy_waits_for_an_approval() -> None:
    around = RequestContext(recovering=True, gated=True)
    assert next_step(record(), 20.0, Policy(), around).sentence.startswith("The agent waits for `assure-agent approve`")
    assert explanation_json(record(), [], 20.0, Policy(), around)["ifChanged"]["action"] == "hold"


async def test_a_waiting_withdrawal_is_reported_by_explain_get_and_doctor(world: World, here: Here) -> None:
    names = [f"a-{number}" for number in range(6)]
    for name in names:
        world.upload(name, suspend=True)
    async with world.running() as agent:
        for name in names[:4]:
            (world.specs / f"{name}.yaml").unlink()
        await scanned(world, agent)
        reported = (await said(here, world, "explain", "a-0")).out
        other = (await said(here, world, "explain", "a-5")).out
        (item,) = (await said(here, world, "explain", "a-0", "-o", "json")).json["items"]
        places = [(await said(here, world, *command)).out for command in (("get",), ("doctor", "--offline"))]
        assert "Its file is gone. 4 withdrawals wait for approval, including this one" in reported
        assert "If you approve the withdrawals: it would be withdrawn" in reported
        assert "If you removed its file now" not in reported
        assert item["withdrawalWaits"]
        assert "4 withdrawals" not in other
        for text in (reported, *places):
            assert "assure-agent approve" in text
        await ask(world, "approve")
        await scanned(world, agent)
        assert world.rows("SELECT * FROM scan_notes") == []
        assert "for approval" not in (await said(here, world, "explain", "a-0")).out


async def test_restored_files_cancel_the_waiting_withdrawals(world: World, here: Here) -> None:
    paths = [world.upload(f"a-{number}", suspend=True) for number in range(4)]
    async with world.running() as agent:
        for path in paths:
            path.rename(path.with_suffix(".away"))
        await scanned(world, agent)
        assert len(world.rows("SELECT * FROM scan_notes WHERE kind = 'withdrawal-waits'")) == 4
        for path in paths:
            path.with_suffix(".away").rename(path)
        await scanned(world, agent)
        assert world.rows("SELECT * FROM scan_notes") == []
        assert "If you removed its file now" in (await said(here, world, "explain", "a-0")).out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("retry@h-000000", "names h-000000, which is not open"),
        ("perhaps", "does not name its open hold"),
    ],
)
async def test_an_annotation_that_names_no_open_hold_is_reported(
    world: World, here: Here, answer: str, words: str
) -> None:
    world.upload("a", document_id=IDENTITY_CARD)
    async with world.running() as agent:
        world.upload("a", document_id=IDENTITY_CARD, annotations={"assure-agent/resolve": answer})
        await scanned(world, agent)
        hold = world.record("a").hold
        assert hold is not None
        reported = (await said(here, world, "explain", "a")).out
        (item,) = (await said(here, world, "explain", "a", "-o", "json")).json["items"]
        listed = (await said(here, world, "get")).out
        assert f"The annotation `assure-agent/resolve` in its file {words}: the agent ignores it." in reported
        assert f"The open hold is {hold.id}." in reported
        assert item["strayAnswer"] == ("h-000000" if "@" in answer else "")
        assert "ignored: the annotation `assure-agent/resolve` of a does not name an open hold" in listed
        world.upload("a", document_id=IDENTITY_CARD)
        await scanned(world, agent)
        assert "The annotation" not in (await said(here, world, "explain", "a")).out


async def test_retention_is_reported(world: World, here: Here) -> None:
    world.upload("a", retention="1h")
    async with world.running():
        await world.clock.advance(30)
        reported = (await said(here, world, "explain", "a")).out
    assert "Its outcome has been accepted" in reported
    assert "Its retention ends at 2027-01-15T09:00:" in reported
    assert "; then the agent will delete the dossier." in reported
