"""`get -o wide`, `describe` and `explain` show the commit of a request; the signer is shown as a person's name is."""

import asyncio
import contextlib

import pytest

from agent.store.sqlite.connection import sqlite3
from tests.cli.command_runner import Here, on_world
from tests.support.environment import World
from tests.support.fixtures import begin, world
from tests.support.git import git

__all__ = ["begin", "world"]

CHANGED_IN = "c" * 40
SIGNER = "alice@example.com SHA256:0123abcd"


@pytest.fixture
async def commit(world: World, here: Here) -> str:
    """The commit of a done request, whose file was last changed in CHANGED_IN, signed by SIGNER."""
    world.upload("a")
    git(world.specs, "init", "-q")
    git(world.specs, "add", "-A")
    git(world.specs, "commit", "-q", "-m", "a request")
    await world.settle()
    with contextlib.closing(sqlite3.connect(world.state, isolation_level=None)) as store:
        row = (world.record("a").uid, "a.yaml", "Somebody", CHANGED_IN, SIGNER)
        sql = "INSERT OR REPLACE INTO provenance (uid, generation, file, author, file_commit, signer) "
        store.execute(sql + "VALUES (?, 1, ?, ?, ?, ?)", row)
    on_world(here, world)
    return git(world.specs, "rev-parse", "HEAD")


async def test_lists_have_the_commit(commit: str, here: Here) -> None:
    header, row = [line.split() for line in here("get", "-o", "wide").out.splitlines()]
    assert row[header.index("COMMIT")] == commit[:12]
    assert here("get", "-o", "json").json["items"][0]["commit"] == commit
    assert here("get", "-o", "jsonpath={.items[*].commit}").out.strip() == commit
    assert here("get", "-o", "csv").out.splitlines()[1].endswith(f",{commit}")
    assert here("get", "--sort-by", "commit").code == 0


async def test_explain_names_the_commits_and_the_key_but_not_the_signer(commit: str, here: Here) -> None:
    """[I6]"""
    said = here("explain", "a")
    assert (
        f"Origin: admitted from commit {commit[:12]}; its file was last changed in commit {CHANGED_IN[:12]}, "
        "signed by *** SHA256:0123abcd.\n"
    ) in said.out
    (item,) = here("explain", "a", "-o", "json").json["items"]
    assert item["origin"] == {"commit": commit, "fileCommit": CHANGED_IN, "signer": "*** SHA256:0123abcd"}


async def test_describe_names_the_signer_only_with_the_personal_values(commit: str, here: Here, world: World) -> None:
    """[I6]"""
    said = here("describe", "a")
    rows = [f"Commit:     {commit}", f"Changed in: {CHANGED_IN}", "Signed by:  *** SHA256:0123abcd"]
    assert [line for line in said.out.splitlines() if line.startswith(("Commit", "Changed", "Signed"))] == rows
    assert "alice" not in said.out
    said = await asyncio.to_thread(here, "describe", "a", "--show-personal")
    assert f"Signed by:  {SIGNER}" in said.out.splitlines()


async def test_a_request_of_a_folder_without_git_has_no_origin(world: World, here: Here) -> None:
    world.upload("a")
    await world.settle()
    on_world(here, world)
    assert "Origin" not in here("explain", "a").out
    assert "Commit:" not in here("describe", "a").out
    header, row = [line.split() for line in here("get", "-o", "wide").out.splitlines()]
    assert row[header.index("COMMIT")] == "-"
