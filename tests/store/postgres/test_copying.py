"""`store copy` between a state file and a database: every row, and an agent starts on one of them only."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import AgentError
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store import copy_place, copy_reading, open_reading, open_store
from agent.store.copy.copying import compare_stores
from agent.store.copy.sides import TABLES
from agent.store.identity_key import Keys
from agent.store.postgres.connect import Server, open_pool
from agent.store.postgres.sealed_links import LinkSeal
from agent.store.sqlite.connection import sqlite3
from tests.store.copy_support import Steps, copied, database_settings, file_settings, filled
from tests.store.support import ACCOUNT, raw
from verification.builders.lives import LINK

from .support import content, content_of_sqlite


async def execute(url: str, *statements: str) -> list[Any]:
    """Run statements at the database; the rows of the last one."""
    pool = await open_pool(Server.parse(url), 1)
    try:
        return [await pool.fetch(statement) for statement in statements][-1]
    finally:
        await pool.close()


def rows_of_file(folder: Path, name: str = "agent.db") -> dict[str, list[tuple[Any, ...]]]:
    """Every row of a state file, without the marks of a copy. Times in `meta` as texts."""
    connection = sqlite3.connect(folder / name)
    try:
        found = content_of_sqlite(connection)
    finally:
        connection.close()
    return _without_marks(found)


async def rows_of_database(url: str, keys: Keys) -> dict[str, list[tuple[Any, ...]]]:
    """The same of a database."""
    pool = await open_pool(Server.parse(url), 1)
    try:
        found = _without_marks(await content(pool))
        seal = LinkSeal(keys)
        sealed = await pool.fetch("SELECT uid, link, created_at FROM links ORDER BY uid")
        return found | {"links": [(uid, seal.open(uid, link), at) for uid, link, at in sealed]}
    finally:
        await pool.close()


def _without_marks(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    meta = [(key, value if isinstance(value, str) else repr(value)) for key, value in found["meta"]]
    marks = (MetaKey.COPY_OF, MetaKey.MOVED_TO)
    return found | {"meta": sorted(row for row in meta if row[0] not in marks)}


def keys_of(path: Path) -> Keys:
    """The key next to a state file."""
    keys = Keys.existing(path)
    assert keys is not None
    return keys


async def startable(settings: Settings) -> str:
    """Empty if an agent starts on this store; the error if it does not."""
    try:
        store = await open_store(settings, ACCOUNT)
    except AgentError as error:
        return str(error)
    await store.aclose()
    return ""


async def test_every_row_arrives_and_comes_back(empty_database: str, tmp_path: Path) -> None:
    """[I5] An oracle of its own compares the rows: no code of the copy."""
    path = await filled(tmp_path / "a")
    before = rows_of_file(path.parent)
    assert sorted(before) == sorted(TABLES)
    assert [table for table, rows in before.items() if not rows] == []
    there, steps = database_settings(empty_database, tmp_path / "b"), Steps()
    result = await copied(file_settings(path), there, steps)
    assert await rows_of_database(empty_database, keys_of(path)) == before
    links = await execute(empty_database, "SELECT link FROM links")
    assert [link for (link,) in links if "http" in link] == []  # [I6] the log and the backups keep them
    with open_reading(there) as reading:
        assert reading.link("u2") == LINK
    assert result.rows["events"] == len(before["events"])
    assert steps.steps == ["verifying the source", "copying", "verifying the copy"]
    assert {expected == finished for expected, finished in steps.rows} == {True}
    assert await startable(there) == ""
    before = await rows_of_database(empty_database, keys_of(path))
    back = tmp_path / "c" / "agent.db"
    await copied(there, file_settings(back))
    assert rows_of_file(back.parent) == before
    assert await startable(file_settings(back)) == ""


async def test_the_source_is_set_aside_and_no_agent_starts_on_it(empty_database: str, tmp_path: Path) -> None:
    """[I7]"""
    path = await filled(tmp_path / "a")
    there = database_settings(empty_database, tmp_path / "b")
    result = await copied(file_settings(path), there)
    assert result.kept is not None
    kept = Path(result.kept)
    assert re.fullmatch(r"moved-\d{8}T\d{6}\.\d{6}Z\.db", kept.name)
    assert sorted(found.name for found in kept.parent.glob("*.db*")) == ["agent.db.lock", kept.name]
    assert "was copied to postgresql://" in await startable(file_settings(path))  # a new file would repeat the work
    assert not path.exists()
    kept.rename(path)
    assert "was copied to postgresql://" in await startable(file_settings(path))
    assert rows_of_file(path.parent)["links"] == []  # [I6]
    back = file_settings(tmp_path / "c" / "agent.db")
    await copied(there, back)
    assert "was copied to sqlite:///" in await startable(there)
    assert await execute(empty_database, "SELECT * FROM links") == []
    assert await startable(back) == ""


async def test_the_local_files_follow(empty_database: str, tmp_path: Path) -> None:
    """The agent on the copy finds no sign of an older store, and the checkpoints continue."""
    path = await filled(tmp_path / "a")
    lines = (path.parent / "agent.checkpoints.jsonl").read_text()
    there = database_settings(empty_database, tmp_path / "b", key_file=tmp_path / "secret" / "the.key")
    result = await copied(file_settings(path), there)
    assert (tmp_path / "b" / "agent.checkpoints.jsonl").read_text() == lines
    assert (tmp_path / "secret" / "the.key").read_text() == (path.parent / "agent.key").read_text()
    assert stat.S_IMODE((tmp_path / "secret" / "the.key").stat().st_mode) == 0o600
    assert not (tmp_path / "b" / "agent.key").exists()
    assert (result.checkpoints, result.day_keys) == (1, ("20261201-ab",))
    store = await open_store(there, ACCOUNT)
    assert [line.number for line in await store.checkpoint(1e9)] == [2]
    await store.aclose()
    with open_reading(there) as reading:
        assert reading.rollback() is None


async def test_two_equal_stores_and_any_changed_row(empty_database: str, tmp_path: Path) -> None:
    """`--verify-only` names the table, and finds a row that has the same number of neighbours."""
    path = await filled(tmp_path / "a")
    there = database_settings(empty_database, tmp_path / "b")
    result = await copied(file_settings(path), there)
    kept = file_settings(Path(str(result.kept)))

    async def different() -> list[str]:
        async with copy_reading(kept) as source, copy_reading(there) as target:
            return await compare_stores(source, copy_place(kept), target, copy_place(there), Steps())

    assert await different() == []
    await execute(empty_database, "UPDATE labels SET value = 'other' WHERE uid = 'u4' AND key = 'zone'")
    assert await different() == ["labels: rows differ"]
    await execute(empty_database, "DELETE FROM labels WHERE uid = 'u4' AND key = 'zone'")
    assert await different() == ["labels: 10 rows, and 9 in the copy"]


async def test_a_root_copies_for_the_user_of_the_agent(empty_database: str, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = await filled(tmp_path / "a")
    (tmp_path / "b").mkdir()
    os.chown(tmp_path / "b", 65534, 65534)
    await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    names = ("agent.key", "agent.mark", "agent.checkpoints.jsonl")
    assert {(tmp_path / "b" / name).stat().st_uid for name in names} == {65534}


async def test_the_next_delivery_continues_the_order(empty_database: str, tmp_path: Path) -> None:
    path = await filled(tmp_path / "a")
    connection = raw(path.parent)
    (last,) = connection.execute("SELECT max(id) FROM deliveries").fetchone()
    connection.close()
    await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    sql = "INSERT INTO deliveries (sink, event, uid, type, generation, at) VALUES ('s', 'e', 'u1', 'held', 1, 1)"
    rows = await execute(empty_database, f"{sql} RETURNING id")
    assert rows[0][0] == last + 1
