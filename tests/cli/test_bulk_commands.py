"""Commands for several requests, and the question before a command that bills or erases."""

import asyncio
import io

import pytest

from agent.daemon.agent import Agent
from tests.cli.command_runner import CommandResult, Here, on_world
from tests.support.commands import execute_offline, scanned
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.timeouts import eventually
from verification.builders.request_files import IDENTITY_CARD, write

__all__ = ["begin", "world"]

HELD = "back-image-required"


def remove(world: World, *names: str) -> None:
    for name in names:
        (world.specs / f"{name}.yaml").unlink()


class Terminal(io.StringIO):
    """A terminal on which the user types this text."""

    def isatty(self) -> bool:
        return True


async def run(here: Here, *arguments: str) -> CommandResult:
    return await asyncio.to_thread(here, *arguments)


def holds(world: World) -> set[str]:
    with world.reading() as reading:
        return {record.name for record in reading.all() if record.hold is not None}


def outcomes(world: World) -> dict[str, str | None]:
    with world.reading() as reading:
        return {record.name: record.outcome for record in reading.all()}


def starts(world: World) -> int:
    return sum(process.starts for entry in world.ledger.dossiers.values() for process in entry.processes)


async def held_and_done(world: World, here: Here) -> Here:
    """`a` and `b` are held, the one of the team `x`, the other of `y`. `c` is accepted, of the team `x`."""
    world.upload("a", document_id=IDENTITY_CARD, labels={"team": "x"})
    world.upload("b", document_id=IDENTITY_CARD, labels={"team": "y"})
    world.upload("c", labels={"team": "x"})
    await world.settle()
    assert holds(world) == {"a", "b"}
    here = on_world(here, world)
    here.env |= {"SPECS_DIR": str(world.specs), "IMAGES_DIR": str(world.images)}
    return here


@pytest.mark.parametrize(
    ("selection", "resolved"),
    [
        (("--all",), {"a", "b"}),
        (("-l", "team=x"), {"a"}),
        (("--all", "--reason", HELD, "-l", "team!=x"), {"b"}),
        (("--state", "held", "--phase", "images"), {"a", "b"}),
        (("b", "a"), {"a", "b"}),
        (("b", "b"), {"b"}),
    ],
)
async def test_resolve_decides_the_holds_of_a_selection(
    world: World, here: Here, selection: tuple[str, ...], resolved: set[str]
) -> None:
    here = await held_and_done(world, here)
    shown = await run(here, "resolve", *selection, "--dry-run", "abandon")
    assert {line.split(":")[0] for line in shown.out.splitlines()} == resolved
    assert all(f"would be resolved with abandon ({HELD}, h-" in line for line in shown.out.splitlines())
    assert holds(world) == {"a", "b"}
    said = await run(here, "resolve", *selection, "--yes", "abandon")
    assert said.code == 0
    assert {line.split(":")[0] for line in said.out.splitlines()} == resolved
    assert holds(world) == {"a", "b"} - resolved


async def test_a_request_that_the_agent_refuses_does_not_stop_the_others(world: World, here: Here) -> None:
    here = await held_and_done(world, here)
    said = await run(here, "resolve", "c", "a", "abandon")
    said.is_one_clear_error("c is not held")
    assert (holds(world), said.out.startswith("a: resolved ")) == ({"b"}, True)


async def test_a_dry_run_names_the_requests_that_would_be_refused(world: World, here: Here) -> None:
    here = await held_and_done(world, here)
    said = await run(here, "resolve", "c", "a", "--dry-run", "abandon")
    assert said.out.startswith("c: is not held, so it would be refused\na: would be resolved with abandon")
    assert (await run(here, "rerun", "a", "c", "--dry-run")).out.count(": would be verified again") == 2
    for words in (
        ("resolve", "z", "a", "--dry-run", "abandon"),
        ("rerun", "z", "--dry-run"),
        ("resolve", "a", "z", "abandon"),
    ):
        (await run(here, *words)).is_one_clear_error("There is no request named z")
    remove(world, "c")
    await world.settle()
    await world.settle()
    assert (await run(here, "rerun", "c", "--dry-run")).out == "c: its file does not exist, so it would be refused\n"
    assert holds(world) == {"a", "b"}


async def test_a_selection_without_a_match_does_nothing(world: World, here: Here) -> None:
    here = await held_and_done(world, here)
    for command in (("resolve", "-l", "team=z", "retry"), ("rerun", "-l", "team=z")):
        said = await run(here, *command)
        assert (said.code, said.out, "request matches." in said.err) == (0, "", True)


async def test_wrong_words_are_refused_before_anything_is_sent(world: World, here: Here) -> None:
    here = await held_and_done(world, here)
    for words, part in (
        (("resolve", "a", "--all", "abandon"), "exclude each other"),
        (("resolve", "abandon"), "No requests are named or selected"),
        (("rerun", "a", "-l", "team=x"), "exclude each other"),
        (("rerun",), "No requests are named or selected"),
        (("resolve", "--all", "--reason", "back-image", "abandon"), "Did you mean 'back-image-required'"),
        (("resolve", "a", "later"), "'later' is not an answer"),
        (("resolve", "a", "adopt"), "adopt needs one request and the id"),
        (("resolve", "a", "b", "adopt", "d-1"), "adopt needs one request and the id"),
        (("resolve", "--all", "adopt", "d-1"), "adopt needs one request and the id"),
        (("resolve", "a", "retry", "d-1"), "retry and abandon accept no id"),
    ):
        said = await run(here, *words)
        assert said.code == 2, (words, said)
        assert part in " ".join(said.err.split()), (words, said)
    assert holds(world) == {"a", "b"}


async def test_a_hold_that_changed_after_the_selection_stays(world: World) -> None:
    world.upload("a", document_id=IDENTITY_CARD)
    await world.settle()
    answer = await execute_offline(world, "resolve", name="a", answer="abandon", holdId="h-000000")
    assert (answer["ok"], answer["message"]) == (False, "a has another hold now.")
    assert holds(world) == {"a"}


async def test_rerun_verifies_a_selection_again_after_a_confirmation(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I2]"""
    here = await held_and_done(world, here)
    world.upload("d", labels={"team": "x"})
    await world.settle()
    await asyncio.to_thread(eventually, lambda: here("rerun", "d", "--yes").code == 0)  # the file is too new at first
    await world.settle()
    before = starts(world)
    shown = await run(here, "rerun", "--outcome", "accepted", "-l", "team=x", "--dry-run")
    assert shown.out == "".join(f"{name}: would be verified again, and billed\n" for name in ("c", "d"))
    said = await run(here, "rerun", "--outcome", "accepted")
    said.is_one_clear_error("Not confirmed: Verify 2 requests again? Assure bills each start.", "--yes", code=2)
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    said = await run(here, "rerun", "--outcome", "accepted")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("Verify 2 requests again? Assure bills each start. [y/N] Nothing was changed.\n")
    await world.settle()
    assert starts(world) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    said = await run(here, "rerun", "c")
    assert (said.code, said.out) == (0, "c: the agent will verify it again\n")
    said = await run(here, "rerun", "--outcome", "accepted", "-l", "team=x", "--yes")
    assert said.code == 0
    await world.settle()
    assert starts(world) > before


async def test_a_retry_that_may_be_billed_again_asks(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=IDENTITY_CARD, back=True)
    await world.settle()
    assert holds(world) == {"a"}
    here = on_world(here, world)
    here.env |= {"SPECS_DIR": str(world.specs), "IMAGES_DIR": str(world.images)}
    assert "may be billed again" in (await run(here, "resolve", "a", "--dry-run", "retry")).out
    said = await run(here, "resolve", "a", "retry")
    said.is_one_clear_error("Verify 1 request again? Assure may bill each start again.", code=2)
    assert holds(world) == {"a"}
    await asyncio.to_thread(eventually, lambda: here("resolve", "a", "--yes", "retry").code == 0)  # the file is too new
    assert holds(world) == set()


async def test_forget_asks_and_shows_what_it_would_erase(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    here = on_world(here, world)
    (await run(here, "forget", "a", "--dry-run")).is_one_clear_error("a is not done, or its file still exists")
    (await run(here, "forget", "b", "--dry-run")).is_one_clear_error("There is no request named b")
    remove(world, "a")
    await world.settle()
    await world.settle()
    assert (await run(here, "forget", "a", "--dry-run")).out == "a: name, labels, paths would be erased\n"
    said = await run(here, "forget", "a")
    said.is_one_clear_error("Erase the name, labels, paths and claims of a? This cannot be undone.", code=2)
    assert outcomes(world) == {"a": "accepted"}
    assert (await run(here, "forget", "a", "-y")).code == 0
    assert outcomes(world) == {}


async def test_restore_asks_before_it_replaces_a_store(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    here = on_world(here, world)
    kept = str(here.folder / "kept.db")
    assert (await run(here, "backup", kept)).code == 0
    world.upload("b")
    await world.settle()
    shown = await run(here, "restore", kept, "--dry-run")
    assert shown.out.startswith(f"would replace {world.state} with 1 request of ")
    said = await run(here, "restore", kept)
    said.is_one_clear_error(f"Not confirmed: Replace {world.state} with 1 request of ", "--yes", code=2)
    assert set(outcomes(world)) == {"a", "b"}
    assert (await run(here, "restore", kept, "--yes")).code == 0
    assert set(outcomes(world)) == {"a"}
    (await run(here, "restore", "none.db", "--dry-run")).is_one_clear_error("There is no file at none.db")
    elsewhere = f"sqlite:///{here.folder / 'new/agent.db'}"
    write(here.folder / "new/agent.key", world.state.with_name("agent.key").read_bytes()).chmod(0o600)
    assert (await run(here, "restore", kept, "--state-url", elsewhere)).code == 0  # nothing is replaced


async def test_approve_shows_what_waits_and_asks(world: World, here: Here) -> None:
    names = [f"a-{number:02}" for number in range(6)]
    for name in names:
        world.upload(name, suspend=True)
    here = on_world(here, world)
    async with world.running() as agent:
        remove(world, *names)
        await scanned(world, agent)
        await approves(world, here, agent)


async def approves(world: World, here: Here, agent: Agent) -> None:
    waiting = "6 withdrawals wait: the agent ends them and deletes their dossiers."
    assert (await run(here, "approve", "--dry-run")).out == f"{waiting}\n"
    said = await run(here, "approve")
    said.is_one_clear_error(f"Not confirmed: {waiting} Approve?", "--yes", code=2)
    assert (await run(here, "approve", "--yes")).out.startswith("approved: ")
    await scanned(world, agent)
    assert (await run(here, "approve", "--dry-run")).out == "Nothing waits for an approval.\n"
    assert (await run(here, "approve")).code == 0  # nothing waits, so nothing is asked


async def test_requests_without_a_trace_may_be_billed_again(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    for path in world.state.parent.glob("agent.db*"):
        path.unlink()
    await world.settle()
    assert holds(world) == {"a"}
    here = on_world(here, world)
    shown = await run(here, "resolve", "--reason", "history-lost", "--dry-run", "retry")
    assert shown.out.startswith("a: would be resolved with retry (history-lost, h-")
    assert shown.out.endswith(", and may be billed again\n")
    assert "be billed" not in (await run(here, "resolve", "a", "--dry-run", "abandon")).out
    (await run(here, "resolve", "a", "retry")).is_one_clear_error("Verify 1 request again?", code=2)
    lost = "1 request of which Assure has no trace would be verified, and billed."
    assert lost in (await run(here, "approve", "--dry-run")).out.splitlines()
    (await run(here, "approve")).is_one_clear_error(f"{lost} Approve?", code=2)
    assert holds(world) == {"a"}
