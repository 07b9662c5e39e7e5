"""`version`: of the client, the running agent and the store."""

import asyncio

import pytest

from agent import __version__
from agent.daemon import commands
from agent.store.sqlite.connection import reader
from agent.store.sqlite.migrations import NAMES
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]


def test_without_an_agent_and_a_store(here: Here) -> None:
    said = here("version", "-o", "json")
    assert said.code == 0
    assert said.json["client"]["version"] == __version__
    assert said.json["agent"] is None
    assert said.json["store"]["schema"] is None
    assert not (here.folder / "state").exists()
    lines = [line.split(maxsplit=1) for line in here("version").out.splitlines()]
    assert lines[:4] == [["PART", "VERSION"], ["client", __version__], ["agent", "not running"], ["store", "none"]]


async def test_the_running_agent_reports_its_version_and_records_no_command(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_world(here, world)
    async with world.running():
        said = await asyncio.to_thread(here, "version", "-o", "json")
        assert (said.code, said.err) == (0, "")
        assert said.json["agent"] == {"version": __version__, "process": None}
        assert said.json["store"]["schema"] == NAMES[-1]
        monkeypatch.setattr(commands, "__version__", "0.0.9")
        other = await asyncio.to_thread(here, "version")
    assert other.code == 0
    assert ["agent", "0.0.9"] in [line.split() for line in other.out.splitlines()]
    assert "Try: restart it." in other.err
    with reader(world.state) as connection:
        assert connection.execute("SELECT count(*) FROM commands").fetchone()[0] == 0


async def test_an_agent_that_does_not_know_the_question_is_of_an_earlier_version(
    world: World, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_world(here, world)
    monkeypatch.setattr(commands, "VERSION", "unknown")
    async with world.running():
        said = await asyncio.to_thread(here, "version")
        assert (await asyncio.to_thread(here, "version", "-o", "json")).json["agent"] == {
            "version": None,
            "process": None,
        }
    assert "an earlier version, which does not report it" in said.out
    assert "Try: restart it." in said.err


def test_a_damaged_store_is_reported_as_such(here: Here) -> None:
    (here.folder / "state").mkdir()
    (here.folder / "state/agent.db").write_bytes(b"nonsense" * 1000)
    said = here("version", "-o", "json")
    assert said.code == 0
    assert "not a SQLite database" in said.json["store"]["error"]
