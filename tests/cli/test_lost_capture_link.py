"""A capture that continues although its link was lost with the state file: the commands report it with a remedy."""

import asyncio

from agent.core.policy import Policy
from agent.core.record import Phase
from agent.store.sqlite.backup import back_up, restore
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.web.agent_status import StatusSnapshot
from agent.web.request_page import request_page
from tests.cli.command_runner import CommandResult, Here, on_world
from tests.controller.test_recovery import approved
from tests.support.clock import until
from tests.support.commands import ask
from tests.support.environment import World
from tests.support.fixtures import Begin, begin, world

__all__ = ["begin", "world"]

LOST = "Its capture link is lost"
TRY = "Try: `assure-agent rerun a` starts again with a new link, and Assure bills it again."


SEEN = StatusSnapshot(
    now=0.0,
    policy=Policy(),
    ready=None,
    paused=False,
    budget=None,
    circuit=None,
    minutes=(),
    last_done=None,
    last_trouble=None,
)


async def said(here: Here, *arguments: str) -> CommandResult:
    return await asyncio.to_thread(here, *arguments)


async def captures(world: World, *names: str) -> None:
    """Capture requests whose end users have started: each dossier has a process."""
    for name in names:
        world.capture(name)
    async with world.running():
        pass
    assert {record.phase for record in world.records().values()} == {Phase.RESULT}


async def regained(world: World) -> None:
    """The state file was lost, the agent adopted the dossiers at Assure, and the operator approved."""
    await world.lose()
    async with approved(world) as agent:
        await until(lambda: not agent.reconciler.recovering)
    assert {(record.phase, record.hold) for record in world.records().values()} == {(Phase.RESULT, None)}


async def test_the_lost_link_of_an_adopted_capture_is_reported(begin: Begin, here: Here) -> None:
    """[I1] Otherwise it would silently wait for its deadline. The report needs no call to Assure."""
    world = await begin(interactive=True)
    state = on_world(here, world)
    await captures(world, "a")
    read_pool = [("get",), ("get", "a"), ("explain", "a"), ("describe", "a", "--remote")]
    for read in read_pool:
        assert LOST not in (await said(state, *read)).out
    await regained(world)
    before = world.ledger.calls.copy()
    for read in read_pool[:-1]:
        reported = await said(state, *read)
        assert (reported.code, LOST in reported.out, TRY in reported.out) == (0, True, True), reported
    (await said(state, "get", "a", "--link")).is_one_clear_error(LOST, TRY)
    (item,) = (await said(state, "explain", "a", "-o", "json")).json["items"]
    assert item["linkLost"] is True
    assert world.ledger.calls == before
    reported = await said(state, "describe", "a", "--remote")
    assert (reported.code, LOST in reported.out, TRY in reported.out) == (0, True, True), reported
    with ReadOnlyStore(world.state) as browsing:
        page = request_page(browsing, SEEN, world.record("a").uid)
    assert page is not None
    assert any(LOST in sentence for sentence in page["where"])


async def test_the_suggested_command_creates_another_link(begin: Begin, here: Here) -> None:
    world = await begin(interactive=True)
    await captures(world, "a")
    await regained(world)
    async with world.running():
        await ask(world, "rerun", name="a")
        await world.clock.advance(60)
    assert (world.record("a").generation, world.record("a").phase) == (2, Phase.RESULT)
    assert LOST not in (await said(on_world(here, world), "get")).out
    assert (await said(here, "get", "a", "--link")).code == 0


async def test_after_a_restore_many_lost_links_are_reported_in_a_few_lines(begin: Begin, here: Here) -> None:
    """No backup has links [I6]."""
    world = await begin(interactive=True)
    await captures(world, *"abcde")
    kept = world.folder / "backup.db"
    back_up(world.state, kept)
    restore(kept, world.state)
    reported = (await said(on_world(here, world), "get")).out
    assert reported.count(LOST) == 3
    assert "2 other capture links are lost as well" in reported


async def test_no_lost_link_is_reported_for_a_done_request(world: World, here: Here) -> None:
    world.upload("u", "sandbox-delay=60m")
    world.capture("c")
    async with world.running():
        await world.clock.advance(60)
    assert (world.record("u").phase, world.record("c").phase) == (Phase.RESULT, Phase.DONE)
    assert LOST not in (await said(on_world(here, world), "get")).out
