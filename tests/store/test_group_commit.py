"""Many at once share a commit, and what was answered is durable [I4]."""

import asyncio
from pathlib import Path

import pytest

from agent.core.effect import EffectKind
from agent.core.errors import Moved, StoreError
from agent.core.observations import EffectDelayed, Resumed
from agent.core.record import Phase
from agent.store.rollback_detection import HighWaterMark
from agent.store.sqlite.connection import sqlite3
from tests.support.stores import at_once
from tests.support.timeouts import PATIENT
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import capture

from .support import committed, opened, rows


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
    assert isinstance(failed[0], Moved)
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
    assert at_once(store.get("u1")) is not None
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
        await asyncio.wait_for(store.commit([Life().steps[0]]), timeout=PATIENT)


async def test_an_open_intent_is_claimed_after_a_restart_and_resumes(tmp_path: Path) -> None:
    """[I1, I4]"""
    store = opened(tmp_path)
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    await committed(store, life)
    store.close()
    store = opened(tmp_path)
    (record,) = at_once(store.claim(life.at, 10, set()))
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


async def test_a_durable_commit_succeeds_without_its_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I4] Otherwise the writer would write the steps again, and tell their callers that they failed."""

    def failing(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(HighWaterMark, "advance", failing)
    store = opened(tmp_path)
    lives = [Life(f"u{number}") for number in range(3)]
    await asyncio.gather(*(committed(store, life.until(Phase.PROCESS)) for life in lives))
    store.close()
    assert not verified(tmp_path / "agent.db").findings
    assert rows(tmp_path, "SELECT count(*) FROM requests WHERE phase = 'process'") == [(3,)]
