"""Checkpoints: what the journal was, in a file beside the database [I5]."""

import hashlib
from pathlib import Path

import orjson
import pytest

from agent.core.record import Phase
from agent.store.audit.checkpoints import (
    BREAK,
    CHECKPOINT,
    RESTORE,
    Checkpoint,
    MalformedCheckpoint,
    checkpoint_path,
    last_line,
    lines,
)
from agent.store.sqlite.store import SqliteStore
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import changed, committed, opened, rows


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return checkpoint_path(tmp_path / "agent.db")


async def lived(store: SqliteStore, uid: str, phase: Phase = Phase.DONE) -> int:
    """Commit the life of one request; how many events the journal has then."""
    await committed(store, Life(uid).until(phase))
    return int(store._reads.query("SELECT count(*) FROM events")[0][0])


async def test_a_line_follows_the_one_before_and_only_when_something_was_written(tmp_path: Path, path: Path) -> None:
    store = opened(tmp_path)
    assert await store.checkpoint(NOW) == ()
    await lived(store, "u1")
    (first,) = await store.checkpoint(NOW)
    assert await store.checkpoint(NOW + 300) == ()
    events = await lived(store, "u2")
    store.close()
    store = opened(tmp_path)  # another process goes on where the file ends
    (second,) = await store.checkpoint(NOW + 600)
    store.close()
    assert (second.number, second.previous, second.event) == (2, first.hash, events)
    verdict = verified(tmp_path / "agent.db")
    assert (verdict.findings, verdict.checkpoints, verdict.covered) == ((), 2, events)


async def test_a_line_that_a_crash_cut_off_counts_as_not_written(tmp_path: Path, path: Path) -> None:
    store = opened(tmp_path)
    await lived(store, "u1")
    (first,) = await store.checkpoint(NOW)
    await lived(store, "u2")
    store.close()
    with path.open("ab") as file:
        file.write(b'{"number":2,"kind":"check')
    assert verified(tmp_path / "agent.db").findings == ()
    store = opened(tmp_path)
    (second,) = await store.checkpoint(NOW)
    store.close()
    assert list(lines(path)) == [first, second]
    assert verified(tmp_path / "agent.db").findings == ()


async def test_a_file_that_is_ahead_of_the_note_is_fine(tmp_path: Path) -> None:
    """We ended between the line and its note."""
    store = opened(tmp_path)
    await lived(store, "u1")
    await store.checkpoint(NOW)
    await lived(store, "u2")
    store._checkpoints.take(NOW)
    store.close()
    assert verified(tmp_path / "agent.db").findings == ()


async def test_a_file_that_was_taken_away_is_missed_and_stays_so(tmp_path: Path, path: Path) -> None:
    store = opened(tmp_path)
    await lived(store, "u1")
    await store.checkpoint(NOW)
    store.close()
    path.unlink()
    (finding,) = verified(tmp_path / "agent.db").findings
    assert "checkpoint 1, which the database noted, is missing" in finding.what
    store = opened(tmp_path)
    broken, line = await store.checkpoint(NOW + 1)
    store.close()
    assert (broken.kind, broken.number, broken.event) == (BREAK, 2, 0)
    assert (line.kind, line.number) == (CHECKPOINT, 3)
    said = [finding.what for finding in verified(tmp_path / "agent.db").findings]
    assert any("checkpoint 2 does not follow checkpoint 0: lines between them are missing" in what for what in said)


async def older_copy(tmp_path: Path) -> bytes:
    """Two checkpoints of a database, which is then what it was at the first; returns what it had been."""
    store = opened(tmp_path)
    await lived(store, "u1")
    await store.checkpoint(NOW)
    store.close()
    older = (tmp_path / "agent.db").read_bytes()
    store = opened(tmp_path)
    await lived(store, "u2")
    await store.checkpoint(NOW)
    store.close()
    (tmp_path / "agent.db").write_bytes(older)
    return older


async def test_an_older_copy_of_the_database_is_found(tmp_path: Path, path: Path) -> None:
    await older_copy(tmp_path)
    ((kept,),) = rows(tmp_path, "SELECT count(*) FROM events")
    (finding,) = verified(tmp_path / "agent.db").findings
    assert finding.event == kept + 1
    assert f"events after {kept} were removed, at the end or before it: checkpoint 2" in finding.what
    store = opened(tmp_path)
    await lived(store, "u3")
    broken, line = await store.checkpoint(NOW)
    assert (broken.kind, broken.event, line.event) == (BREAK, kept, 2 * kept)
    assert await store.checkpoint(NOW) == ()  # said once
    store.close()
    (finding,) = verified(tmp_path / "agent.db").findings  # and it stays on the books
    assert f"only {kept} events were unchanged" in finding.what


async def test_a_backup_that_a_person_restored_is_reported_and_is_no_fault(tmp_path: Path) -> None:
    await older_copy(tmp_path)
    store = opened(tmp_path)
    line = await store.record_restore(NOW)
    assert line.kind == RESTORE
    await lived(store, "u3")
    await store.checkpoint(NOW)
    store.close()
    verdict = verified(tmp_path / "agent.db")
    assert verdict.findings == ()
    (notice,) = verdict.notices
    assert "checkpoint 3" in notice
    assert "a backup was restored" in notice


async def test_a_line_that_is_none_is_named(tmp_path: Path, path: Path) -> None:
    store = opened(tmp_path)
    await lived(store, "u1")
    await store.checkpoint(NOW)
    store.close()
    path.write_bytes(path.read_bytes() + b"not a checkpoint\n")
    (finding,) = verified(tmp_path / "agent.db").findings
    assert finding.what == "line 2 of the checkpoints cannot be read"
    store = opened(tmp_path)
    with pytest.raises(MalformedCheckpoint, match="Line 2"):
        await store.checkpoint(NOW)
    store.close()


async def test_checkpoints_that_were_kept_elsewhere_show_what_both_files_hide(tmp_path: Path, path: Path) -> None:
    await older_copy(tmp_path)
    kept = tmp_path / "kept.jsonl"
    path.rename(kept)
    path.write_bytes(kept.read_bytes().splitlines(keepends=True)[0])
    assert verified(tmp_path / "agent.db").findings == ()  # database and file are the older ones
    said = [finding.what for finding in verified(tmp_path / "agent.db", kept).findings]
    assert any("checkpoint 2 of the copy is not in the file" in what for what in said)
    assert any("at the end or before it: checkpoint 2" in what for what in said)


async def test_the_first_changed_event_is_named_even_where_the_chain_was_forged(tmp_path: Path) -> None:
    """A whole request that was taken out, with the numbers of all others moved up."""
    store = opened(tmp_path)
    before = await lived(store, "u1")
    await store.checkpoint(NOW)
    await lived(store, "u2")
    await lived(store, "u3")
    await store.checkpoint(NOW)
    store.close()
    statements = [f"DELETE FROM {table} WHERE uid = 'u2'" for table in ("attempts", "starts", "events", "requests")]
    changed(tmp_path, *statements)
    first, *_ = verified(tmp_path / "agent.db").findings
    assert (first.event, first.what) == (before + 1, "the event is missing, or moved")
    changed(tmp_path, f"UPDATE events SET id = id - {before} WHERE id > {before}")
    first, *_ = verified(tmp_path / "agent.db").findings
    assert first.event == before + 1
    assert f"events after {before} were removed" in first.what


def test_a_line_is_sealed_by_all_that_it_says() -> None:
    line = Checkpoint(
        number=1, kind=CHECKPOINT, at="t", event=2, head="h", digest="d", previous="p", commands=3, commands_head="c"
    ).with_hash()
    text = orjson.dumps(["p", 1, "checkpoint", "t", 2, "h", "d", 3, "c"])
    assert line.hash == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(("left", "known"), [("", True), ('{"number": 9', True), ("garbled\n", False)])
async def test_covered_events_are_read_from_the_last_checkpoint(tmp_path: Path, left: str, known: bool) -> None:
    """Each start asks; a file of a year has a hundred thousand lines. One that was being written does not count."""
    store = opened(tmp_path)
    for number in range(2):
        await committed(store, Life(f"u{number}").until(Phase.DONE))
        await store.checkpoint(NOW + number)
    store.close()
    path = checkpoint_path(tmp_path / "agent.db")
    with path.open("a") as file:
        file.write(left)
    written = rows(tmp_path, "SELECT max(id) FROM events")[0][0]
    line = last_line(path)
    assert (line.event if line is not None else None) == (written if known else None)
    assert last_line(tmp_path / "nothing") is None
