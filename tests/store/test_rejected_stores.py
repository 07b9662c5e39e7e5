"""Stores that are not ours, damaged, newer, or closed to us: refused, and left as they are."""

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils.migrations import Migrations

from agent.core.errors import StoreDamaged, StoreError, StoreForeign, StoreNewer
from agent.core.record import Phase
from agent.ports import MetaKey
from agent.store.sqlite import migrations
from agent.store.sqlite.store import SqliteStore
from tests.support.stores import at_once
from verification.builders.lives import Life

from .support import committed, opened, raw, rows


async def used(folder: Path) -> None:
    """A store under which something was asked of Assure."""
    store = opened(folder)
    await committed(store, Life().until(Phase.PROCESS))
    store.close()


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """[I6]"""
    before = os.umask(0)
    try:
        store = opened(tmp_path / "state")
        await committed(store, Life())
        files = sorted((tmp_path / "state").iterdir())
        assert [path.name for path in files] == [
            "agent.db",
            "agent.db-shm",
            "agent.db-wal",
            "agent.db.lock",
            "agent.key",
            "agent.mark",
        ]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)


async def test_another_account_is_refused_and_named(tmp_path: Path) -> None:
    await used(tmp_path)
    with pytest.raises(StoreForeign, match="client-1") as refused:
        SqliteStore(tmp_path / "agent.db", "https://api.example client-2")
    assert "--rebind" in refused.value.hint


async def test_a_store_is_taken_to_another_account_when_that_is_asked_for(tmp_path: Path) -> None:
    await used(tmp_path)
    SqliteStore(tmp_path / "agent.db", "another account", rebind=True).close()
    with pytest.raises(StoreForeign, match="another account"):
        opened(tmp_path)


async def test_a_value_that_was_remembered_of_an_account_is_there_after_a_restart_and_gone_with_the_account(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    assert at_once(store.recall(MetaKey.DOCUMENT_TYPES)) is None
    await store.remember(MetaKey.DOCUMENT_TYPES, "old")
    await store.remember(MetaKey.DOCUMENT_TYPES, "new")
    store.close()
    store = opened(tmp_path)
    assert at_once(store.recall(MetaKey.DOCUMENT_TYPES)) == "new"
    assert at_once(store.recall(MetaKey.CIRCUIT)) is None
    store.close()
    store = SqliteStore(tmp_path / "agent.db", "another account")  # nothing was asked of Assure yet
    assert at_once(store.recall(MetaKey.DOCUMENT_TYPES)) is None
    store.close()


async def test_a_store_that_is_taken_to_another_account_forgets_what_it_learned_of_the_first(tmp_path: Path) -> None:
    await used(tmp_path)
    store = opened(tmp_path)
    await store.remember(MetaKey.DOCUMENT_TYPES, "of the first")
    store.close()
    store = SqliteStore(tmp_path / "agent.db", "another account", rebind=True)
    assert at_once(store.recall(MetaKey.DOCUMENT_TYPES)) is None
    store.close()


async def test_a_store_that_asked_nothing_of_assure_is_not_bound_yet(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life())
    store.close()
    SqliteStore(tmp_path / "agent.db", "another account").close()


async def test_a_later_migration_is_applied_once_to_a_store_with_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1"))
    store.close()
    later = Migrations("assure-agent")
    later(name="0001_initial")(partial(migrations._run, file="0001_initial.sql"))  # type: ignore[type-var]
    later(name="0002_later")(_add_a_column)
    monkeypatch.setattr(migrations, "migrations", later)
    monkeypatch.setattr(migrations, "NAMES", (*migrations.NAMES, "0002_later"))
    for _ in range(2):
        store = opened(tmp_path)
        assert at_once(store.get("u1")) is not None
        store.close()
    assert rows(tmp_path, "SELECT later FROM requests") == [("yes",)]


def _add_a_column(db: Any) -> None:
    db.execute("ALTER TABLE requests ADD COLUMN later TEXT NOT NULL DEFAULT 'yes'")


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    sql = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('assure-agent', '0002_later', 'x')"
    rows(tmp_path, sql)
    before = rows(tmp_path, "SELECT sql FROM sqlite_master ORDER BY name")
    with pytest.raises(StoreNewer, match="0002_later"):
        opened(tmp_path)
    assert rows(tmp_path, "SELECT sql FROM sqlite_master ORDER BY name") == before


@pytest.mark.parametrize(
    "content", [b"this is not a database, it is a letter" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.db").write_bytes(content)
    with pytest.raises(StoreDamaged) as refused:
        opened(tmp_path)
    assert refused.value.hint
    assert (tmp_path / "agent.db").read_bytes() == content


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as refused:
        opened(tmp_path / "file")
    assert refused.value.hint


def test_a_state_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.db").mkdir()
    with pytest.raises(StoreError):
        opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError):
        opened(tmp_path)
    tmp_path.chmod(0o700)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """`StoreDamaged`: it is not what we wrote."""
    connection = raw(tmp_path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    try:
        store = opened(tmp_path)
    except StoreError:
        return
    store.close()
    raise AssertionError("opened")


async def test_a_store_that_could_not_be_opened_leaves_no_lock(tmp_path: Path) -> None:
    """[I7]"""
    await used(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreForeign):
            SqliteStore(tmp_path / "agent.db", "another account")
    opened(tmp_path).close()
