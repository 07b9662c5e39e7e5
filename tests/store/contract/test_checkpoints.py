"""Checkpoints: what the journal was, in a file beside the local files [I5]."""

import stat
from pathlib import Path

import pytest

from agent.core.record import Phase
from agent.store.audit import checkpoint_file
from agent.store.audit.checkpoints import (
    BREAK,
    CHECKPOINT,
    RESTORE,
    MalformedCheckpoint,
    checkpoint_path,
    extend_digest,
    lines,
)
from agent.store.contract import Store
from tests.store.support import committed
from verification.builders.lives import Life
from verification.builders.records import NOW

from .engines import Engine


@pytest.fixture
def path(engine: Engine) -> Path:
    return checkpoint_path(engine.settings.local_path)


async def lived(engine: Engine, store: Store, uid: str) -> int:
    """Commit the life of one request; how many events the journal has then."""
    await committed(store, Life(uid).until(Phase.DONE))
    return int((await engine.rows("SELECT count(*) FROM events"))[0][0])


async def test_a_checkpoint_says_what_the_journal_is(
    engine: Engine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_file, "_PAGE", 3)  # several pages, the last one not full
    store = await engine.open()
    events = await lived(engine, store, "u1")
    (line,) = await store.checkpoint(NOW)
    await store.aclose()
    hashes = [row[0] for row in await engine.rows("SELECT hash FROM events ORDER BY id")]
    digest = ""
    for event_hash in hashes:
        digest = extend_digest(digest, event_hash)
    assert (line.number, line.kind, line.event, line.head, line.digest) == (1, CHECKPOINT, events, hashes[-1], digest)
    assert list(lines(path)) == [line]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert await engine.rows("SELECT value FROM meta WHERE key = 'checkpoint'") == [(f"1 {line.hash}",)]


async def test_a_line_follows_the_one_before_and_only_when_something_was_written(engine: Engine, path: Path) -> None:
    store = await engine.open()
    assert await store.checkpoint(NOW) == ()
    await lived(engine, store, "u1")
    (first,) = await store.checkpoint(NOW)
    assert await store.checkpoint(NOW + 300) == ()
    events = await lived(engine, store, "u2")
    await store.aclose()
    store = await engine.open()  # another process goes on where the file ends
    (second,) = await store.checkpoint(NOW + 600)
    await store.aclose()
    assert (second.number, second.previous, second.event) == (2, first.hash, events)
    assert list(lines(path)) == [first, second]


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
    store = await engine.open()
    first = await lived(engine, store, "u1")
    await store.checkpoint(NOW)
    second = await lived(engine, store, "u2")
    await store.checkpoint(NOW)
    await store.checkpoint(NOW)
    await store.aclose()
    assert read == list(range(1, first + 1)) + list(range(first + 1, second + 1))


async def test_an_older_copy_breaks_the_file_once_and_a_restore_is_on_record(engine: Engine, path: Path) -> None:
    store = await engine.open()
    kept = await lived(engine, store, "u1")
    await store.checkpoint(NOW)
    await store.aclose()
    older = await engine.keep()
    store = await engine.open()
    await lived(engine, store, "u2")
    await store.checkpoint(NOW)
    await store.aclose()
    await engine.bring_back(older)
    store = await engine.open()
    broken, *_ = await store.checkpoint(NOW)
    assert (broken.kind, broken.event) == (BREAK, kept)
    assert await store.checkpoint(NOW) == ()
    restored = await store.record_restore(NOW)
    assert (restored.kind, restored.number, restored.event) == (RESTORE, len([*lines(path)]), kept)
    await store.aclose()


async def test_a_line_that_is_none_stops_the_file(engine: Engine, path: Path) -> None:
    store = await engine.open()
    await lived(engine, store, "u1")
    await store.checkpoint(NOW)
    await store.aclose()
    path.write_bytes(path.read_bytes() + b"not a checkpoint\n")
    store = await engine.open()
    with pytest.raises(MalformedCheckpoint, match="Line 2"):
        await store.checkpoint(NOW)
    await store.aclose()
