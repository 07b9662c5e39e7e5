"""Records as rows: every field comes back as it was written."""

from dataclasses import fields, replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.assure_types import CaptureOptions, StatusReason
from agent.core.effect import ImageRef
from agent.core.errors import Moved, StoreError
from agent.core.record import Desired, Hold, HoldReason, Intent, Outcome, Phase, Record, Result
from agent.core.step import Step
from agent.store.repository import load
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import LINK, Life
from verification.builders.records import capture, upload

NUMBERS = st.integers(0, 2**53)
SECONDS = st.floats(min_value=0, max_value=4e9)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN: dict[object, st.SearchStrategy[object]] = {
    int: NUMBERS,
    int | None: st.none() | NUMBERS,
    float: SECONDS,
    float | None: st.none() | SECONDS,
    str: TEXT,
    str | None: st.none() | TEXT,
}


def whole(kind: type) -> st.SearchStrategy[object]:
    """Any value of a class, with every field filled in."""
    named = {name: PLAIN.get(kind_of) for name, kind_of in kind.__annotations__.items()}
    strategies = {name: st.from_type(kind.__annotations__[name]) if one is None else one for name, one in named.items()}
    return st.builds(kind, **strategies)


for part in (ImageRef, Hold, Intent, Result, StatusReason, CaptureOptions, Desired, Record):
    st.register_type_strategy(part, whole)


@settings(max_examples=60, deadline=None)
@given(st.from_type(Record))
def test_every_field_of_a_record_survives_its_json(record: Record) -> None:
    """[I4]"""
    again = load(orjson.dumps(record).decode())
    assert again == record
    for field in fields(Record):
        assert type(getattr(again, field.name)) is type(getattr(record, field.name)), field.name


@pytest.mark.parametrize("phase", list(Phase))
@pytest.mark.parametrize("desired", [upload(), capture()], ids=["upload", "capture"])
async def test_a_record_of_each_phase_comes_back_from_the_file(engine: Engine, phase: Phase, desired: Desired) -> None:
    """[I4]"""
    if desired.capture is not None and phase in (Phase.IMAGES, Phase.VERIFICATION):
        return
    store = await engine.open()
    life = await committed(store, Life(desired=desired).until(phase))
    assert await store.get("u1") == life.record
    await store.aclose()


async def test_the_columns_repeat_what_the_record_says(engine: Engine) -> None:
    store = await engine.open()
    record = (await committed(store, Life().until(Phase.RESULT))).record
    await store.aclose()
    names = "uid, name, source, version, generation, mode, phase, state"
    names += ", dossier_id, process_id, reference, priority, due_at"
    (row,) = await engine.rows(f"SELECT {names} FROM requests")
    assert row == (
        "u1", "name-u1", "default", record.version, 1, "upload", "result", "waiting",
        "D-u1", "P-u1", "aa-a1-u1-1-1", 2, record.due_at,
    )  # fmt: skip


async def test_every_attempt_is_on_record_before_it_is_made_and_again_with_its_answer(engine: Engine) -> None:
    """[I4]"""
    store = await engine.open()
    life = Life().until(Phase.VERIFICATION)
    await committed(store, life)
    assert (await engine.rows("SELECT effect, result FROM attempts ORDER BY number"))[-1] == (
        "start_verification",
        None,
    )
    life.goes_on()
    await store.commit([life.steps[-1]])
    sql = "SELECT effect, result, status, trace_id, answered_at > intended_at FROM attempts ORDER BY number"
    assert (await engine.rows(sql))[-1] == ("start_verification", "done", 200, "t1", 1)
    await store.aclose()


async def test_a_step_from_another_version_is_refused_and_nothing_is_written(engine: Engine) -> None:
    store = await engine.open()
    life = await committed(store, Life().until(Phase.PROCESS))
    with pytest.raises(Moved, match="another version"):
        await store.commit([life.steps[-1]])
    assert await store.get("u1") == life.record
    await store.aclose()


async def test_a_record_that_is_there_is_not_admitted_twice(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life())
    with pytest.raises((StoreError, Moved)):
        await committed(store, Life())
    await store.aclose()


async def test_two_requests_of_one_source_do_not_share_a_name(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1", name="same"))
    with pytest.raises(StoreError):
        await committed(store, Life("u2", name="same"))
    await store.aclose()


async def test_steps_of_one_commit_are_all_durable_or_none(engine: Engine) -> None:
    store = await engine.open()
    await store.commit([Life("u3", name="taken").steps[0]])
    with pytest.raises(StoreError):
        await store.commit([Life("u1").steps[0], Life("u2", name="taken").steps[0]])
    assert await store.get("u1") is None
    await store.commit([Life("u1").steps[0], Life("u2").steps[0]])
    assert await store.get("u2") is not None
    await store.aclose()


# -- what the file refuses ---------------------------------------------------------------------------------------------


def stuck(life: Life, **fields: object) -> Step:
    """A step to a state that may not be."""
    return Step(before=life.record, record=replace(life.record, version=life.record.version + 1, **fields))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fields",
    [
        {"due_at": None},
        {"phase": Phase.DONE, "due_at": None},
        {"phase": Phase.DONE, "outcome": Outcome.ACCEPTED},
        {"dossier_id": None},
        {"generation": 0},
    ],
    ids=lambda fields: "-".join(fields),
)
async def test_a_record_that_would_be_stuck_is_refused(engine: Engine, fields: dict[str, object]) -> None:
    """[I1]"""
    store = await engine.open()
    life = await committed(store, Life().until(Phase.RESULT))
    with pytest.raises(StoreError, match=r"(?i)check"):
        await store.commit([stuck(life, **fields)])
    assert await store.get("u1") == life.record
    await store.aclose()


async def test_a_running_verification_with_a_question_about_its_file_needs_a_time(engine: Engine) -> None:
    """Held `changed-after-start` goes on; without a time it is stuck. [I1]"""
    store = await engine.open()
    life = await committed(store, Life().until(Phase.RESULT))
    try:
        with pytest.raises(StoreError, match=r"(?i)check"):
            hold = Hold(id="h-1", reason=HoldReason.CHANGED_AFTER_START, at=life.at)
            await store.commit([stuck(life, hold=hold, due_at=None)])
    finally:
        await store.aclose()


async def test_a_generation_starts_one_process_only(engine: Engine) -> None:
    """[I2]"""
    store = await engine.open()
    life = Life().until(Phase.VERIFICATION)
    await committed(store, life)
    assert life.record.intent is not None
    other = replace(life.record.intent, number=life.record.intent.number + 1)
    with pytest.raises(StoreError, match="another process"):
        await store.commit([stuck(life, process_id="P-other", intent=other, intents=other.number)])
    await store.commit([stuck(life, intent=other, intents=other.number)])  # the same process again: a repeated start
    assert await engine.rows("SELECT uid, generation, process_id FROM starts") == [("u1", 1, "P-u1")]
    await store.aclose()


async def test_a_capture_counts_as_a_start_once_its_link_is_handed_out(engine: Engine) -> None:
    """[I2]"""
    store = await engine.open()
    await committed(store, Life(desired=capture()).until(Phase.DONE))
    assert await engine.rows("SELECT uid, generation, process_id FROM starts") == [("u1", 1, None)]
    await store.aclose()


@pytest.mark.parametrize(
    "sql", ["UPDATE events SET type = 'x'", "DELETE FROM events", "UPDATE events SET changes = '{}'"]
)
async def test_events_are_append_only(engine: Engine, sql: str) -> None:
    """[I5]"""
    store = await engine.open()
    await committed(store, Life())
    await store.aclose()
    with pytest.raises(Exception, match="append-only"):
        await engine.rows(sql)


# -- counters and links ------------------------------------------------------------------------------------------


async def test_outcomes_and_starts_are_counted_once_each(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2").until(Phase.RESULT))
    await committed(store, Life("u3", desired=capture()).until(Phase.DONE))
    await store.aclose()
    assert sorted(await engine.rows("SELECT counter, mode, outcome, value FROM counters")) == [
        ("outcome", "capture", "accepted", 1),
        ("outcome", "upload", "accepted", 1),
        ("start", "capture", "", 1),
        ("start", "upload", "", 2),
    ]


async def test_a_link_is_there_while_a_person_may_use_it_and_erased_afterwards(engine: Engine) -> None:
    """[I6]"""
    store = await engine.open()
    life = await committed(store, Life(desired=capture()).until(Phase.RESULT))
    with engine.reading() as reading:
        assert reading.link("u1") == LINK
    done = len(life.steps)
    life.until(Phase.DELETION)
    for taken in life.steps[done:]:
        await store.commit([taken])
    assert await engine.rows("SELECT * FROM links") == []
    await store.aclose()


async def test_a_link_is_in_no_other_table(engine: Engine) -> None:
    """[I6]"""
    store = await engine.open()
    await committed(store, Life(desired=capture()).until(Phase.RESULT))
    await store.aclose()
    for table in ("requests", "events", "attempts", "starts", "orphans", "meta"):
        assert LINK not in repr(await engine.rows(f"SELECT * FROM {table}"))
