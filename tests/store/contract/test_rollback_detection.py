"""The local files show whether a store is what it was: the key, the high-water mark and the checkpoints."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged, StoreError
from agent.core.record import Phase
from agent.store import lost_store
from agent.store.rollback_detection import HighWaterMark
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import Life
from verification.builders.records import NOW

ROOT = Path(__file__).parents[3]


async def used(engine: Engine, uid: str = "u1") -> None:
    store = await engine.open()
    await committed(store, Life(uid).until(Phase.DONE))
    await store.aclose()


async def test_a_store_that_is_opened_again_and_again_is_what_it_was(engine: Engine) -> None:
    for number in range(2):
        await used(engine, f"u{number}")
        assert await engine.recovery_cause() is None
    mark = HighWaterMark(engine.folder / "agent.db").read()
    assert mark is not None
    assert [(mark.events,)] == await engine.rows("SELECT max(id) FROM events")


async def test_a_store_that_is_gone_while_its_key_is_there_was_lost(engine: Engine) -> None:
    await used(engine)
    await engine.lose()
    assert await engine.recovery_cause() == "lost"
    assert await engine.recovery_cause() == "lost", "until a person says to go on"
    assert len(await engine.rows("SELECT * FROM recoveries")) == 1


async def test_an_older_copy_is_reported_by_the_mark(engine: Engine) -> None:
    await used(engine)
    older = await engine.keep()
    await used(engine, "u2")
    await engine.bring_back(older)
    assert await engine.recovery_cause() == "older"


FOREIGN = b"0123456789abcdef 00000000000000000001\n"


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 38, FOREIGN])
async def test_a_store_without_its_mark_is_not_trusted(engine: Engine, content: bytes | None) -> None:
    """A state file without its local files has an unknown age. A database proves its age by its lineage."""
    await used(engine)
    (engine.folder / "agent.mark").unlink()
    if content is not None:
        (engine.folder / "agent.mark").write_bytes(content)
    another = content == FOREIGN  # the mark of another store
    assert await engine.recovery_cause() == ("older" if engine.kind == "sqlite" or another else None)


async def test_a_store_in_which_nothing_was_ever_written_is_a_first_start_wherever_it_comes_from(
    engine: Engine,
) -> None:
    """Its key is not there, so a new one is made: no reference of an earlier one could be found by it."""
    await (await engine.open()).aclose()
    for name in ("agent.key", "agent.mark"):
        (engine.folder / name).unlink()
    if engine.kind == "postgres":  # another replica may have its key, and begin with it at this moment
        with pytest.raises(StoreDamaged, match=r"The key file .* is missing"):
            await engine.open()
        return
    assert await engine.recovery_cause() is None


async def test_a_mark_that_is_behind_is_no_alarm(engine: Engine) -> None:
    """The machine crashed before the mark was on disk."""
    await used(engine)
    shutil.copy(engine.folder / "agent.mark", engine.folder / "mark")
    await used(engine, "u2")
    (engine.folder / "mark").rename(engine.folder / "agent.mark")
    assert await engine.recovery_cause() is None


async def test_a_store_with_events_and_without_an_identity_is_an_older_copy(engine: Engine) -> None:
    await used(engine)
    (engine.folder / "agent.mark").unlink()
    await engine.change("DELETE FROM meta WHERE key IN ('identity', 'key')")
    assert await engine.recovery_cause() == "older"


async def test_a_store_without_its_key_is_refused(engine: Engine) -> None:
    """[I2] Under a new key every request would look new, and be billed again."""
    await used(engine)
    (engine.folder / "agent.key").unlink()
    with pytest.raises(StoreDamaged, match="is missing") as refused:
        await engine.open()
    assert "restore it from" in refused.value.hint
    assert not (engine.folder / "agent.key").exists()


async def test_a_store_under_another_key_is_refused(engine: Engine) -> None:
    """[I2]"""
    await used(engine)
    (engine.folder / "agent.key").write_text("ab" * 32 + "\n")
    with pytest.raises(StoreDamaged, match="another key"):
        await engine.open()


async def test_a_recovery_on_record_cannot_be_removed(engine: Engine) -> None:
    await used(engine)
    await engine.lose()
    assert await engine.recovery_cause() == "lost"
    with pytest.raises(Exception, match="append-only"):
        await engine.rows("DELETE FROM recoveries")


async def test_another_account_is_refused_before_anything_is_recovered(engine: Engine) -> None:
    await used(engine)
    (engine.folder / "agent.mark").unlink()
    with pytest.raises(StoreError, match="another Assure account"):
        await engine.open("somebody else")
    assert await engine.rows("SELECT * FROM recoveries") == []


async def test_an_older_copy_with_its_older_mark_is_reported_by_the_checkpoints(engine: Engine) -> None:
    await used(engine)
    older, mark = await engine.keep(), (engine.folder / "agent.mark").read_bytes()
    store = await engine.open()
    await committed(store, Life("u2"))
    await store.checkpoint(NOW)
    await store.aclose()
    await engine.bring_back(older)
    (engine.folder / "agent.mark").write_bytes(mark)
    assert await engine.recovery_cause() == "older"


async def test_checkpoints_that_a_recovery_gave_up_are_no_witness_against_what_follows(engine: Engine) -> None:
    """The store was lost; the agent that found out is killed before it takes a checkpoint of its own."""
    await used(engine)
    store = await engine.open()
    await store.checkpoint(NOW)
    await store.aclose()
    await engine.lose()
    assert await engine.recovery_cause() == "lost"
    store = await engine.open()
    await store.recoveries.close(NOW)
    await store.aclose()
    assert await engine.recovery_cause() is None
    assert await engine.rows("SELECT cause FROM recoveries") == [("lost",)]


async def test_rollback_detection_leaves_no_trace(engine: Engine) -> None:
    assert lost_store(engine.settings) is None
    await used(engine)
    older = await engine.keep()
    await used(engine, "u2")
    with engine.reading() as reading:
        assert reading.recovery() is None
    await engine.bring_back(older)
    for _ in range(2):
        with engine.reading() as reading:
            assert reading.recovery() == ("older", False, False)
    assert await engine.recovery_cause() == "older"
    with engine.reading() as reading:
        assert reading.recovery() == ("older", False, False)
    await engine.lose()
    assert lost_store(engine.settings) == "lost"


_WRITES = """
import asyncio, json, sys
from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store import open_store
from tests.store.support import ACCOUNT
from verification.builders.lives import Life

async def main():
    store = await open_store(Settings(**json.loads(sys.argv[1])), ACCOUNT)
    for number in range(100000):
        for step in Life(f"u{number}").until(Phase.DONE).steps:
            await store.commit([step])
        print(number, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lives", [1, 2])
async def test_kill_9_in_the_middle_of_commits_is_no_alarm(engine: Engine, lives: int) -> None:
    """[I4] The mark is never ahead of the store; some kills, each somewhere else."""
    command = [sys.executable, "-c", _WRITES, engine.given()]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(lives):
            last = process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    await engine.let_lease_end()
    assert await engine.recovery_cause() is None
    assert engine.faults() == []
    done = await engine.rows("SELECT uid FROM requests WHERE phase = 'done'")
    assert {(f"u{number}",) for number in range(int(last) + 1)} <= {*done}
