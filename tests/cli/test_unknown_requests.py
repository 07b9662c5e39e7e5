"""Every command that takes the name of a request suggests a similar one for an unknown name."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from agent.platform.settings import Settings
from agent.store.nearest_names import unknown_request
from agent.store.sqlite.connection import open_writer
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]

COMMANDS = [
    "get NAME", "get NAME --link", "get NAME -w", "explain NAME", "describe NAME --remote", "wait NAME", "claims NAME",
    "resolve NAME retry", "rerun NAME --yes", "forget NAME --yes", "audit log NAME", "audit export NAME",
    "audit certificate NAME",
]  # fmt: skip


@pytest.fixture
async def state(world: World, here: Here) -> Here:
    """A store with one request."""
    on_world(here, world).env["CLAIMS_KEY"] = "k" * 32
    world.upload("passport", suspend=True)
    await world.settle()
    return here


@pytest.mark.parametrize("command", COMMANDS)
async def test_each_command_suggests_the_similar_name(state: Here, command: str) -> None:
    said = await asyncio.to_thread(state, *command.replace("NAME", "pasport").split())
    said.is_one_clear_error("There is no request named pasport", " Did you mean 'passport'? Try: ")
    said = await asyncio.to_thread(state, *command.replace("NAME", "zzz").split())
    said.is_one_clear_error("There is no request named zzz")
    assert "Did you mean" not in said.err


async def test_a_running_agent_leaves_the_search_to_the_command(world: World, state: Here) -> None:
    async with world.running():
        said = await asyncio.to_thread(state, "rerun", "pasport", "--yes")
    said.is_one_clear_error(" Did you mean 'passport'?")


async def test_only_the_neighbours_of_a_name_are_compared(world: World, state: Here) -> None:
    columns = [row[1] for row in world.rows("PRAGMA table_info(requests)") if row[1] not in ("uid", "name")]
    names = [f"customer-{number:04}" for number in range(3000)]
    with contextlib.closing(open_writer(world.state)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO requests (uid, name, {', '.join(columns)}) SELECT ?1, ?1, {', '.join(columns)} FROM requests "
            "WHERE name = 'passport'",
            [(name,) for name in names],
        )
        connection.execute("COMMIT")
    with world.reading() as reading:
        found = reading.names_around("customer-1500x", 2)
        assert found == ["customer-1500", "customer-1499", "customer-1501", "customer-1502"]
        assert reading.names("customer-29", 3) == ["customer-2900", "customer-2901", "customer-2902"]
        assert reading.names("customer-2999", 3) == ["customer-2999"]
        assert reading.names("", 1) == ["customer-0000"]
        for sql in ("name < 'm' ORDER BY name DESC", "name > 'm' ORDER BY name"):
            plan = reading.query(
                f"EXPLAIN QUERY PLAN SELECT DISTINCT name FROM requests WHERE name IS NOT NULL AND {sql} LIMIT 9"
            )
            assert "SEARCH requests USING COVERING INDEX requests_by_part_of_name" in plan[0][3]
    assert str(unknown_request(at(world.state), "customer-1500x")).endswith("Did you mean 'customer-1500'?")


def at(state: Path) -> Settings:
    """The settings of an agent with this state file."""
    return Settings.model_construct(state_url=f"sqlite:///{state}")


def test_a_missing_store_suggests_nothing(tmp_path: Path) -> None:
    assert str(unknown_request(at(tmp_path / "no.db"), "a")) == "There is no request named a."
    (tmp_path / "broken.db").write_text("no database at all")
    assert str(unknown_request(at(tmp_path / "broken.db"), "a")) == "There is no request named a."
