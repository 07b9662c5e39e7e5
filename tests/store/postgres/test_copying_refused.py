"""Copies that `store copy` refuses or undoes. The source stays as it was."""

import re
from pathlib import Path
from typing import Any

import pytest

from agent.core.errors import StoreDamaged, StoreError, StoreLocked
from agent.store import open_store
from agent.store.postgres.copying import PostgresTarget
from tests.store.copy_support import copied, database_settings, file_settings, filled
from tests.store.support import ACCOUNT, changed

from .test_copying import execute, startable


@pytest.mark.parametrize("direction", ["to the database", "to the file"])
async def test_an_agent_on_either_side_is_respected(empty_database: str, tmp_path: Path, direction: str) -> None:
    """[I7]"""
    path = await filled(tmp_path / "a")
    there = database_settings(empty_database, tmp_path / "b")
    pair = (file_settings(path), there)
    if direction == "to the file":
        await copied(*pair)
        pair = (there, file_settings(tmp_path / "c" / "agent.db"))
    for owned in pair:
        store = await open_store(owned, ACCOUNT)
        with pytest.raises(StoreLocked):
            await copied(*pair)
        await store.aclose()
        if owned is pair[1]:
            with pytest.raises(StoreError, match=r"is not empty|is the key of another"):  # an agent has begun it
                await copied(*pair)


async def test_a_target_with_rows_is_refused(database: str, tmp_path: Path) -> None:
    path = await filled(tmp_path / "a")
    await execute(database, "INSERT INTO receipts VALUES ('x', 1)")
    with pytest.raises(StoreError, match="is not empty: its table receipts has rows"):
        await copied(file_settings(path), database_settings(database, tmp_path / "b"))
    assert await execute(database, "SELECT * FROM requests") == []
    assert await startable(file_settings(path)) == ""


async def test_a_changed_history_is_not_copied(empty_database: str, tmp_path: Path) -> None:
    """[I5]"""
    path = await filled(tmp_path / "a")
    changed(path.parent, "UPDATE events SET at = at + 1 WHERE uid = 'u3' AND seq = 2")
    with pytest.raises(StoreDamaged, match="not as it was written: event 2 of u3"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    assert path.exists()


@pytest.mark.parametrize(
    ("statement", "finding"),
    [
        ("DELETE FROM events WHERE id = (SELECT max(id) FROM events WHERE uid = 'u1')", "history of u1"),
        ("UPDATE events SET id = id + 100 WHERE id = (SELECT max(id) FROM events)", "is missing"),
        ("UPDATE requests SET head = 'x' WHERE uid = 'u2'", "history of u2 does not end"),
    ],
)
async def test_each_fault_of_a_history_is_found(
    empty_database: str, tmp_path: Path, statement: str, finding: str
) -> None:
    path = await filled(tmp_path / "a")
    changed(path.parent, statement)
    with pytest.raises(StoreDamaged, match=finding):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))


async def test_a_journal_that_its_checkpoints_contradict_is_not_copied(empty_database: str, tmp_path: Path) -> None:
    path = await filled(tmp_path / "a")
    lines = path.parent / "agent.checkpoints.jsonl"
    text = lines.read_text()
    digest = re.search(r'"digest":"([0-9a-f]{64})"', text)
    assert digest is not None
    lines.write_text(text.replace(digest[1], "0" * 64))
    with pytest.raises(StoreDamaged, match="checkpoint 1 has other events"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))


async def test_the_key_of_another_store_is_not_replaced(empty_database: str, tmp_path: Path) -> None:
    path = await filled(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "agent.key").write_text("ab" * 32)
    with pytest.raises(StoreError, match="the key of another store"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    (tmp_path / "b" / "agent.key").unlink()
    (tmp_path / "b" / "agent.checkpoints.jsonl").write_text("{}\n")
    with pytest.raises(StoreError, match="the checkpoints of another store"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))


async def test_claims_need_a_folder_for_their_day_keys(empty_database: str, tmp_path: Path) -> None:
    """[I6] A folder that the backups of the database contain would keep them readable."""
    path = await filled(tmp_path / "a")
    with pytest.raises(StoreError, match="no folder for their day keys"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b", keys_dir=None))


async def test_a_copy_that_lacks_a_row_is_undone(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the network or of the agent: the comparison finds it before the commit."""
    path = await filled(tmp_path / "a")
    insert = PostgresTarget.insert

    async def without_the_last_label(self: PostgresTarget, table: str, columns: Any, rows: Any) -> None:
        await insert(self, table, columns, rows[:-1] if table == "labels" else rows)

    monkeypatch.setattr(PostgresTarget, "insert", without_the_last_label)
    with pytest.raises(StoreDamaged, match="differs from the source: labels: 10 rows, and 9 in the copy"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    assert await execute(empty_database, "SELECT * FROM requests") == []
    assert await startable(file_settings(path)) == ""


async def test_a_copy_whose_lease_is_over_is_undone(
    empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I7] Another agent may have joined meanwhile."""
    path = await filled(tmp_path / "a")
    commit = PostgresTarget.commit

    async def late(self: PostgresTarget) -> None:
        await execute(empty_database, "DELETE FROM replicas")
        await commit(self)

    monkeypatch.setattr(PostgresTarget, "commit", late)
    with pytest.raises(StoreLocked, match="lease of this command"):
        await copied(file_settings(path), database_settings(empty_database, tmp_path / "b"))
    assert await execute(empty_database, "SELECT * FROM requests") == []
