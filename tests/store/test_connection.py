"""SQLite's locks on the state file are those of the process: whoever looks on must leave them where they are [I7].

Without them another opener truncates the shared memory under the agent, which dies of SIGBUS or loses its tables.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.record import Phase
from agent.store.audit.checkpoints import checkpoint_path, lines
from agent.store.identity_key import Keys
from agent.store.sqlite.audit_queries import SqliteQueries
from agent.store.sqlite.backup import back_up
from agent.store.sqlite.lock import holder
from agent.store.sqlite.migrations import NAMES
from agent.store.sqlite.readonly import ReadOnlyStore
from tests.support.locks import locks
from verification.audits import certificates, verified
from verification.builders.lives import Life
from verification.builders.records import NOW

from .support import committed, opened, rows


def read(path: Path) -> None:
    with ReadOnlyStore(path) as reading:
        reading.gauges(NOW)


def ask(path: Path) -> None:
    with SqliteQueries(path).run("SELECT uid FROM requests", {}) as answer:
        assert list(answer.rows) == [("u1",)]


READS: list[Callable[[Path], object]] = [
    read,
    ask,
    lambda path: SqliteQueries(path).views(),
    verified,
    holder,
    Keys.existing,
    lambda path: certificates(path, "u1"),
    lambda path: list(lines(checkpoint_path(path))),
    lambda path: back_up(path, path.with_name("kept"), NOW),
    lambda path: rows(path.parent, "SELECT count(*) FROM requests"),
]


@pytest.mark.parametrize("look", READS)
async def test_a_caller_that_reads_leaves_the_locks_of_the_agent(
    tmp_path: Path, look: Callable[[Path], object]
) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1").until(Phase.DONE))
    await store.checkpoint(NOW)
    before = locks(store.path)
    assert {name for name, *_ in before} == {"agent.db", "agent.db-shm"}
    await asyncio.to_thread(look, store.path)
    assert locks(store.path) == before
    store.close()
    assert locks(store.path) == set()


async def test_readers_come_and_go_in_threads_while_the_agent_writes(tmp_path: Path) -> None:
    """As metrics and commands do. Each of them sees a whole database, and nothing that was committed is lost."""
    store = opened(tmp_path)
    await committed(store, Life("u1").until(Phase.DONE))
    ended = asyncio.Event()

    def look() -> int:
        with ReadOnlyStore(store.path) as reading:
            return len(list(reading.all()))

    async def looking() -> None:
        while not ended.is_set():
            assert await asyncio.to_thread(look) >= 1

    readers = [asyncio.create_task(looking()) for _ in range(4)]
    for number in range(2, 9):
        await committed(store, Life(f"u{number}").until(Phase.DONE))
    ended.set()
    await asyncio.gather(*readers)
    store.close()
    assert rows(tmp_path, "SELECT count(*) FROM requests") == [(8,)]
    assert not verified(tmp_path / "agent.db").findings


def test_a_reader_sees_nothing_of_a_file_that_is_being_made_or_all(tmp_path: Path) -> None:
    """An operator's `get` beside an agent that starts for the first time."""
    seen: list[bool] = []
    path = tmp_path / "agent.db"
    making = threading.Thread(target=lambda: opened(tmp_path).close())
    making.start()
    while making.is_alive():
        if path.exists():
            with ReadOnlyStore(path) as reading:
                seen.append(reading.counts() is not None)
    making.join()
    with ReadOnlyStore(path) as reading:
        assert reading.migrations() == set(NAMES)
    assert all(seen)
