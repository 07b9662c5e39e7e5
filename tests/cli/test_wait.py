"""`wait`: exit codes, and its end when the agent has settled the requests."""

import asyncio

import pytest

from tests.cli.command_runner import Here
from tests.support.clock import patiently
from tests.support.environment import World
from tests.support.fixtures import begin, world
from verification.builders.request_files import IDENTITY_CARD, write

__all__ = ["begin", "world"]


@pytest.fixture
def state(world: World, here: Here) -> Here:
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    return here


async def test_a_done_request_is_settled_at_once(world: World, state: Here) -> None:
    world.upload("a")
    world.upload("b", suspend=True)
    world.upload("c", retention="1d")
    await world.settle()
    for arguments in (("a",), ("--all",), ("c", "--for", "settled")):
        said = state("wait", *arguments)
        assert said.code == 0, said
    assert said.out == "1 of 1 settled, 0 held.\n"


async def test_a_held_request_is_exit_code_3(world: World, state: Here) -> None:
    world.upload("a", document_id=IDENTITY_CARD)
    world.upload("b")
    await world.settle()
    assert state("wait", "a").code == 3
    assert state("wait", "--all").code == 3
    assert state("wait", "b").code == 0


async def test_a_request_in_progress_is_exit_code_4_at_the_timeout(world: World, state: Here) -> None:
    world.capture("a", capture={"uiProfile": "sandbox-outcome-abandoned"})
    async with world.running():
        said = await asyncio.to_thread(state, "wait", "a", "--timeout", "100ms")
    assert said.code == 4
    assert said.out.startswith("0 of 1 settled, 0 held. Try: assure-agent explain a")


async def test_wait_ends_when_the_agent_has_settled_the_request(world: World, state: Here) -> None:
    world.upload("a")
    async with world.running():
        waiting = asyncio.create_task(asyncio.to_thread(state, "wait", "a", "--timeout", "10h"))
        world.clock.release()
        said = await patiently(waiting)
    assert (said.code, said.out) == (0, "1 of 1 settled, 0 held.\n")


async def test_an_unknown_name_is_exit_code_1(world: World, state: Here) -> None:
    state("wait", "nobody").is_one_clear_error("nobody")
    world.upload("a")
    write(world.specs / "bad.yaml", world.upload("bad").read_text().replace("front.jpg", "no-such.jpg"))
    await world.settle()
    state("wait", "nobody").is_one_clear_error("nobody", "get")
    state("wait", "bad").is_one_clear_error("bad", "refused")


async def test_a_terminal_shows_a_progress_bar(world: World, state: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload("a")
    await world.settle()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert state("wait", "a").code == 0


def test_wrong_use_is_exit_code_2_and_a_missing_store_is_settled(here: Here) -> None:
    assert here("wait").code == 2
    assert here("wait", "a", "--all").code == 2
    assert here("wait", "a", "--timeout", "soon").code == 2
    assert here("wait", "a", "--for", "ever").code == 2
    assert here("wait", "--all").code == 0
    here("wait", "a").is_one_clear_error("a")
