"""`get --watch`: the requests, then each change, read-only and without a read when nothing changed."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from agent.store.sqlite.readonly import ReadOnlyStore
from tests.cli.command_runner import CommandResult, Here, finish, spawn, wait_for
from tests.support.clock import START
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.timeouts import PATIENT
from verification.builders.request_files import IDENTITY_CARD, write, write_atomically

__all__ = ["begin", "world"]


class Watching:
    """A watching command in another thread. It reads the store only when the test lets it, and then waits again."""

    def __init__(self) -> None:
        self._pause, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self._ended = False
        self.result: CommandResult  # after the end

    def sleep(self, _: float) -> None:
        """Instead of `time.sleep` in the command. Raises KeyboardInterrupt at the end, as Ctrl-C does."""
        self._pause.release()
        assert self._go.acquire(timeout=PATIENT)
        if self._ended:
            raise KeyboardInterrupt

    async def poll(self) -> None:
        """Let the command read the store once."""
        self._go.release()
        await self.paused()

    async def paused(self) -> None:
        """Wait until the command has read the store."""
        assert await asyncio.to_thread(self._pause.acquire, timeout=PATIENT)

    def end(self) -> None:
        """Press Ctrl-C."""
        self._ended = True
        self._go.release()


@pytest.fixture
def state(world: World, here: Here) -> Here:
    here.env["STATE_URL"] = f"sqlite:///{world.state}"
    return here


@pytest.fixture
def watching(state: Here, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A context manager that runs `get -w` with these arguments until the block ends."""

    @contextlib.asynccontextmanager
    async def run(*arguments: str) -> AsyncIterator[Watching]:
        watched = Watching()
        monkeypatch.setattr("agent.cli.store_watch.sleep", watched.sleep)
        command = asyncio.create_task(asyncio.to_thread(state, "get", "-w", *arguments))
        await watched.paused()
        yield watched
        watched.end()
        watched.result = await command

    return run


def cells(said: CommandResult) -> list[list[str]]:
    """The printed rows without their age."""
    assert said.code == 0, said
    return [line.split()[:-1] for line in said.out.splitlines()]


async def test_the_table_is_printed_once_and_then_a_line_for_each_change(world: World, watching: Any) -> None:
    world.upload("a", suspend=True)
    world.upload("b-with-a-longer-name", suspend=True)
    await world.settle()
    async with watching() as watched:
        await watched.poll()
        world.upload("a", suspend=False)
        await world.settle()
        await watched.poll()
        world.upload("c", suspend=True)
        await world.settle()
        await watched.poll()
    assert cells(watched.result) == [
        ["NAME", "MODE", "PHASE", "STATE", "OUTCOME", "REASON"],
        ["a", "upload", "dossier", "suspended", "-", "-"],
        ["b-with-a-longer-name", "upload", "dossier", "suspended", "-", "-"],
        ["a", "upload", "done", "done", "accepted", "-"],
        ["c", "upload", "dossier", "suspended", "-", "-"],
    ]
    lines = watched.result.out.splitlines()
    assert {line.index("upload") for line in lines[1:]} == {lines[0].index("MODE")}


async def test_a_store_that_does_not_exist_yet_is_watched_from_its_first_request_on(
    world: World, watching: Any
) -> None:
    async with watching("a", "-o", "name") as watched:
        await watched.poll()
        world.upload("a")
        world.upload("b")
        await world.settle()
        await watched.poll()
    assert (watched.result.code, watched.result.out, watched.result.err) == (0, "a\n", "")


async def test_json_is_one_object_for_each_change(world: World, watching: Any) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    async with watching("-o", "json") as watched:
        world.upload("a", document_id=IDENTITY_CARD)
        await world.settle()
        await watched.poll()
    objects = [orjson.loads(line) for line in watched.result.out.splitlines()]
    assert [(one["name"], one["state"]) for one in objects] == [("a", "suspended"), ("a", "held")]


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("jsonpath={.name}={.state}", ["a=suspended", "a=done"]),
        ("csv", ["a,", "a,"]),
        ("yaml", ["---", "name: a"]),
    ],
)
async def test_each_format_prints_each_change(world: World, watching: Any, form: str, printed: list[str]) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    async with watching("-o", form) as watched:
        world.upload("a")
        await world.settle()
        await watched.poll()
    lines = watched.result.out.splitlines()
    if form == "yaml":
        assert lines.count("---") == lines.count("name: a") == 2
    else:
        assert [line[: len(one)] for line, one in zip(lines, printed, strict=True)] == printed


async def test_a_request_that_leaves_the_selection_is_printed_once_more(world: World, watching: Any) -> None:
    world.upload("a", suspend=True)
    world.upload("b")
    await world.settle()
    async with watching("--state", "suspended") as watched:
        world.upload("a")
        await world.settle()
        await watched.poll()
        world.upload("a", labels={"team": "support"})
        await world.settle()
        await watched.poll()
    assert [row[:4] for row in cells(watched.result)[1:]] == [
        ["a", "upload", "dossier", "suspended"],
        ["a", "upload", "done", "done"],
    ]


@pytest.mark.parametrize(("form", "labels"), [("table", 1), ("wide", 2)])
async def test_only_a_change_that_a_column_shows_is_printed(
    world: World, watching: Any, form: str, labels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = count()
    monkeypatch.setattr("agent.cli.request_table.time", lambda: START + 60.0 * next(minutes))  # the age always differs
    world.upload("a", suspend=True, labels={"team": "onboarding"})
    await world.settle()
    async with watching("-o", form) as watched:
        world.upload("a", suspend=True, labels={"team": "support"})
        await world.settle()
        await watched.poll()
    assert len(cells(watched.result)) == 1 + labels
    assert ("team=support" in watched.result.out) is (form == "wide")


async def test_nothing_but_the_version_is_read_while_nothing_changes(
    world: World, watching: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    statements: list[str] = []
    query = ReadOnlyStore.query

    def counted(self: ReadOnlyStore, sql: str, values: Any = ()) -> list[Any]:
        statements.append(sql)
        return query(self, sql, values)

    async with watching() as watched:
        monkeypatch.setattr(ReadOnlyStore, "query", counted)
        await watched.poll()
        await watched.poll()
        monkeypatch.undo()
    assert statements == ["PRAGMA data_version"] * 2


async def test_a_replaced_state_file_is_read_again(world: World, watching: Any) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    before = world.state.read_bytes()
    world.upload("a")
    await world.settle()
    after = world.state.read_bytes()
    write_atomically(world.state, before)
    async with watching("-o", "jsonpath={.name} {.state}") as watched:
        await watched.poll()
        write_atomically(world.state, after)
        await watched.poll()
    assert watched.result.out == "a suspended\na done\n"


async def test_the_store_of_a_sandbox_that_starts_later_is_watched(
    world: World, here: Here, watching: Any, tmp_path: Path
) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    here.folder = tmp_path
    here.env.pop("STATE_URL")
    async with watching("-o", "name") as watched:
        write(tmp_path / "state/sandbox/agent.db", world.state.read_bytes())
        await watched.poll()
    assert watched.result.out == "a\n"


async def test_an_unknown_name_is_an_error_once_there_is_a_store(world: World, state: Here) -> None:
    world.upload("passport", suspend=True)
    await world.settle()
    state("get", "-w", "pasport").is_one_clear_error("Did you mean 'passport'?")


async def test_ctrl_c_ends_the_command_with_0(world: World, folder: Path) -> None:
    world.upload("a", suspend=True)
    await world.settle()
    process = spawn(folder, "get", "-w", STATE_URL=f"sqlite:///{world.state}")
    await asyncio.to_thread(wait_for, process, "suspended")
    said = await asyncio.to_thread(finish, process, signal.SIGINT)
    assert (said.code, said.err) == (0, "")
