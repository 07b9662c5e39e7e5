"""Records as rows: every field comes back as it was written."""

from dataclasses import fields, replace
from pathlib import Path

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
from tests.support.stores import at_once
from verification.builders.lives import LINK, Life
from verification.builders.records import capture, upload

from .support import committed, opened, rows

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
async def test_a_record_of_each_phase_comes_back_from_the_file(tmp_path: Path, phase: Phase, desired: Desired) -> None:
    """[I4]"""
    if desired.capture is not None and phase in (Phase.IMAGES, Phase.VERIFICATION):
        return
    store = opened(tmp_path)
    life = await committed(store, Life(desired=desired).until(phase))
    assert at_once(store.get("u1")) == life.record
    store.close()


async def test_the_columns_repeat_what_the_record_says(tmp_path: Path) -> None:
    store = opened(tmp_path)
    record = (await committed(store, Life().until(Phase.RESULT))).record
    store.close()
    names = "uid, name, source, version, generation, mode, phase, state"
    names += ", dossier_id, process_id, reference, priority, due_at"
    (row,) = rows(tmp_path, f"SELECT {names} FROM requests")
    assert row == (
        "u1", "name-u1", "default", record.version, 1, "upload", "result", "waiting",
        "D-u1", "P-u1", "aa-a1-u1-1-1", 2, record.due_at,
    )  # fmt: skip


async def test_every_attempt_is_on_record_before_it_is_made_and_again_with_its_answer(tmp_path: Path) -> None:
    """[I4]"""
    store = opened(tmp_path)
    life = Life().until(Phase.VERIFICATION)
    await committed(store, life)
    assert rows(tmp_path, "SELECT effect, result FROM attempts ORDER BY number")[-1] == ("start_verification", None)
    life.goes_on()
    await store.commit([life.steps[-1]])
    sql = "SELECT effect, result, status, trace_id, answered_at > intended_at FROM attempts ORDER BY number"
    assert rows(tmp_path, sql)[-1] == ("start_verification", "done", 200, "t1", 1)
    store.close()


async def test_a_step_from_another_version_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = await committed(store, Life().until(Phase.PROCESS))
    with pytest.raises(Moved, match="another version"):
        await store.commit([life.steps[-1]])
    assert at_once(store.get("u1")) == life.record
    store.close()


async def test_a_record_that_is_there_is_not_admitted_twice(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life())
    with pytest.raises(StoreError):
        await committed(store, Life())
    store.close()


async def test_two_requests_of_one_source_do_not_share_a_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1", name="same"))
    with pytest.raises(StoreError):
        await committed(store, Life("u2", name="same"))
    store.close()


async def test_steps_of_one_commit_are_all_durable_or_none(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(StoreError):
        await store.commit([Life("u1").steps[0], Life("u2").steps[0], Life("u2").steps[0]])
    assert at_once(store.get("u1")) is None
    await store.commit([Life("u1").steps[0], Life("u2").steps[0]])
    assert at_once(store.get("u2")) is not None
    store.close()


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
async def test_a_record_that_would_be_stuck_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    """[I1]"""
    store = opened(tmp_path)
    life = await committed(store, Life().until(Phase.RESULT))
    with pytest.raises(StoreError, match="CHECK"):
        await store.commit([stuck(life, **fields)])
    assert at_once(store.get("u1")) == life.record
    store.close()


async def test_a_running_verification_with_a_question_about_its_file_needs_a_time(tmp_path: Path) -> None:
    """Held `changed-after-start` goes on; without a time it is stuck. [I1]"""
    store = opened(tmp_path)
    life = await committed(store, Life().until(Phase.RESULT))
    try:
        with pytest.raises(StoreError, match="CHECK"):
            hold = Hold(id="h-1", reason=HoldReason.CHANGED_AFTER_START, at=life.at)
            await store.commit([stuck(life, hold=hold, due_at=None)])
    finally:
        store.close()


async def test_a_generation_starts_one_process_only(tmp_path: Path) -> None:
    """[I2]"""
    store = opened(tmp_path)
    life = Life().until(Phase.VERIFICATION)
    await committed(store, life)
    assert life.record.intent is not None
    other = replace(life.record.intent, number=life.record.intent.number + 1)
    with pytest.raises(StoreError, match="another process"):
        await store.commit([stuck(life, process_id="P-other", intent=other, intents=other.number)])
    await store.commit([stuck(life, intent=other, intents=other.number)])  # the same process again: a repeated start
    assert rows(tmp_path, "SELECT uid, generation, process_id FROM starts") == [("u1", 1, "P-u1")]
    store.close()


async def test_a_capture_counts_as_a_start_once_its_link_is_handed_out(tmp_path: Path) -> None:
    """[I2]"""
    store = opened(tmp_path)
    await committed(store, Life(desired=capture()).until(Phase.DONE))
    assert rows(tmp_path, "SELECT uid, generation, process_id FROM starts") == [("u1", 1, None)]
    store.close()


@pytest.mark.parametrize(
    "sql", ["UPDATE events SET type = 'x'", "DELETE FROM events", "UPDATE events SET changes = '{}'"]
)
async def test_events_are_append_only(tmp_path: Path, sql: str) -> None:
    """[I5]"""
    store = opened(tmp_path)
    await committed(store, Life())
    store.close()
    with pytest.raises(Exception, match="append-only"):
        rows(tmp_path, sql)


# -- counters and links ------------------------------------------------------------------------------------------


async def test_outcomes_and_starts_are_counted_once_each(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2").until(Phase.RESULT))
    await committed(store, Life("u3", desired=capture()).until(Phase.DONE))
    store.close()
    assert sorted(rows(tmp_path, "SELECT counter, mode, outcome, value FROM counters")) == [
        ("outcome", "capture", "accepted", 1),
        ("outcome", "upload", "accepted", 1),
        ("start", "capture", "", 1),
        ("start", "upload", "", 2),
    ]


async def test_a_link_is_there_while_a_person_may_use_it_and_erased_afterwards(tmp_path: Path) -> None:
    """[I6]"""
    store = opened(tmp_path)
    life = await committed(store, Life(desired=capture()).until(Phase.RESULT))
    assert rows(tmp_path, "SELECT uid, link FROM links") == [("u1", LINK)]
    done = len(life.steps)
    life.until(Phase.DELETION)
    for taken in life.steps[done:]:
        await store.commit([taken])
    assert rows(tmp_path, "SELECT * FROM links") == []
    store.close()


async def test_no_byte_of_an_erased_link_is_left_in_any_file_of_the_folder(tmp_path: Path) -> None:
    """[I6]"""
    store = opened(tmp_path)
    for number in range(20):
        await committed(store, Life(f"u{number}", desired=capture()).until(Phase.DONE))
    store.close()
    for path in tmp_path.iterdir():
        assert LINK.encode() not in path.read_bytes(), path.name


async def test_a_link_is_in_no_other_table(tmp_path: Path) -> None:
    """[I6]"""
    store = opened(tmp_path)
    await committed(store, Life(desired=capture()).until(Phase.RESULT))
    store.close()
    for table in ("requests", "events", "attempts", "starts", "orphans", "meta"):
        assert LINK not in repr(rows(tmp_path, f"SELECT * FROM {table}"))
