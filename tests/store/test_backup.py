"""Backups: whole, checked, without links, and put back with nothing lost of what was there."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged, StoreError, StoreLocked, StoreNewer
from agent.core.record import Phase
from agent.store.sqlite.backup import back_up, inspect_backup, last_in, prune, restore
from tests.support.stores import at_once
from verification.audits import verified
from verification.builders.lives import LINK, Life
from verification.builders.records import capture

from .support import changed, committed, opened, raw, rows


async def stocked(folder: Path) -> None:
    """A store with one request at its end, and one whose link somebody holds."""
    store = opened(folder)
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2", capture()).until(Phase.RESULT))
    store.close()


def tables(folder: Path, name: str = "agent.db") -> dict[str, list[tuple[object, ...]]]:
    connection = raw(folder) if name == "agent.db" else raw(folder).__class__(folder / name)
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL")
    ]
    names = [name for name in names if not name.startswith("sqlite_")]
    found = {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in names}
    connection.close()
    return found


async def test_a_backup_holds_every_row_but_links_and_carries_the_key(tmp_path: Path) -> None:
    """[I6]"""
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    assert (made.requests, stat.S_IMODE(made.path.stat().st_mode)) == (2, 0o600)
    live, kept = tables(tmp_path), tables(tmp_path, "kept.db")
    assert live.pop("links")
    assert kept.pop("links") == []
    meta = dict(kept.pop("meta")) | dict(live.pop("meta"))  # type: ignore[arg-type]
    assert meta["backup/key"] == (tmp_path / "agent.key").read_text().strip()
    assert kept == live
    assert LINK.encode() not in made.path.read_bytes()
    assert not verified(made.path).findings
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*.partial"))


async def test_a_backup_has_the_schema_of_the_store(tmp_path: Path) -> None:
    await stocked(tmp_path)
    back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    sql = "SELECT type, name FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
    live = rows(tmp_path, sql)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept.db").rename(tmp_path / "kept" / "agent.db")
    assert rows(tmp_path / "kept", sql) == live
    with pytest.raises(Exception, match="append-only"):
        rows(tmp_path / "kept", "DELETE FROM events")


async def test_a_backup_is_one_snapshot_while_the_store_is_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = await committed(store, Life("u1").until(Phase.DONE))
    made = back_up(tmp_path / "agent.db", tmp_path)
    await committed(store, Life("u2"))
    assert inspect_backup(made.path).requests == 1
    store.close()
    assert life.record.phase is Phase.DONE


async def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    await stocked(tmp_path)
    (tmp_path / "kept.db").write_text("mine")
    with pytest.raises(StoreError, match="already"):
        back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    assert (tmp_path / "kept.db").read_text() == "mine"


async def test_a_history_that_was_cut_off_makes_no_backup(tmp_path: Path) -> None:
    await stocked(tmp_path)
    changed(tmp_path, "UPDATE requests SET head = 'x' WHERE uid = 'u1'")
    with pytest.raises(StoreDamaged, match="The history of 1 requests") as refused:
        back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    assert "audit verify" in refused.value.hint
    assert not (tmp_path / "kept.db").exists()


async def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    await stocked(tmp_path)
    folder = tmp_path / "backups"
    folder.mkdir()
    for day in range(4):
        back_up(tmp_path / "agent.db", folder, 1_800_000_000.0 + day * 86400)
    (folder / "notes.txt").write_text("mine")
    prune(folder, 2, 1_800_000_000.0 + 4 * 86400)
    assert sorted(path.name for path in folder.iterdir()) == [
        "agent-20270117T080000Z.db",
        "agent-20270118T080000Z.db",
        "notes.txt",
    ]
    assert last_in(folder) == 1_800_000_000.0 + 3 * 86400


# -- putting back ----------------------------------------------------------------------------------------------------


async def test_a_backup_that_is_restored_is_known_to_be(tmp_path: Path) -> None:
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    store = opened(tmp_path)
    await committed(store, Life("u3"))
    store.close()
    found, kept = restore(made.path, tmp_path / "agent.db")
    assert found.requests == 2
    assert kept is not None
    store = opened(tmp_path)
    recovery = await store.recoveries.open()
    assert recovery is not None
    assert (recovery.cause, recovery.holds_new_work) == ("restored", True)
    assert at_once(store.get("u3")) is None
    store.close()
    ((known, had, at),) = rows(tmp_path, "SELECT known, kept, backup_at FROM recoveries")
    assert known > had > 0
    assert at == made.at
    assert rows(tmp_path, "SELECT value FROM meta WHERE key GLOB 'backup/*'") == []  # the key left the file
    aside = raw(tmp_path).__class__(kept)
    assert aside.execute("SELECT count(*) FROM requests").fetchone()[0] == 3
    aside.close()


async def test_a_backup_alone_is_enough_on_another_machine(tmp_path: Path) -> None:
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    key = (tmp_path / "agent.key").read_text()
    restore(made.path, tmp_path / "elsewhere" / "agent.db")
    opened(tmp_path / "elsewhere").close()
    assert (tmp_path / "elsewhere" / "agent.key").read_text() == key
    assert stat.S_IMODE((tmp_path / "elsewhere" / "agent.key").stat().st_mode) == 0o600


async def test_a_backup_copied_by_hand_is_known_to_be_one(tmp_path: Path) -> None:
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    made.path.rename(tmp_path / "agent.db")
    store = opened(tmp_path)
    recovery = await store.recoveries.open()
    store.close()
    assert recovery is not None
    assert recovery.cause == "restored"


async def test_nothing_is_restored_under_a_running_agent(tmp_path: Path) -> None:
    """[I7]"""
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    store = opened(tmp_path)
    with pytest.raises(StoreLocked, match=str(os.getpid())):
        restore(made.path, tmp_path / "agent.db")
    store.close()
    assert not list(tmp_path.glob("replaced-*"))


async def test_a_store_of_another_key_is_not_restored(tmp_path: Path) -> None:
    """[I2] Under another key every request would look new, and be billed again."""
    await stocked(tmp_path / "ours")
    await stocked(tmp_path / "theirs")
    made = back_up(tmp_path / "theirs" / "agent.db", tmp_path / "kept.db")
    before = (tmp_path / "ours" / "agent.db").read_bytes()
    with pytest.raises(StoreDamaged, match="another key"):
        restore(made.path, tmp_path / "ours" / "agent.db")
    assert (tmp_path / "ours" / "agent.db").read_bytes() == before


@pytest.mark.parametrize("damage", ["torn", "text", "newer", "nothing"])
async def test_an_invalid_backup_is_refused_and_the_store_stays(tmp_path: Path, damage: str) -> None:
    await stocked(tmp_path)
    made = back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    if damage == "torn":
        os.truncate(made.path, made.path.stat().st_size // 2)
    elif damage == "text":
        made.path.write_text("not a database, but long enough to be looked at " * 100)
    elif damage == "newer":
        connection = raw(tmp_path).__class__(made.path, isolation_level=None)
        connection.execute("UPDATE _sqlite_migrations SET name = '9999_later' WHERE name = '0001_initial'")
        connection.close()
    else:
        made.path.unlink()
    before = (tmp_path / "agent.db").read_bytes()
    with pytest.raises((StoreDamaged, StoreNewer, StoreError)) as refused:
        restore(made.path, tmp_path / "agent.db")
    assert refused.value.hint
    assert (tmp_path / "agent.db").read_bytes() == before


async def test_a_plain_copy_of_a_state_file_can_be_restored_as_well(tmp_path: Path) -> None:
    await stocked(tmp_path)
    (tmp_path / "copy.db").write_bytes((tmp_path / "agent.db").read_bytes())
    found, _ = restore(tmp_path / "copy.db", tmp_path / "agent.db")
    assert replace(found, path=tmp_path).at is None
    store = opened(tmp_path)
    recovery = await store.recoveries.open()
    store.close()
    assert recovery is not None
    assert recovery.cause == "restored"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root restores for another user")
async def test_what_root_restores_belongs_to_the_user_of_the_agent(tmp_path: Path) -> None:
    """A service with a user of its own could not open a file of root, with mode 0600."""
    await stocked(tmp_path)
    back_up(tmp_path / "agent.db", tmp_path / "kept.db")
    os.chown(tmp_path / "agent.db", 4711, -1)
    restore(tmp_path / "kept.db", tmp_path / "agent.db")
    moved = tmp_path / "another machine"
    moved.mkdir()
    os.chown(moved, 4712, -1)
    restore(tmp_path / "kept.db", moved / "agent.db")
    assert (tmp_path / "agent.db").stat().st_uid == 4711
    assert {path.name: path.stat().st_uid for path in moved.iterdir()} == {"agent.db": 4712, "agent.db.lock": 4712}
    assert stat.S_IMODE((moved / "agent.db").stat().st_mode) == 0o600
