"""What stands beside the state file tells whether it is what it was: the key, and the high-water mark."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged, StoreError
from agent.core.record import Phase
from agent.store.rollback_detection import HighWaterMark, Witnesses, lost_cause
from agent.store.sqlite.readonly import ReadOnlyStore
from agent.store.sqlite.store import SqliteStore
from tests.support.stores import at_once
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import ACCOUNT, changed, committed, opened, raw, rows

ROOT = Path(__file__).parents[2]


async def used(folder: Path, uid: str = "u1") -> None:
    store = opened(folder)
    await committed(store, Life(uid).until(Phase.DONE))
    store.close()


def why(folder: Path) -> str | None:
    """Open the store; why it is recovering, if it is."""
    store = opened(folder)
    rows = store._reads.query("SELECT cause FROM recoveries WHERE closed_at IS NULL")
    store.close()
    return rows[0][0] if rows else None


async def test_a_store_that_is_opened_again_and_again_is_what_it_was(tmp_path: Path) -> None:
    for number in range(2):
        await used(tmp_path, f"u{number}")
        assert why(tmp_path) is None
    mark = HighWaterMark(tmp_path / "agent.db").read()
    assert mark is not None
    assert mark.events == rows(tmp_path, "SELECT max(id) FROM events")[0][0]


async def test_a_state_file_that_is_gone_while_its_key_is_there_was_lost(tmp_path: Path) -> None:
    await used(tmp_path)
    (tmp_path / "agent.db").unlink()
    assert why(tmp_path) == "lost"
    assert why(tmp_path) == "lost", "until a person says to go on"
    assert len(rows(tmp_path, "SELECT * FROM recoveries")) == 1


async def test_an_emptied_state_file_was_lost_too(tmp_path: Path) -> None:
    await used(tmp_path)
    os.truncate(tmp_path / "agent.db", 0)
    assert why(tmp_path) == "lost"


async def test_a_log_without_its_state_file_is_not_taken_for_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life())
    shutil.copy(tmp_path / "agent.db-wal", tmp_path / "kept")
    store.close()
    (tmp_path / "agent.db").unlink()
    (tmp_path / "kept").rename(tmp_path / "agent.db-wal")
    assert why(tmp_path) == "lost"
    assert rows(tmp_path, "SELECT * FROM requests") == []


async def test_an_older_copy_is_reported_by_the_mark(tmp_path: Path) -> None:
    await used(tmp_path)
    shutil.copy(tmp_path / "agent.db", tmp_path / "older")
    await used(tmp_path, "u2")
    shutil.copy(tmp_path / "older", tmp_path / "agent.db")
    assert why(tmp_path) == "older"


async def test_a_copy_without_the_log_that_belonged_to_it_is_reported_by_the_mark(tmp_path: Path) -> None:
    """What `cp agent.db` takes along while an agent runs."""
    await used(tmp_path)
    store = opened(tmp_path)
    shutil.copy(tmp_path / "agent.db", tmp_path / "taken")
    await committed(store, Life("u2"))
    store.close()
    (tmp_path / "taken").rename(tmp_path / "agent.db")
    assert why(tmp_path) == "older"


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 38, b"0123456789abcdef 00000000000000000001\n"])
async def test_a_state_file_without_its_mark_is_not_trusted(tmp_path: Path, content: bytes | None) -> None:
    """It was carried here alone, so nobody knows how old it is."""
    await used(tmp_path)
    (tmp_path / "agent.mark").unlink()
    if content is not None:
        (tmp_path / "agent.mark").write_bytes(content)
    assert why(tmp_path) == "older"


async def test_a_store_in_which_nothing_was_ever_written_is_a_first_start_wherever_it_comes_from(
    tmp_path: Path,
) -> None:
    """Its key is not there, so a new one is made: no reference of an earlier one could be found by it."""
    opened(tmp_path).close()
    for name in ("agent.key", "agent.mark"):
        (tmp_path / name).unlink()
    assert why(tmp_path) is None


async def test_a_mark_that_is_behind_is_no_alarm(tmp_path: Path) -> None:
    """The machine crashed before the mark was on disk."""
    await used(tmp_path)
    shutil.copy(tmp_path / "agent.mark", tmp_path / "mark")
    await used(tmp_path, "u2")
    (tmp_path / "mark").rename(tmp_path / "agent.mark")
    assert why(tmp_path) is None


async def test_a_store_with_events_and_without_an_identity_is_an_older_copy(tmp_path: Path) -> None:
    await used(tmp_path)
    (tmp_path / "agent.mark").unlink()
    changed(tmp_path, "DELETE FROM meta WHERE key IN ('identity', 'key')")
    assert why(tmp_path) == "older"


async def test_a_store_without_its_key_is_refused(tmp_path: Path) -> None:
    """[I2] Under a new key every request would look new, and be billed again."""
    await used(tmp_path)
    (tmp_path / "agent.key").unlink()
    with pytest.raises(StoreDamaged, match="is missing") as refused:
        opened(tmp_path)
    assert "restore it from" in refused.value.hint
    assert not (tmp_path / "agent.key").exists()


async def test_a_store_under_another_key_is_refused(tmp_path: Path) -> None:
    """[I2]"""
    await used(tmp_path)
    (tmp_path / "agent.key").write_text("ab" * 32 + "\n")
    with pytest.raises(StoreDamaged, match="another key"):
        opened(tmp_path)


async def test_a_recovery_on_record_cannot_be_removed(tmp_path: Path) -> None:
    await used(tmp_path)
    (tmp_path / "agent.db").unlink()
    why(tmp_path)
    with pytest.raises(Exception, match="append-only"):
        rows(tmp_path, "DELETE FROM recoveries")


_WRITES = """
import asyncio, sys
from pathlib import Path
from tests.store.support import opened
from verification.builders.lives import Life
from agent.core.record import Phase

async def main():
    store = opened(Path(sys.argv[1]))
    for number in range(100000):
        for step in Life(f"u{number}").until(Phase.DONE).steps:
            await store.commit([step])
        print(number, flush=True)

asyncio.run(main())
"""


def test_kill_9_in_the_middle_of_commits_is_no_alarm(tmp_path: Path) -> None:
    """[I4] The mark is never ahead of the file; some kills, each somewhere else."""
    for number in range(2):
        folder = tmp_path / str(number)
        with subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(1 + number):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert why(folder) is None


# -- the ground ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1])
async def test_a_truncated_state_file_is_refused_with_what_to_do(tmp_path: Path, left: float) -> None:
    await used(tmp_path)
    size = int((tmp_path / "agent.db").stat().st_size * left)
    os.truncate(tmp_path / "agent.db", size)
    with pytest.raises(StoreDamaged) as refused:
        opened(tmp_path)
    assert "assure-agent restore" in refused.value.hint
    assert (tmp_path / "agent.db").stat().st_size == size


async def test_a_state_file_with_a_torn_page_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    """Not in the middle of the night, when that page is needed."""
    store = opened(tmp_path)
    for number in range(30):
        await committed(store, Life(f"u{number}"))
    store.close()
    pages = (tmp_path / "agent.db").stat().st_size // 4096
    root = rows(tmp_path, "SELECT rootpage FROM sqlite_master WHERE name = 'requests_due'")[0][0]
    with (tmp_path / "agent.db").open("r+b") as file:
        file.seek(4096 * (root - 1))
        file.write(os.urandom(4096))
    assert pages > root
    with pytest.raises(StoreDamaged) as refused:
        opened(tmp_path)
    assert "assure-agent restore" in refused.value.hint


def test_a_disk_that_is_full_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    """[I4] By a limit on the size of files, which is what SQLite meets on a full disk: no byte more."""
    script = (
        "import asyncio, resource, sys\n"
        "from pathlib import Path\n"
        "from tests.store.support import opened\n"
        "from verification.builders.lives import Life\n"
        "async def main():\n"
        "    store = opened(Path(sys.argv[1]))\n"
        "    room = max(path.stat().st_size for path in Path(sys.argv[1]).iterdir()) + 200_000\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))\n"
        "    try:\n"
        "        for number in range(10_000):\n"
        "            await store.commit(Life(f'u{number}').steps)\n"
        "            print(number)\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__, error, error.hint)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=PATIENT
    )
    *numbers, last = done.stdout.splitlines()
    assert last.startswith("StoreError The state file"), done.stdout[-500:] + done.stderr
    assert "free space" in last
    store = opened(tmp_path)
    assert at_once(store.get(f"u{numbers[-1]}")) is not None, "what was said to be durable is there"
    assert at_once(store.get(f"u{len(numbers)}")) is None
    assert not store._reads.query("SELECT 1 FROM recoveries WHERE closed_at IS NULL")
    store.close()


def test_a_state_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file system that is mounted read-only, as far as SQLite can tell."""
    asyncio.run(used(tmp_path))
    connection = raw(tmp_path)
    connection.close()
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from agent.core.errors import AgentError\n"
        "from agent.store.sqlite import connection\n"
        "from tests.store.support import opened\n"
        "plain = connection._connect\n"
        "connection._connect = lambda path, mode: plain(path, 'ro')\n"
        "try:\n"
        "    opened(Path(sys.argv[1]))\n"
        "except AgentError as error:\n"
        "    print(type(error).__name__, error, error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("StoreError"), done.stdout + done.stderr
    assert "permissions" in done.stdout


async def test_another_account_is_refused_before_anything_is_recovered(tmp_path: Path) -> None:
    await used(tmp_path)
    (tmp_path / "agent.mark").unlink()
    with pytest.raises(StoreError, match="another Assure account"):
        SqliteStore(tmp_path / "agent.db", "somebody else")
    assert rows(tmp_path, "SELECT * FROM recoveries") == []
    assert ACCOUNT


async def test_an_older_copy_with_its_older_mark_is_reported_by_the_checkpoints(tmp_path: Path) -> None:
    await used(tmp_path)
    for name in ("agent.db", "agent.mark"):
        shutil.copy(tmp_path / name, tmp_path / f"older-{name}")
    store = opened(tmp_path)
    await committed(store, Life("u2"))
    await store.checkpoint(NOW)
    store.close()
    for name in ("agent.db", "agent.mark"):
        shutil.copy(tmp_path / f"older-{name}", tmp_path / name)
    assert why(tmp_path) == "older"


async def test_checkpoints_that_a_recovery_gave_up_are_no_witness_against_what_follows(tmp_path: Path) -> None:
    """The store was lost; the agent that found out is killed before it takes a checkpoint of its own."""
    await used(tmp_path)
    store = opened(tmp_path)
    await store.checkpoint(NOW)
    store.close()
    (tmp_path / "agent.db").unlink()
    assert why(tmp_path) == "lost"
    store = opened(tmp_path)
    await store.recoveries.close(NOW)
    store.close()
    assert why(tmp_path) is None
    assert [row[0] for row in rows(tmp_path, "SELECT cause FROM recoveries")] == ["lost"]


async def test_rollback_detection_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    assert lost_cause(Witnesses.read(path)) is None
    await used(tmp_path)
    shutil.copy(path, tmp_path / "older")
    await used(tmp_path, "u2")
    with ReadOnlyStore(path) as reading:
        assert reading.recovery() is None
    shutil.copy(tmp_path / "older", path)
    for _ in range(2):
        with ReadOnlyStore(path) as reading:
            assert reading.recovery() == ("older", False, False)
    assert why(tmp_path) == "older"
    with ReadOnlyStore(path) as reading:
        assert reading.recovery() == ("older", False, False)
    path.unlink()
    assert lost_cause(Witnesses.read(path)) == "lost"
