"""Many at once share a commit, and what was answered is durable [I4]."""

import asyncio

import pytest

from agent.core.effect import EffectKind
from agent.core.errors import Moved, StoreError, StoreLocked
from agent.core.observations import EffectDelayed, Resumed
from agent.core.record import Phase
from agent.ports import MetaKey
from agent.store.rollback_detection import HighWaterMark
from tests.store.engines import Engine
from tests.store.support import committed
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import capture


async def test_many_at_once_share_commits_and_all_are_durable(engine: Engine) -> None:
    """[I4]"""
    batches: list[int] = []
    store = await engine.open(observe=lambda _, pieces: batches.append(pieces))
    batches.clear()  # of the opening

    async def admitted(number: int) -> None:
        await store.commit([Life(f"u{number}").steps[0]])
        assert await engine.rows("SELECT count(*) FROM requests WHERE uid = ?", f"u{number}") == [(1,)]

    await asyncio.gather(*(admitted(number) for number in range(300)))
    assert sum(batches) == 300
    assert len(batches) < 300
    await store.aclose()


async def test_one_that_cannot_be_written_fails_alone(engine: Engine) -> None:
    """[I9]"""
    store = await engine.open()
    stale = await committed(store, Life("stale").until(Phase.PROCESS))
    steps = [Life(f"u{number}").steps[0] for number in range(50)]
    steps.insert(25, stale.steps[-1])
    answers = await asyncio.gather(*(store.commit([taken]) for taken in steps), return_exceptions=True)
    failed = [answer for answer in answers if answer is not None]
    assert len(failed) == 1
    assert isinstance(failed[0], Moved)
    assert await engine.rows("SELECT count(*) FROM requests") == [(51,)]
    await store.aclose()


async def test_a_caller_that_is_cancelled_does_not_take_its_step_back(engine: Engine) -> None:
    """What is queued is written; the others of its group are answered. [I4]"""
    store = await engine.open()
    task = asyncio.ensure_future(store.commit([Life("u1").steps[0]]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store.commit([Life("u2").steps[0]])
    assert await store.get("u1") is not None
    await store.aclose()


async def test_closing_writes_what_is_queued(engine: Engine) -> None:
    store = await engine.open()
    waiting = [asyncio.ensure_future(store.commit([Life(f"u{number}").steps[0]])) for number in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    await asyncio.gather(*waiting)
    assert await engine.rows("SELECT count(*) FROM requests") == [(20,)]


async def test_a_commit_after_closing_is_refused(engine: Engine) -> None:
    store = await engine.open()
    await store.aclose()
    with pytest.raises(StoreError):
        await asyncio.wait_for(store.commit([Life().steps[0]]), timeout=PATIENT)


async def test_an_open_intent_is_claimed_after_a_restart_and_resumes(engine: Engine) -> None:
    """[I1, I4]"""
    store = await engine.open()
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    await committed(store, life)
    await store.aclose()
    store = await engine.open()
    (record,) = await store.claim(life.at, 10, set())
    assert record == life.record
    life.sees(Resumed)
    await store.commit([life.steps[-1]])
    assert await engine.rows("SELECT result, trouble FROM attempts") == [("unknown", "crashed")]
    await store.aclose()


async def test_a_delayed_answer_is_on_record_as_busy(engine: Engine) -> None:
    store = await engine.open()
    life = Life(desired=capture()).until(Phase.PROCESS)
    life.sees(EffectDelayed, kind=EffectKind.START_CAPTURE, retry_after=3.0)
    await committed(store, life)
    assert (await engine.rows("SELECT effect, result FROM attempts"))[-1] == ("start_capture", "busy")
    await store.aclose()


async def test_a_durable_commit_succeeds_without_its_mark(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """[I4] Otherwise the writer would write the steps again, and tell their callers that they failed."""

    def failing(*_: object) -> None:
        raise OSError("disk I/O error")

    monkeypatch.setattr(HighWaterMark, "advance", failing)
    store = await engine.open()
    lives = [Life(f"u{number}") for number in range(3)]
    await asyncio.gather(*(committed(store, life.until(Phase.PROCESS)) for life in lives))
    await store.aclose()
    assert engine.faults() == []
    assert await engine.rows("SELECT count(*) FROM requests WHERE phase = 'process'") == [(3,)]


async def test_an_agent_that_lost_the_store_writes_nothing_more(engine: Engine) -> None:
    """[I4, I7] Neither a step nor anything else, and the new owner goes on."""
    lost = await engine.open()
    life = await committed(lost, Life("u1").until(Phase.PROCESS))
    await engine.take_away()
    before = len(life.steps)
    life.goes_on()
    for write in (
        lost.commit(life.steps[before:]),
        lost.commit([Life("u2").steps[0]]),
        lost.remember(MetaKey.PAUSED, 1.0),
    ):
        with pytest.raises(StoreLocked):
            await write
    await lost.aclose()
    store = await engine.open()
    assert await store.recall_time(MetaKey.PAUSED) is None
    assert [row[0] for row in await engine.rows("SELECT uid FROM requests")] == ["u1"]
    await store.commit(life.steps[before:])
    assert await store.get("u1") == life.record
    assert engine.faults() == []
    await store.aclose()


async def test_a_row_that_somebody_changed_meanwhile_is_not_overwritten(engine: Engine) -> None:
    """Whatever the writer remembers of it."""
    store = await engine.open()
    life = await committed(store, Life("u1").until(Phase.PROCESS))
    before = len(life.steps)
    life.goes_on()
    await engine.change("UPDATE requests SET version = version + 1")
    with pytest.raises(Moved):
        await store.commit(life.steps[before:])
    await engine.change("UPDATE requests SET version = version - 1")
    await store.commit(life.steps[before:])
    assert await store.get("u1") == life.record
    await store.aclose()
