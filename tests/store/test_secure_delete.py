"""[I6] What is erased leaves the files of the folder as well, not only the tables."""

import random
import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.assure_types import ProcessType
from agent.core.machine import admit
from agent.core.record import Desired, Phase, Record
from agent.core.source_revision import Revision
from agent.store.sqlite.store import SqliteStore
from tests.support.fixtures import folder
from verification.builders.lives import DEFAULT_POLICY, LINK, Life
from verification.builders.records import NOW, OPTIONS, capture

from .support import committed, grown, opened, raw, rows

__all__ = ["folder"]


@pytest.fixture
def store(folder: Path) -> Iterator[SqliteStore]:
    store = opened(folder)
    yield store
    store.close()


def named(name: str, uid: str, large: bool = False) -> Record:
    """A request whose name stands in everything that may hold it; a large one fills pages, as far as a file may."""
    labels = [(f"note-{number}", f"{name}-{'x' * 40}") for number in range(15)] if large else []
    desired = Desired(
        digest="d",
        essence="e",
        process_type=ProcessType.DOCUMENT,
        capture=replace(OPTIONS, redirect_url=f"https://shop.example/{name}"),
        labels=(("team", f"label-{name}"), *labels),
        file=f"{name}.yaml" if not large else "/".join([f"{name}-{'d' * 240}"] * 15),
    )
    return Record(uid=uid, name=name, source="default", agent="tests", desired=desired)


async def admitted(store: SqliteStore, *records: Record) -> None:
    await store.commit([admit(record, NOW, DEFAULT_POLICY) for record in records])


def left(folder: Path, name: str) -> list[str]:
    """The files of the folder that hold this name."""
    return [path.name for path in folder.iterdir() if path.is_file() and name.encode() in path.read_bytes()]


async def test_no_byte_of_an_erased_link_is_left_in_any_file_of_the_folder(store: SqliteStore, folder: Path) -> None:
    """[I6]"""
    for number in range(20):
        await committed(store, Life(f"u{number}", desired=capture()).until(Phase.DONE))
    assert await store.tidy()
    assert left(folder, LINK) == []


async def test_the_signer_of_an_earlier_revision_leaves_every_file(store: SqliteStore, folder: Path) -> None:
    """[I6]"""
    for number, signer in enumerate(("alice@example.com SHA256:abc", "bob@example.com SHA256:def")):
        revision = Revision(commit=str(number) * 40, committed_at=NOW, signer=signer)
        await store.record_scan("default", NOW + number, 3, True, 0, None, revision=revision)
    assert await store.tidy()
    assert left(folder, "alice@example.com") == []
    assert left(folder, "bob@example.com") == ["agent.db"]


async def test_a_forgotten_name_is_in_no_file_while_the_store_is_open(store: SqliteStore, folder: Path) -> None:
    await admitted(store, named("erase-me", "1"), named("stays", "2"))
    assert "agent.db-wal" in left(folder, "erase-me")
    assert await store.forget("1", NOW)
    assert left(folder, "erase-me") == []
    assert left(folder, "stays") == ["agent.db"]
    assert (folder / "agent.db-wal").stat().st_size == 0


async def test_while_somebody_reads_it_says_so_and_it_is_done_later(store: SqliteStore, folder: Path) -> None:
    await admitted(store, named("erase-me", "1"))
    reader = raw(folder)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM requests").fetchone()
    assert not await store.forget("1", NOW)
    assert not await store.tidy()
    assert left(folder, "erase-me")
    await admitted(store, named("b", "2"))  # and the reader holds up nobody
    reader.close()
    assert await store.tidy()
    assert left(folder, "erase-me") == []


def unused(page: bytes, header: int) -> bytes:
    """The room between the cell pointers of a B-tree page and its cells (sqlite.org/fileformat2.html, 1.6)."""
    kind, cells, start = page[header], *struct.unpack(">HH", page[header + 3 : header + 7])
    if kind not in (2, 5, 10, 13):
        return b""
    return page[header + (12 if kind in (2, 5) else 8) + 2 * cells : start or 65536]


def copied(folder: Path) -> set[str]:
    """The names of which a copy stands where no entry of a table or an index is."""
    written = (folder / "agent.db").read_bytes()
    rooms = [unused(written[at : at + 4096], 100 if at == 0 else 0) for at in range(0, len(written), 4096)]
    return {found.decode() for room in rooms for found in re.findall(rb"zzname\d{5}zz", room)}


@pytest.mark.parametrize(("number", "large"), [(8_000, False), (1_500, True)], ids=["small", "large"])
async def test_copies_between_the_cells_of_split_pages_go_as_well(
    store: SqliteStore, folder: Path, number: int, large: bool
) -> None:
    """Of some names, balanced pages hold a copy although `secure_delete` is on: just those are forgotten."""
    chance = random.Random(1)  # pages split as they do when names come in any order
    records = [named(f"zzname{n:05}zz", f"{chance.getrandbits(96):024x}", large) for n in range(number)]
    chance.shuffle(records)
    for first in range(0, len(records), 100):
        await admitted(store, *records[first : first + 100])
    assert await store.tidy()
    copies = copied(folder)
    chosen = [record for record in records if record.name in copies]
    assert len(chosen) > 2
    for record in chosen[:20]:
        assert await store.forget(record.uid, NOW)
    assert [record.name for record in chosen[:20] if left(folder, record.name)] == []
    assert rows(folder, "PRAGMA integrity_check") == [("ok",)]
    gone = {record.uid for record in chosen[:20]}
    kept = {record.uid: record.name for record in records if record.uid not in gone}
    assert dict(rows(folder, "SELECT uid, name FROM requests WHERE name IS NOT NULL")) == kept
    assert dict(rows(folder, "SELECT uid, value FROM labels WHERE key = 'team'")) == {
        uid: f"label-{name}" for uid, name in kept.items()
    }


async def test_to_forget_costs_the_same_however_many_requests_there_are(tmp_path: Path) -> None:
    """[I9] Commits wait for it: what it reads and writes is what is around it."""

    async def steps(requests: int) -> tuple[int, int]:
        store = await grown(tmp_path / str(requests), requests)
        counted = [0]

        def count() -> None:
            counted[0] += 1

        before = store._connection.total_changes
        store._connection.set_progress_handler(count, 100)
        assert await store.forget(f"u{requests // 2:07}", NOW)
        store._connection.set_progress_handler(None, 0)
        changes = store._connection.total_changes - before
        store.close()
        return counted[0], changes

    (few, few_changes), (many, many_changes) = await steps(2_000), await steps(8_000)
    assert few_changes == many_changes < 10_000
    assert abs(few - many) <= 1
