"""What is needed to run is looked at before anything is done, however large the file is; all the rest soon after."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged
from agent.core.record import Phase
from agent.store.sqlite import integrity
from agent.store.sqlite.connection import Connection
from tests.store.support import changed, committed, opened, rows
from tests.support.clock import until
from verification.builders.lives import Life


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrity, "SMALL", 0)


async def filled(folder: Path) -> None:
    """One that waits for its result, one in its middle, and thirty that are done."""
    store = opened(folder)
    await committed(store, Life("waits").until(Phase.RESULT))
    await committed(store, Life("begun").until(Phase.IMAGES))
    for number in range(30):
        await committed(store, Life(f"u{number}").until(Phase.DONE))
    store.close()


def tear(folder: Path, name: str) -> None:
    """Overwrite the first page of a table or an index."""
    (root,) = rows(folder, "SELECT rootpage FROM sqlite_master WHERE name = ?", name)[0]
    with (folder / "agent.db").open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
async def test_a_large_file_that_was_cut_is_refused_at_once(tmp_path: Path, left: float) -> None:
    await filled(tmp_path)
    size = int((tmp_path / "agent.db").stat().st_size * left)
    os.truncate(tmp_path / "agent.db", size)
    with pytest.raises(StoreDamaged) as refused:
        opened(tmp_path)
    assert "assure-agent restore" in refused.value.hint
    assert (tmp_path / "agent.db").stat().st_size == size


async def test_a_torn_page_of_a_large_file_is_found_while_it_is_in_use(tmp_path: Path) -> None:
    """One that nothing needs until the middle of the night."""
    await filled(tmp_path)
    tear(tmp_path, "deliveries_by_sink")
    store = opened(tmp_path)
    await committed(store, Life("meanwhile"))
    with pytest.raises(StoreDamaged, match="damaged") as found:
        await store.check_integrity()
    assert "assure-agent restore" in found.value.hint
    store.close()


async def test_a_sound_file_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await filled(tmp_path)
    store = opened(tmp_path)
    await store.check_integrity()
    monkeypatch.setattr("agent.store.sqlite.store.check_integrity", None)  # not called again
    await store.check_integrity()
    store.close()


async def test_a_small_file_is_checked_whole_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "SMALL", 64 << 20)
    await filled(tmp_path)
    tear(tmp_path, "deliveries_by_sink")
    with pytest.raises(StoreDamaged):
        opened(tmp_path)


@pytest.mark.parametrize(
    "tampered",
    [
        "UPDATE requests SET record = json_set(record, '$.process_id', 'another') WHERE uid = 'begun'",
        "UPDATE requests SET record = json_set(record, '$.billed', json('false')) WHERE uid = 'waits'",
        "UPDATE requests SET record = substr(record, 1, 40) WHERE uid = 'begun'",
        "UPDATE requests SET phase = 'dossier' WHERE uid = 'waits'",
        "UPDATE events SET changes = json_set(changes, '$.dossierId', 'another') WHERE uid = 'begun' AND seq = 4",
        "DELETE FROM events WHERE uid = 'waits' AND seq = 3",
        "DELETE FROM starts WHERE uid = 'waits'",
    ],
)
@pytest.mark.parametrize("small", [True, False])
async def test_a_request_that_goes_on_and_is_not_what_its_history_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tampered: str, small: bool
) -> None:
    """[I2] [I5] Nothing is asked of Assure because of a row that is not what was written; and nothing is changed."""
    monkeypatch.setattr(integrity, "SMALL", (64 << 20) * small)
    await filled(tmp_path)
    changed(tmp_path, tampered)
    before = rows(tmp_path, "SELECT key, value FROM meta")
    with pytest.raises(StoreDamaged, match=r"of request (begun|waits)") as refused:
        opened(tmp_path)
    assert "assure-agent audit verify" in refused.value.hint
    assert rows(tmp_path, "SELECT key, value FROM meta") == before


async def test_a_request_that_is_settled_is_left_to_the_audit(tmp_path: Path) -> None:
    """A million of them are not read at every start; nothing is asked of Assure because of them."""
    await filled(tmp_path)
    changed(tmp_path, "UPDATE events SET at = at + 1 WHERE uid = 'u7' AND seq = 2")
    opened(tmp_path).close()


async def test_checking_integrity_ends_when_it_is_cancelled_also_between_two_statements(tmp_path: Path) -> None:
    await filled(tmp_path)
    began, goes_on, ended = threading.Event(), threading.Event(), threading.Event()
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200000000) SELECT count(*) FROM n"

    def very_long(_: Path, connection: Connection) -> None:
        began.set()
        goes_on.wait()
        connection.execute(count).fetchone()
        ended.set()

    looking = asyncio.create_task(integrity.check_integrity(tmp_path / "agent.db", very_long))
    await until(began.is_set)
    looking.cancel()
    for _ in range(5):
        await asyncio.sleep(0)  # so that it was interrupted before its statement began
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert not ended.is_set()


async def test_damage_that_was_found_before_the_check_was_cancelled_is_reported(tmp_path: Path) -> None:
    await filled(tmp_path)
    began, goes_on = threading.Event(), threading.Event()

    def finds_damage(path: Path, _: Connection) -> None:
        began.set()
        goes_on.wait()
        raise StoreDamaged(f"The state file {path} is damaged.", "restore it")

    checking = asyncio.create_task(integrity.check_integrity(tmp_path / "agent.db", finds_damage))
    await until(began.is_set)
    checking.cancel()
    goes_on.set()
    with pytest.raises(StoreDamaged):
        await checking
