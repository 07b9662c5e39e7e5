"""`store copy` that is killed: an agent starts on one of the two stores at most, and the command can be repeated."""

import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command_runner import finish, spawn
from tests.store.copy_support import copied, database_settings, file_settings, filled

from .test_copying import execute, keys_of, rows_of_database, rows_of_file, startable

# The process kills itself before or after a call of this method.
_PROGRAM = """
import os, signal, sys
from agent.cli import main
from agent.store.copy import copying
from agent.store.postgres.copying import PostgresSource, PostgresTarget
from agent.store.sqlite.copying import SqliteSource, SqliteTarget

when, method, calls = sys.argv.pop(1).split()
left = int(calls)

def dying(original):
    async def call(self, *arguments):
        global left
        left -= 1
        if when == "before" and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await original(self, *arguments)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer
    return call

for kind in (PostgresSource, PostgresTarget, SqliteSource, SqliteTarget):
    if hasattr(kind, method):
        setattr(kind, method, dying(getattr(kind, method)))
main()
"""
POINTS = [
    "before insert 1",
    "after insert 3",
    "before commit 1",
    "after commit 1",
    "before set_aside 1",
    "after set_aside 1",
    "before finish 1",
    "after finish 1",
]


async def command(folder: Path, source: str, target: str, point: str = "never none 0", **env: str) -> Any:
    """Run the command in another process."""
    given = {"STATE_DIR": str(folder / "b"), "KEYS_DIR": str(folder / "day-keys")} | env
    return finish(spawn(folder, point, "store", "copy", source, target, program=_PROGRAM, **given))


async def let_the_lease_end(url: str) -> None:
    """The row of a killed process lives on for 15 s."""
    if await execute(url, "SELECT to_regclass('replicas') IS NOT NULL AS found") != [(False,)]:
        await execute(url, "DELETE FROM replicas")


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("back", [False, True], ids=["to the database", "to the file"])
async def test_a_killed_copy_can_be_repeated(empty_database: str, tmp_path: Path, point: str, back: bool) -> None:
    """[I5] [I7] Both ways."""
    path, there = await filled(tmp_path / "a"), database_settings(empty_database, tmp_path / "b")
    before, keys = rows_of_file(path.parent), keys_of(path)
    source, target = f"sqlite:///{path}", empty_database
    origin, place = file_settings(path), there
    if back:
        await copied(file_settings(path), there)
        path = tmp_path / "c" / "agent.db"
        source, target, origin, place = empty_database, f"sqlite:///{path}", there, file_settings(path)
    killed = await command(tmp_path, source, target, point)
    assert killed.code == -signal.SIGKILL, killed
    await let_the_lease_end(empty_database)
    whole = point == "after finish 1"
    # Look without starting an agent on a source that is to be copied again: that would change it.
    if point.startswith(("before set_aside", "after commit", "after set_aside", "before finish")):
        assert "unfinished copy" in await startable(place)
    if point.startswith(("after set_aside", "before finish")):
        assert await startable(origin) != ""
    if not whole:
        repeated = await command(tmp_path, source, target)
        assert repeated.code == 0, repeated
        assert "copied 6 requests" in repeated.out
    rows = rows_of_file(path.parent) if back else await rows_of_database(empty_database, keys)
    assert rows == before
    assert await startable(origin) != ""
    assert await startable(place) == ""


async def test_a_copy_that_is_killed_before_its_commit_leaves_the_source_as_it_was(
    empty_database: str, tmp_path: Path
) -> None:
    path, there = await filled(tmp_path / "a"), database_settings(empty_database, tmp_path / "b")
    before = path.read_bytes()
    for point in ("after insert 3", "before commit 1"):
        assert (await command(tmp_path, f"sqlite:///{path}", empty_database, point)).code == -signal.SIGKILL
        assert path.read_bytes() == before
        assert await execute(empty_database, "SELECT * FROM requests") == []
        await let_the_lease_end(empty_database)
    assert await startable(file_settings(path)) == ""
    assert not list((tmp_path / "b").glob("*")) or there.state_dir.exists()


async def test_an_unfinished_copy_is_not_finished_with_another_source(empty_database: str, tmp_path: Path) -> None:
    path, other = await filled(tmp_path / "a"), await filled(tmp_path / "other")
    killed = await command(tmp_path, f"sqlite:///{path}", empty_database, "after commit 1")
    assert killed.code == -signal.SIGKILL
    await let_the_lease_end(empty_database)
    refused = await command(tmp_path, f"sqlite:///{other}", empty_database)
    refused.is_one_clear_error(f"holds an unfinished copy of sqlite:///{path}")
    gone = await command(tmp_path, f"sqlite:///{tmp_path}/typo.db", empty_database)
    gone.is_one_clear_error("There is no state file")
    assert "unfinished copy" in await startable(database_settings(empty_database, tmp_path / "b"))


async def test_a_reader_keeps_the_source_from_being_renamed_and_nothing_is_lost(
    empty_database: str, tmp_path: Path
) -> None:
    """The write-ahead log must not stay behind."""
    from agent.store.sqlite.connection import open_reader

    path = await filled(tmp_path / "a")
    reader = open_reader(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    refused = await command(tmp_path, f"sqlite:///{path}", empty_database)
    refused.is_one_clear_error("Another program reads the state file", "only this step is left")
    reader.close()
    assert (await command(tmp_path, f"sqlite:///{path}", empty_database)).code == 0
    assert await startable(database_settings(empty_database, tmp_path / "b")) == ""
