"""The audit log: its changes fold to the record [I5], and it contains no personal data [I6]."""

from itertools import pairwise

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st
from story import at_deletion, at_done, at_result, capture, unadmitted, upload

from agent.core.assure_types import CaptureOptions, StatusReason
from agent.core.audit import audited, difference, replay
from agent.core.effect import ImageRef
from agent.core.record import Desired, Hold, Intent, Record, Result

SECONDS = st.floats(min_value=0, max_value=4e9)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN: dict[object, st.SearchStrategy[object]] = {
    float: SECONDS,
    float | None: st.none() | SECONDS,
    int: st.integers(0, 2**53),
    int | None: st.none() | st.integers(0, 2**53),
    str: TEXT,
    str | None: st.none() | TEXT,
}


def of(annotation: object) -> st.SearchStrategy[object]:
    """Any value of a field."""
    return PLAIN[annotation] if annotation in PLAIN else st.from_type(annotation)  # type: ignore[arg-type]


def whole(kind: type) -> st.SearchStrategy[object]:
    """Any value of a class, with every field filled in."""
    return st.builds(kind, **{name: of(annotation) for name, annotation in kind.__annotations__.items()})


for part in (ImageRef, Hold, Intent, Result, StatusReason, CaptureOptions, Desired, Record):
    st.register_type_strategy(part, whole)


RECORDS = st.from_type(Record)


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_all_differences_fold_to_the_last_record(records: list[Record]) -> None:
    """[I5]"""
    changes = [difference(before, after) for before, after in pairwise(records)]
    assert replay([audited(records[0]), *changes]) == audited(records[-1])


@settings(max_examples=60, deadline=None)
@given(RECORDS, RECORDS)
def test_differences_survive_json(before: Record, after: Record) -> None:
    """[I5]"""
    changes = [orjson.loads(orjson.dumps(one)) for one in (audited(before), difference(before, after))]
    assert replay(changes) == orjson.loads(orjson.dumps(audited(after)))


@settings(max_examples=30, deadline=None)
@given(RECORDS)
def test_an_unchanged_record_has_no_difference(record: Record) -> None:
    assert difference(record, record) == {}


def test_a_field_that_lost_its_value_is_none() -> None:
    held = at_result()
    assert difference(held.record, unadmitted(upload()))["dossierId"] is None


def test_each_story_replays_to_its_record() -> None:
    """[I5]"""
    for story in (at_done(), at_result(capture()), at_deletion(upload(retention=60.0))):
        assert replay(event.changes for taken in story.steps for event in taken.events) == audited(story.record)


def test_names_labels_paths_and_pace_are_not_audited() -> None:
    """[I6]"""
    desired = upload(labels=(("team", "label-of-somebody"),), file="file-of-somebody.yaml")
    record = unadmitted(desired, name="name-of-somebody", not_before=12345.678, due_at=12345.678)
    text = orjson.dumps(audited(record)).decode()
    for word in ("somebody", "front.jpg", "12345"):
        assert word not in text


def test_every_event_of_a_story_has_changes_and_the_time_of_its_observation() -> None:
    story = at_done()
    for taken in story.steps:
        assert all(event.changes for event in taken.events)
    assert story.steps[0].events[0].type == "Admitted"
