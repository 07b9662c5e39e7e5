"""What stands beside the state file tells whether it is what it was: the key, and the high-water mark."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import StoreDamaged
from agent.core.record import Phase
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life

from .support import committed, opened, raw, rows

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


async def test_a_copy_without_the_log_that_belonged_to_it_is_reported_by_the_mark(tmp_path: Path) -> None:
    """What `cp agent.db` takes along while an agent runs."""
    await used(tmp_path)
    store = opened(tmp_path)
    shutil.copy(tmp_path / "agent.db", tmp_path / "taken")
    await committed(store, Life("u2"))
    store.close()
    (tmp_path / "taken").rename(tmp_path / "agent.db")
    assert why(tmp_path) == "older"


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
    assert asyncio.run(store.get(f"u{numbers[-1]}")) is not None, "what was said to be durable is there"
    assert asyncio.run(store.get(f"u{len(numbers)}")) is None
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
