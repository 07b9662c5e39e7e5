"""[I6] What is erased leaves the files of the folder as well, not only the tables."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.machine import admit
from agent.core.record import Desired, Record
from agent.core.remote import ProcessType
from agent.store.sqlite import SqliteStore
from tests.support.fixtures import folder

from .support import NOW, OPTIONS, POLICY, opened, raw, rows

__all__ = ["folder"]


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    store = opened(folder)
    yield store
    store.close()


def named(name: str, uid: str) -> Record:
    desired = Desired(
        digest="d",
        essence="e",
        process_type=ProcessType.DOCUMENT,
        capture=replace(OPTIONS, redirect_url=f"https://shop.example/{name}"),
        labels=(("team", f"label-{name}"),),
        file=f"{name}.yaml",
    )
    return Record(uid=uid, name=name, source="default", agent="tests", desired=desired)


async def admitted(store: SqliteStore, *records: Record) -> None:
    await store.commit([admit(record, NOW, POLICY) for record in records])


def left(folder: Path, name: str) -> list[str]:
    """The files of the folder that hold this name."""
    return [path.name for path in folder.iterdir() if path.is_file() and name.encode() in path.read_bytes()]


async def test_a_forgotten_name_is_in_no_file_while_the_store_is_open(store: SqliteStore, folder: Path) -> None:
    await admitted(store, named("erase-me", "1"), named("stays", "2"))
    assert "agent.db-wal" in left(folder, "erase-me")
    assert await store.forget("1")
    assert left(folder, "erase-me") == []
    assert left(folder, "stays") == ["agent.db"]
    assert (folder / "agent.db-wal").stat().st_size == 0


async def test_while_somebody_reads_it_says_so_and_it_is_done_later(store: SqliteStore, folder: Path) -> None:
    await admitted(store, named("erase-me", "1"))
    reader = raw(folder)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM requests").fetchone()
    assert not await store.forget("1")
    assert not await store.tidy()
    assert left(folder, "erase-me")
    await admitted(store, named("b", "2"))  # and the reader holds up nobody
    reader.close()
    assert await store.tidy()
    assert left(folder, "erase-me") == []


async def test_copies_between_the_cells_of_split_pages_go_with_the_rewrite(store: SqliteStore, folder: Path) -> None:
    """With this seed, one name of 200 stays in a page of an index although `secure_delete` is on."""
    chance = random.Random(1)  # pages split as they do when names come in any order
    records = [named(f"zzname{number:05}zz", f"{chance.getrandbits(96):024x}") for number in range(600)]
    chance.shuffle(records)
    for first in range(0, 600, 100):
        await admitted(store, *records[first : first + 100])
    for record in records[::3]:
        await store.forget(record.uid)
    assert await store.tidy()
    written = (folder / "agent.db").read_bytes()
    assert [record.name for record in records[::3] if record.name.encode() in written] == []
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]


async def test_the_file_is_rewritten_once_and_only_when_something_was_forgotten(
    store: SqliteStore, folder: Path
) -> None:
    await admitted(store, named("a", "1"), named("b", "2"))
    version = "PRAGMA schema_version"  # VACUUM raises it
    before = rows(folder, version)
    await store.tidy()
    assert rows(folder, version) == before
    await store.forget("1")
    await store.tidy()
    after = rows(folder, version)
    assert after != before
    await store.tidy()
    assert rows(folder, version) == after
