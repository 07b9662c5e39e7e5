"""Checkpoints: what the journal was, in a file beside the database [I5]."""

import asyncio
import hashlib
import signal
import stat
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from agent.core.record import Phase
from agent.store.audit import checkpoint_file
from agent.store.audit.checkpoints import (
    BREAK,
    CHECKPOINT,
    RESTORE,
    Checkpoint,
    MalformedCheckpoint,
    checkpoint_path,
    extend_digest,
    last_line,
    lines,
)
from agent.store.contract import Store
from agent.store.reading.reads import Query
from verification.builders.lives import Life
from verification.builders.records import NOW

from .engines import Engine
from .support import committed

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(engine: Engine) -> Path:
    return checkpoint_path(engine.settings.local_path)


@pytest.fixture
def only_file(engine: Engine) -> None:
    if engine.settings.uses_database:
        pytest.skip("the checkpoints of a database are in a table: tests/store/postgres/test_checkpoints.py")


async def lived(store: Store, uid: str, phase: Phase = Phase.DONE) -> int:
    """Commit the life of one request; how many events the journal has then."""
    await committed(store, Life(uid).until(phase))
    return int((await store.query(Query("SELECT count(*) FROM events")))[0][0])


async def test_a_checkpoint_says_what_the_journal_is(
    engine: Engine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_file, "_PAGE", 3)  # several pages, the last one not full
    async with engine.opened() as store:
        events = await lived(store, "u1")
        (line,) = await store.checkpoint(NOW)
    hashes = [row[0] for row in await engine.rows("SELECT hash FROM events ORDER BY id")]
    digest = ""
    for event_hash in hashes:
        digest = extend_digest(digest, event_hash)
    assert (line.number, line.kind, line.event, line.head, line.digest) == (1, CHECKPOINT, events, hashes[-1], digest)
    assert list(lines(path)) == [line]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await engine.rows("SELECT value FROM meta WHERE key = 'checkpoint'") == [(f"1 {line.hash}",)]


async def test_a_line_follows_the_one_before_and_only_when_something_was_written(engine: Engine, path: Path) -> None:
    async with engine.opened() as store:
        assert await store.checkpoint(NOW) == ()
        await lived(store, "u1")
        (first,) = await store.checkpoint(NOW)
        assert await store.checkpoint(NOW + 300) == ()
        events = await lived(store, "u2")
    async with engine.opened() as store:  # another process goes on where the file ends
        (second,) = await store.checkpoint(NOW + 600)
    assert (second.number, second.previous, second.event) == (2, first.hash, events)
    verdict = engine.verified()
    assert (verdict.findings, verdict.checkpoints, verdict.covered) == ((), 2, events)


async def test_a_checkpoint_reads_only_what_was_written_since_the_last(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    page = checkpoint_file._page

    def counted(connection: object, after: int) -> list[tuple[int, str]]:
        found = page(connection, after)
        read.extend(event for event, _ in found)
        return found

    monkeypatch.setattr(checkpoint_file, "_page", counted)
    monkeypatch.setattr(checkpoint_file, "_PAGE", 3)  # several pages, the last one not full
    async with engine.opened() as store:
        first = await lived(store, "u1")
        await store.checkpoint(NOW)
        second = await lived(store, "u2")
        await store.checkpoint(NOW)
        await store.checkpoint(NOW)
    assert read == list(range(1, first + 1)) + list(range(first + 1, second + 1))


async def test_a_line_that_a_crash_cut_off_counts_as_not_written(engine: Engine, path: Path) -> None:
    async with engine.opened() as store:
        await lived(store, "u1")
        (first,) = await store.checkpoint(NOW)
        await lived(store, "u2")
    with path.open("ab") as file:
        file.write(b'{"number":2,"kind":"check')
    assert engine.verified().findings == ()
    async with engine.opened() as store:
        (second,) = await store.checkpoint(NOW)
    assert list(lines(path)) == [first, second]
    assert engine.verified().findings == ()


async def test_a_file_that_is_ahead_of_the_note_is_fine(engine: Engine) -> None:
    """We ended between the line and its note."""
    async with engine.opened() as store:
        await lived(store, "u1")
        await store.checkpoint(NOW)
        await lived(store, "u2")
        store._checkpoints.take(NOW)
    assert engine.verified().findings == ()


KILLED = """
import asyncio, json, os, signal, sys
from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store import open_store
from tests.store.support import ACCOUNT, committed
from verification.builders.lives import Life

async def main():
    store = await open_store(Settings(**json.loads(sys.argv[1])), ACCOUNT)
    await committed(store, Life("u1").until(Phase.DONE))
    await store.checkpoint(1.0)
    await committed(store, Life("u2").until(Phase.DONE))
    store._note = lambda line: os.kill(os.getpid(), signal.SIGKILL)
    await store.checkpoint(2.0)

asyncio.run(main())
"""


async def test_a_kill_between_the_line_and_its_note_is_no_fault(engine: Engine, path: Path) -> None:
    command = [sys.executable, "-c", KILLED, engine.given()]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == -signal.SIGKILL, ended
    _, second = lines(path)
    assert await engine.rows("SELECT value FROM meta WHERE key = 'checkpoint'") != [(f"2 {second.hash}",)]
    assert engine.verified().findings == ()
    await engine.let_lease_end()
    async with engine.opened() as store:
        assert await store.checkpoint(NOW) == ()  # it is known, and nothing was written since
        await lived(store, "u3")
        (third,) = await store.checkpoint(NOW)
    assert (third.number, third.previous) == (3, second.hash)
    assert (engine.verified().findings, engine.verified().checkpoints) == ((), 3)


@pytest.mark.usefixtures("only_file")
async def test_lines_that_were_cut_off_are_found(engine: Engine, path: Path) -> None:
    async with engine.opened() as store:
        for number in range(3):
            await lived(store, f"u{number}")
            await store.checkpoint(NOW + number)
    kept = path.with_name("kept.jsonl")
    kept.write_bytes(path.read_bytes())
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    (finding,) = engine.verified().findings
    assert "checkpoint 3, which the database noted, is missing" in finding.what
    said = [finding.what for finding in engine.verified(kept).findings]
    assert "checkpoint 3 of the copy is not in the file next to the database" in said


@pytest.mark.usefixtures("only_file")
async def test_a_file_that_was_taken_away_is_missed_and_stays_so(engine: Engine, path: Path) -> None:
    async with engine.opened() as store:
        await lived(store, "u1")
        await store.checkpoint(NOW)
    path.unlink()
    (finding,) = engine.verified().findings
    assert "checkpoint 1, which the database noted, is missing" in finding.what
    async with engine.opened() as store:
        broken, line = await store.checkpoint(NOW + 1)
    assert (broken.kind, broken.number, broken.event) == (BREAK, 2, 0)
    assert (line.kind, line.number) == (CHECKPOINT, 3)
    said = [finding.what for finding in engine.verified().findings]
    assert any("checkpoint 2 does not follow checkpoint 0: lines between them are missing" in what for what in said)


async def older_copy(engine: Engine) -> None:
    """Two checkpoints of a store, which is then what it was at the first."""
    async with engine.opened() as store:
        await lived(store, "u1")
        await store.checkpoint(NOW)
    kept = await engine.keep()
    async with engine.opened() as store:
        await lived(store, "u2")
        await store.checkpoint(NOW)
    await engine.bring_back(kept)


@pytest.mark.usefixtures("only_file")
async def test_an_older_copy_of_the_database_is_found(engine: Engine, path: Path) -> None:
    await older_copy(engine)
    ((kept,),) = await engine.rows("SELECT count(*) FROM events")
    (finding,) = engine.verified().findings
    assert finding.event == kept + 1
    assert f"events after {kept} were removed, at the end or before it: checkpoint 2" in finding.what
    async with engine.opened() as store:
        await lived(store, "u3")
        broken, line = await store.checkpoint(NOW)
        assert (broken.kind, broken.event, line.event) == (BREAK, kept, 2 * kept)
        assert await store.checkpoint(NOW) == ()  # said once
    (finding,) = engine.verified().findings  # and it stays on the books
    assert f"only {kept} events were unchanged" in finding.what


async def test_a_backup_that_a_person_restored_is_reported_and_is_no_fault(engine: Engine) -> None:
    await older_copy(engine)
    async with engine.opened() as store:
        line = await store.record_restore(NOW)
        assert line.kind == RESTORE
        await lived(store, "u3")
        await store.checkpoint(NOW)
    verdict = engine.verified()
    assert verdict.findings == ()
    (notice,) = verdict.notices
    assert "checkpoint 3" in notice
    assert "a backup was restored" in notice


@pytest.mark.usefixtures("only_file")
async def test_a_line_that_is_none_is_named(engine: Engine, path: Path) -> None:
    async with engine.opened() as store:
        await lived(store, "u1")
        await store.checkpoint(NOW)
    path.write_bytes(path.read_bytes() + b"not a checkpoint\n")
    (finding,) = engine.verified().findings
    assert finding.what == "line 2 of the checkpoints cannot be read"
    async with engine.opened() as store:
        with pytest.raises(MalformedCheckpoint, match="Line 2"):
            await store.checkpoint(NOW)


@pytest.mark.usefixtures("only_file")
async def test_checkpoints_that_were_kept_elsewhere_show_what_both_files_hide(engine: Engine, path: Path) -> None:
    await older_copy(engine)
    kept = path.with_name("kept.jsonl")
    path.rename(kept)
    path.write_bytes(kept.read_bytes().splitlines(keepends=True)[0])
    assert engine.verified().findings == ()  # database and file are the older ones
    said = [finding.what for finding in engine.verified(kept).findings]
    assert any("checkpoint 2 of the copy is not in the file" in what for what in said)
    assert any("at the end or before it: checkpoint 2" in what for what in said)


async def test_the_first_changed_event_is_named_even_where_the_chain_was_forged(engine: Engine) -> None:
    """A whole request that was taken out, with the numbers of all others moved up."""
    async with engine.opened() as store:
        before = await lived(store, "u1")
        await store.checkpoint(NOW)
        await lived(store, "u2")
        await lived(store, "u3")
        await store.checkpoint(NOW)
    statements = [f"DELETE FROM {table} WHERE uid = 'u2'" for table in ("attempts", "starts", "events", "requests")]
    await engine.change(*statements)
    first, *_ = engine.verified().findings
    assert (first.event, first.what) == (before + 1, "the event is missing, or moved")
    await engine.change(f"UPDATE events SET id = id - {before} WHERE id > {before}")
    first, *_ = engine.verified().findings
    assert first.event == before + 1
    assert f"events after {before} were removed" in first.what


def test_a_line_is_sealed_by_all_that_it_says() -> None:
    line = Checkpoint(
        number=1, kind=CHECKPOINT, at="t", event=2, head="h", digest="d", previous="p", commands=3, commands_head="c"
    ).with_hash()
    text = orjson.dumps(["p", 1, "checkpoint", "t", 2, "h", "d", 3, "c"])
    assert line.hash == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(("left", "known"), [("", True), ('{"number": 9', True), ("garbled\n", False)])
async def test_covered_events_are_read_from_the_last_checkpoint(
    engine: Engine, tmp_path: Path, left: str, known: bool
) -> None:
    """Each start asks; a file of a year has a hundred thousand lines. One that was being written does not count."""
    async with engine.opened() as store:
        for number in range(2):
            await committed(store, Life(f"u{number}").until(Phase.DONE))
            await store.checkpoint(NOW + number)
    path = checkpoint_path(engine.settings.local_path)
    with path.open("a") as file:
        file.write(left)
    ((written,),) = await engine.rows("SELECT max(id) FROM events")
    line = last_line(path)
    assert (line.event if line is not None else None) == (written if known else None)
    assert last_line(tmp_path / "nothing") is None
