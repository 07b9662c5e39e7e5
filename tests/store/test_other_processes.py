"""Other processes: one agent on a store, and what it answered survives `kill -9` [I4]."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.core.errors import StoreLocked
from agent.ports import Command
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import ACCOUNT, opened, rows

ROOT = Path(__file__).parents[2]


HOLDS = """
import sys
from pathlib import Path
from agent.store.sqlite.store import SqliteStore
store = SqliteStore(Path(sys.argv[1]), sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""
WRITES = """
import asyncio, sys
from pathlib import Path
from agent.store.sqlite.store import SqliteStore
from verification.builders.lives import Life

async def one(store, number):
    await store.commit([Life(f"u{number}").steps[0]])
    print(f"u{number}", flush=True)

async def main():
    store = SqliteStore(Path(sys.argv[1]), sys.argv[2])
    for start in range(0, 1_000_000, 20):
        await asyncio.gather(*(one(store, number) for number in range(start, start + 20)))

asyncio.run(main())
"""


def other(script: str, folder: Path) -> subprocess.Popen[str]:
    """Another agent on this store."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(folder / "agent.db"), ACCOUNT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed(process: subprocess.Popen[str]) -> None:
    """kill -9, and close its pipes."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def test_a_commit_that_was_answered_survives_kill_9(tmp_path: Path) -> None:
    """[I4]"""
    process = other(WRITES, tmp_path)
    assert process.stdout is not None
    answered = [process.stdout.readline().strip() for _ in range(150)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    answered += [line.strip() for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    killed(process)
    store = opened(tmp_path)
    kept = {uid for (uid,) in rows(tmp_path, "SELECT uid FROM requests")}
    assert len(answered) >= 150
    assert set(answered) <= kept
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    store.close()


def test_a_second_agent_is_refused_with_the_pid_of_the_first_until_that_is_gone(tmp_path: Path) -> None:
    """[I7]"""
    process = other(HOLDS, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    try:
        with pytest.raises(StoreLocked, match=rf"pid {process.pid}\b") as refused:
            opened(tmp_path)
        assert str(process.pid) in refused.value.hint
        assert "agent.db" in str(refused.value)
    finally:
        killed(process)
    opened(tmp_path).close()


async def test_a_caller_that_lost_the_lock_file_commits_nothing(tmp_path: Path) -> None:
    """[I2] [I7] It was removed by hand, and another agent began: two would ask for the same."""
    first = opened(tmp_path)
    await first.commit([Life("u1").steps[0]])
    (tmp_path / "agent.db.lock").unlink()
    with pytest.raises(StoreLocked, match="another lock file"):
        opened(tmp_path)  # the state file itself is locked as well
    with pytest.raises(StoreLocked, match=r"agent\.db\.lock was removed or replaced"):
        await first.commit([Life("u2").steps[0]])
    with pytest.raises(StoreLocked):
        await first.apply_command(Command(id="command-1", verb="approve", uid=None), "approved", NOW)
    first.close()
    second = opened(tmp_path)
    await second.commit([Life("u3").steps[0]])
    with pytest.raises(StoreLocked):
        opened(tmp_path)
    second.close()
    assert [uid for (uid,) in rows(tmp_path, "SELECT uid FROM requests ORDER BY uid")] == ["u1", "u3"]


async def test_no_restart_is_suggested_when_the_state_file_is_gone(tmp_path: Path) -> None:
    """[I1] On an empty store everybody would be verified and billed anew."""
    first = opened(tmp_path)
    await first.commit([Life("u1").steps[0]])
    for path in tmp_path.glob("agent.db*"):
        path.unlink()
    with pytest.raises(StoreLocked, match="were removed") as reported:
        await first.commit([Life("u2").steps[0]])
    first.close()
    assert "restore a backup" in reported.value.hint and "start it again if" not in reported.value.hint


async def test_a_lock_file_that_is_gone_is_enough(tmp_path: Path) -> None:
    """[I7] Nobody is there yet, and nothing would keep another one away."""
    store = opened(tmp_path)
    (tmp_path / "agent.db.lock").unlink()
    with pytest.raises(StoreLocked) as refused:
        await store.commit([Life("u1").steps[0]])
    assert refused.value.hint.startswith("start it again")
    store.close()


def test_a_second_store_in_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    """[I7]"""
    store = opened(tmp_path)
    with pytest.raises(StoreLocked, match=rf"pid {os.getpid()}\b"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()
