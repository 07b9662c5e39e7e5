"""A file system without room: what is made is whole or not there, and what is said is one line [I4]."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent.core.errors import StoreError
from tests.support.timeouts import PATIENT

from .support import opened

ROOT = Path(__file__).parents[2]


def in_little_room(script: str) -> list[str]:
    """What a script prints that has a file system of 2 MiB for itself, at /mnt. `leave(room)` fills all but so much."""
    mounted = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=2m tmpfs /mnt && exec "$@"', "sh"]
    try:
        able = subprocess.run([*mounted, "true"], capture_output=True, timeout=PATIENT).returncode == 0
    except OSError:
        able = False
    if not able:
        pytest.skip("no file system can be mounted here")
    command = [*mounted, sys.executable, "-c", _BALLAST + script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


_BALLAST = """
import os
from pathlib import Path
ballast = Path("/mnt/ballast")
def leave(room):
    free = os.statvfs("/mnt").f_bfree * os.statvfs("/mnt").f_frsize
    ballast.write_bytes(bytes(max(0, free - room)))
"""


def test_a_first_start_leaves_nothing_that_is_refused_later() -> None:
    """However little room there is: one line that says what to do, and with room it is a first start."""
    said = in_little_room("""
from tests.support.stores import at_once
from agent.core.errors import StoreError
from tests.store.support import opened
folder = Path("/mnt/state")
for room in range(0, 1_200_000, 24_000):
    folder.mkdir()
    leave(room)
    try:
        opened(folder).close()
        print("opened")
    except StoreError as error:
        assert "room" in error.hint or "space" in error.hint, error
        print("refused")
    ballast.unlink()
    store = opened(folder)
    assert not store._reads.query("SELECT 1 FROM recoveries WHERE closed_at IS NULL")
    assert at_once(store.get("u1")) is None
    store.close()
    for path in folder.iterdir():
        assert not path.name.endswith(".new"), path
        path.unlink()
    folder.rmdir()
""")
    assert said == sorted(said, key=["refused", "opened"].index)
    assert {"refused", "opened"} == set(said)


def test_a_backup_that_has_no_room_to_be_put_back_leaves_the_store_as_it_is() -> None:
    said = in_little_room("""
from tests.support.stores import at_once
import asyncio
from agent.core.errors import StoreError
from agent.core.record import Phase
from agent.store.sqlite.backup import back_up, restore
from tests.store.support import committed, opened
from verification.builders.lives import Life
async def used(folder):
    store = opened(folder)
    await committed(store, Life().until(Phase.PROCESS))
    store.close()
folder = Path("/mnt/state")
folder.mkdir()
asyncio.run(used(folder))
back_up(folder / "agent.db", Path("/mnt/kept.db"))
for room in range(0, 600_000, 60_000):
    leave(room)
    try:
        _, replaced = restore(Path("/mnt/kept.db"), folder / "agent.db")
        print("restored")
        replaced.unlink()
    except StoreError as error:
        assert error.hint, error
        print("refused")
    ballast.unlink()
    assert {path.name for path in folder.iterdir()} >= {"agent.db", "agent.key"}
    store = opened(folder)
    assert at_once(store.get("u1")).phase is Phase.PROCESS
    store.close()
""")
    assert said == sorted(said, key=["refused", "restored"].index)
    assert {"refused", "restored"} == set(said)


@pytest.mark.parametrize(("block", "refused"), [(1024, True), (4096, False)])
def test_a_full_disk_of_small_blocks_is_refused_before_sqlite_maps_a_hole_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, refused: bool
) -> None:
    """It would end the process with SIGBUS, without a word; elsewhere SQLite says what is wrong."""
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_frsize=block, f_bavail=20))
    if not refused:
        opened(tmp_path).close()
        return
    with pytest.raises(StoreError) as error:
        opened(tmp_path)
    assert "free at least" in error.value.hint
    assert list(tmp_path.iterdir()) == []
