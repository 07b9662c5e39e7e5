"""The store on SQLite: its queries, its refusals, its lock, and that what it answered is durable."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.effect import EffectKind
from agent.core.errors import Impossible, StoreDamaged, StoreError, StoreForeign, StoreLocked, StoreNewer
from agent.core.machine import Step
from agent.core.observation import (
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DossierSearched,
    EffectDelayed,
    EffectUnanswered,
    Resumed,
)
from agent.core.record import Outcome, Phase, Record
from agent.store.keys import Keys
from agent.store.sqlite import SqliteStore

from .support import ACCOUNT, NOW, POLICY, Life, capture, committed, opened, raw, rows, upload

ROOT = Path(__file__).parents[2]


def at(life: Life, due_at: float, **fields: object) -> Step:
    """A step that leaves the record due at a time."""
    moved = replace(life.record, version=life.record.version + 1, due_at=due_at, **fields)  # type: ignore[arg-type]
    return Step(before=life.record, record=moved)


async def used(folder: Path) -> None:
    """A store under which something was asked of Assure."""
    store = opened(folder)
    await committed(store, Life().until(Phase.PROCESS))
    store.close()


def uids(records: list[Record]) -> list[str]:
    return [record.uid for record in records]


# -- the queries of the loops ------------------------------------------------------------------------------------------


async def test_new_work_is_claimed_first_then_what_is_tried_again_then_looks(tmp_path: Path) -> None:
    store = opened(tmp_path)
    look = await committed(store, Life("look").until(Phase.RESULT))
    deletion = await committed(store, Life("deletion").until(Phase.DELETION))
    await committed(store, Life("new"))
    assert look.record.due_at is not None
    assert deletion.record.phase is Phase.DELETION
    assert uids(store.claim(NOW + 1e6, 10, set())) == ["new", "deletion", "look"]
    assert uids(store.claim(NOW + 1e6, 2, set())) == ["new", "deletion"]
    assert uids(store.claim(NOW + 1e6, 10, {"new"})) == ["deletion", "look"]
    store.close()


async def test_within_a_priority_the_longest_due_comes_first(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for uid, due_at in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        life = await committed(store, Life(uid))
        await store.commit([at(life, due_at)])
    assert uids(store.claim(25.0, 10, set())) == ["c", "b"]
    assert uids(store.claim(5.0, 10, set())) == []
    store.close()


async def test_busy_records_do_not_hide_others(tmp_path: Path) -> None:
    """[I9]"""
    store = opened(tmp_path)
    for number in range(10):
        await committed(store, Life(f"u{number}"))
    busy = {f"u{number}" for number in range(9)}
    assert uids(store.claim(NOW, 1, busy)) == ["u9"]
    assert store.next_due(busy) == NOW
    assert store.next_due({*busy, "u9"}) is None
    store.close()


async def test_the_next_due_is_the_earliest_of_all_priorities(tmp_path: Path) -> None:
    """[I8]"""
    store = opened(tmp_path)
    await store.commit([at(await committed(store, Life("a")), 300.0)])
    look = await committed(store, Life("b").until(Phase.RESULT))
    await store.commit([at(look, 200.0)])
    assert store.next_due(set()) == 200.0
    assert store.next_due({"b"}) == 300.0
    store.close()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_every_open_phase_is_selected_once_its_time_has_come(tmp_path: Path, phase: Phase) -> None:
    """[I1]"""
    store = opened(tmp_path)
    await committed(store, Life().until(phase))
    assert uids(store.claim(NOW + 1e6, 1, set())) == ["u1"]
    assert store.next_due(set()) is not None
    store.close()


async def test_what_is_done_is_never_claimed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life().until(Phase.DONE))
    assert store.claim(NOW + 1e9, 10, set()) == []
    assert store.next_due(set()) is None
    store.close()


async def test_a_file_that_is_there_is_known_by_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1"))
    await committed(store, Life("u2", present=False))
    await committed(store, Life("u3", source="other"))
    assert store.present("default") == {"name-u1": "u1"}
    store.close()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_what_is_on_its_way_is_unsettled(tmp_path: Path, phase: Phase) -> None:
    store = opened(tmp_path)
    assert not store.unsettled()
    await committed(store, Life().until(phase))
    assert store.unsettled()
    store.close()


@pytest.mark.parametrize("desired", [upload(suspend=True), upload(retention=60.0)], ids=["suspension", "retention"])
async def test_suspension_and_retention_are_settled(tmp_path: Path, desired: object) -> None:
    store = opened(tmp_path)
    life = Life(desired=desired)  # type: ignore[arg-type]
    await committed(store, life if desired.suspend else life.until(Phase.DELETION))  # type: ignore[attr-defined]
    assert not store.unsettled()
    store.close()


async def test_retention_under_a_question_about_the_file_is_settled(tmp_path: Path) -> None:
    """Design §9: run --once waits for results and persons, not for retention."""
    store = opened(tmp_path)
    life = Life(desired=upload(retention=1e6)).until(Phase.DELETION)
    life.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
    await committed(store, life)
    unsettled = store.unsettled()
    store.close()
    assert not unsettled


async def test_possible_orphans_are_kept_until_they_are_closed(tmp_path: Path) -> None:
    """[I3]"""
    store = opened(tmp_path)
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    life.sees(EffectUnanswered, kind=EffectKind.CREATE_DOSSIER)
    life.at += POLICY.lag_grace
    life.sees(DossierSearched, dossier_id=None, listed=POLICY.list_limit)
    await committed(store, life)
    assert [(one[0], one[2]) for one in store.orphans()] == [("aa-a1-u1-1-1", None)]
    await store.found_orphan("aa-a1-u1-1-1", "D9")
    assert store.orphans()[0][2] == "D9"
    await store.close_orphan("aa-a1-u1-1-1", NOW, None)
    assert store.orphans() == []
    store.close()


async def test_withdrawals_of_late_are_counted(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = Life()
    life.sees(DocumentRemoved)
    await committed(store, life)
    assert life.record.outcome is Outcome.WITHDRAWN
    assert store.withdrawn_since(NOW) == 1
    assert store.withdrawn_since(NOW + 3600) == 0
    life.sees(DocumentReturned, desired=life.record.desired)
    await store.commit(life.steps[-1:])
    assert life.record.present
    assert store.withdrawn_since(NOW) == 1  # the file is back, and still it was taken away
    store.close()


async def test_a_scan_replaces_the_refusals_of_its_source(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.scanned("default", NOW, 3, True, 0, [("a.yaml", 1, 2, "wrong", "mend it", None)])
    await store.scanned("default", NOW, 3, False, 2, None)
    assert rows(tmp_path, "SELECT file, line, col FROM refusals") == [("a.yaml", 1, 2)]
    await store.scanned("default", NOW, 3, True, 0, [])
    assert rows(tmp_path, "SELECT * FROM refusals") == []
    store.close()


# -- group commit ------------------------------------------------------------------------------------------------------


async def test_many_at_once_share_commits_and_all_are_durable(tmp_path: Path) -> None:
    """[I4]"""
    batches: list[int] = []
    store = opened(tmp_path, observe=lambda _, pieces: batches.append(pieces))

    async def admitted(number: int) -> None:
        await store.commit([Life(f"u{number}").steps[0]])
        assert rows(tmp_path, "SELECT count(*) FROM requests WHERE uid = ?", f"u{number}") == [(1,)]

    await asyncio.gather(*(admitted(number) for number in range(300)))
    assert sum(batches) == 300
    assert len(batches) < 300
    store.close()


async def test_one_that_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    """[I9]"""
    store = opened(tmp_path)
    stale = await committed(store, Life("stale").until(Phase.PROCESS))
    steps = [Life(f"u{number}").steps[0] for number in range(50)]
    steps.insert(25, stale.steps[-1])
    answers = await asyncio.gather(*(store.commit([taken]) for taken in steps), return_exceptions=True)
    failed = [answer for answer in answers if answer is not None]
    assert len(failed) == 1
    assert isinstance(failed[0], Impossible)
    assert rows(tmp_path, "SELECT count(*) FROM requests") == [(51,)]
    store.close()


async def test_a_caller_that_is_cancelled_does_not_take_its_step_back(tmp_path: Path) -> None:
    """What is queued is written; the others of its group are answered. [I4]"""
    store = opened(tmp_path)
    task = asyncio.ensure_future(store.commit([Life("u1").steps[0]]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.commit([Life("u2").steps[0]])
    assert store.get("u1") is not None
    store.close()


async def test_closing_writes_what_is_queued(tmp_path: Path) -> None:
    store = opened(tmp_path)
    waiting = [asyncio.ensure_future(store.commit([Life(f"u{number}").steps[0]])) for number in range(20)]
    await asyncio.sleep(0)
    store.close()
    await asyncio.gather(*waiting)
    assert rows(tmp_path, "SELECT count(*) FROM requests") == [(20,)]


async def test_a_commit_after_closing_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    with pytest.raises(StoreError):
        await asyncio.wait_for(store.commit([Life().steps[0]]), timeout=0.2)


# -- another process ---------------------------------------------------------------------------------------------------

HOLDS = """
import sys
from pathlib import Path
from agent.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]), sys.argv[2])
print("open", flush=True)
sys.stdin.read()
"""
WRITES = """
import asyncio, sys
from pathlib import Path
from agent.store.sqlite import SqliteStore
from tests.store.support import Life

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


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
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


def test_a_second_store_in_the_same_process_is_refused_as_well(tmp_path: Path) -> None:
    """[I7]"""
    store = opened(tmp_path)
    with pytest.raises(StoreLocked, match=rf"pid {os.getpid()}\b"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


async def test_a_store_that_could_not_be_opened_leaves_no_lock(tmp_path: Path) -> None:
    """[I7]"""
    await used(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreForeign):
            SqliteStore(tmp_path / "agent.db", "another account")
    opened(tmp_path).close()


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    """[I6]"""
    before = os.umask(0)
    try:
        store = opened(tmp_path / "state")
        await committed(store, Life())
        files = sorted((tmp_path / "state").iterdir())
        assert [path.name for path in files] == [
            "agent.db",
            "agent.db-shm",
            "agent.db-wal",
            "agent.db.lock",
            "agent.key",
            "agent.mark",
        ]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
        store.close()
    finally:
        os.umask(before)


async def test_another_account_is_refused_and_named(tmp_path: Path) -> None:
    await used(tmp_path)
    with pytest.raises(StoreForeign, match="client-1") as refused:
        SqliteStore(tmp_path / "agent.db", "https://api.example client-2")
    assert "--rebind" in refused.value.hint


async def test_a_store_is_taken_to_another_account_when_that_is_asked_for(tmp_path: Path) -> None:
    await used(tmp_path)
    SqliteStore(tmp_path / "agent.db", "another account", rebind=True).close()
    with pytest.raises(StoreForeign, match="another account"):
        opened(tmp_path)


async def test_what_was_remembered_of_an_account_is_there_after_a_restart_and_gone_with_the_account(
    tmp_path: Path,
) -> None:
    store = opened(tmp_path)
    assert store.recall("list") is None
    await store.remember("list", "old")
    await store.remember("list", "new")
    store.close()
    store = opened(tmp_path)
    assert store.recall("list") == "new"
    assert store.recall("account") is None
    store.close()
    store = SqliteStore(tmp_path / "agent.db", "another account")  # nothing was asked of Assure yet
    assert store.recall("list") is None
    store.close()


async def test_a_store_that_is_taken_to_another_account_forgets_what_it_learned_of_the_first(tmp_path: Path) -> None:
    await used(tmp_path)
    store = opened(tmp_path)
    await store.remember("list", "of the first")
    store.close()
    store = SqliteStore(tmp_path / "agent.db", "another account", rebind=True)
    assert store.recall("list") is None
    store.close()


async def test_a_store_that_asked_nothing_of_assure_is_not_bound_yet(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life())
    store.close()
    SqliteStore(tmp_path / "agent.db", "another account").close()


def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    opened(tmp_path).close()
    sql = "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('assure-agent', '0002_later', 'x')"
    rows(tmp_path, sql)
    before = rows(tmp_path, "SELECT sql FROM sqlite_master ORDER BY name")
    with pytest.raises(StoreNewer, match="0002_later"):
        opened(tmp_path)
    assert rows(tmp_path, "SELECT sql FROM sqlite_master ORDER BY name") == before


@pytest.mark.parametrize(
    "content", [b"this is not a database, it is a letter" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "agent.db").write_bytes(content)
    with pytest.raises(StoreDamaged) as refused:
        opened(tmp_path)
    assert refused.value.hint
    assert (tmp_path / "agent.db").read_bytes() == content


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError) as refused:
        opened(tmp_path / "file")
    assert refused.value.hint


def test_a_state_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "agent.db").mkdir()
    with pytest.raises(StoreError):
        opened(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError):
        opened(tmp_path)
    tmp_path.chmod(0o700)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """`StoreDamaged`: it is not what we wrote."""
    connection = raw(tmp_path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    try:
        store = opened(tmp_path)
    except StoreError:
        return
    store.close()
    raise AssertionError("opened")


# -- keys --------------------------------------------------------------------------------------------------------------


def test_a_uid_is_the_same_when_the_store_is_lost_and_the_key_is_not(tmp_path: Path) -> None:
    """[I3]"""
    first = opened(tmp_path)
    uid = first.keys.uid("default", "customer-1")
    first.close()
    (tmp_path / "agent.db").unlink()
    second = opened(tmp_path)
    assert second.keys.uid("default", "customer-1") == uid
    assert second.keys.uid("defaultc", "ustomer-1") != uid
    second.close()


def test_a_key_says_nothing_of_itself_and_of_names(tmp_path: Path) -> None:
    """[I6]"""
    keys = Keys(b"k" * 32)
    assert repr(keys) == "Keys(...)"
    assert "customer" not in keys.uid("default", "customer")
    assert keys.digest(b"a") != keys.digest(b"b")
    assert keys.digest(b"a") != Keys(b"l" * 32).digest(b"a")


@pytest.mark.parametrize("content", ["", "not hex", "ab" * 31])
def test_a_damaged_key_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "agent.key").write_text(content)
    with pytest.raises(StoreDamaged):
        opened(tmp_path)
    (tmp_path / "agent.key").unlink()
    opened(tmp_path).close()


# -- after a crash -----------------------------------------------------------------------------------------------------


async def test_an_open_intent_is_claimed_after_a_restart_and_resumes(tmp_path: Path) -> None:
    """[I1, I4]"""
    store = opened(tmp_path)
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    await committed(store, life)
    store.close()
    store = opened(tmp_path)
    (record,) = store.claim(life.at, 10, set())
    assert record == life.record
    life.sees(Resumed)
    await store.commit([life.steps[-1]])
    assert rows(tmp_path, "SELECT result, trouble FROM attempts") == [("unknown", "crashed")]
    store.close()


async def test_a_delayed_answer_is_on_record_as_busy(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = Life(desired=capture()).until(Phase.PROCESS)
    life.sees(EffectDelayed, kind=EffectKind.START_CAPTURE, retry_after=3.0)
    await committed(store, life)
    assert rows(tmp_path, "SELECT effect, result FROM attempts")[-1] == ("start_capture", "busy")
    store.close()
