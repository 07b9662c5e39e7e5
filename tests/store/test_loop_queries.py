"""What the loops ask of the store: what is due, what waits, what is settled."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.effect import EffectKind
from agent.core.observations import (
    DocumentChanged,
    DocumentRemoved,
    DocumentReturned,
    DossierSearched,
    EffectUnanswered,
)
from agent.core.record import Outcome, Phase, Record
from agent.core.step import Step
from tests.support.stores import at_once
from verification.builders.lives import DEFAULT_POLICY, Life
from verification.builders.records import NOW, upload

from .support import committed, opened, rows


def at(life: Life, due_at: float, **fields: object) -> Step:
    """A step that leaves the record due at a time."""
    moved = replace(life.record, version=life.record.version + 1, due_at=due_at, **fields)  # type: ignore[arg-type]
    return Step(before=life.record, record=moved)


def uids(records: list[Record]) -> list[str]:
    return [record.uid for record in records]


async def test_new_work_is_claimed_first_then_what_is_tried_again_then_polls(tmp_path: Path) -> None:
    store = opened(tmp_path)
    read = await committed(store, Life("look").until(Phase.RESULT))
    deletion = await committed(store, Life("deletion").until(Phase.DELETION))
    await committed(store, Life("new"))
    assert read.record.due_at is not None
    assert deletion.record.phase is Phase.DELETION
    assert uids(at_once(store.claim(NOW + 1e6, 10, set()))) == ["new", "deletion", "look"]
    assert uids(at_once(store.claim(NOW + 1e6, 2, set()))) == ["new", "deletion"]
    assert uids(at_once(store.claim(NOW + 1e6, 10, {"new"}))) == ["deletion", "look"]
    store.close()


async def test_a_rush_of_one_kind_leaves_a_quarter_of_the_places_to_the_kinds_after_it(tmp_path: Path) -> None:
    """[I1, I9] However much is dropped, dossiers are deleted and results read."""
    store = opened(tmp_path)
    for number in range(12):
        await committed(store, Life(f"new-{number:02}"))
        await committed(store, Life(f"deletion-{number:02}").until(Phase.DELETION))
        await committed(store, Life(f"look-{number:02}").until(Phase.RESULT))
    claimed = uids(at_once(store.claim(NOW + 1e6, 8, set())))
    assert [uid.split("-")[0] for uid in claimed] == ["new"] * 6 + ["deletion"] * 2
    claimed = uids(at_once(store.claim(NOW + 1e6, 8, {f"new-{number:02}" for number in range(12)})))
    assert [uid.split("-")[0] for uid in claimed] == ["deletion"] * 6 + ["look"] * 2
    store.close()


async def test_within_a_priority_the_longest_due_comes_first(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for uid, due_at in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        life = await committed(store, Life(uid))
        await store.commit([at(life, due_at)])
    assert uids(at_once(store.claim(25.0, 10, set()))) == ["c", "b"]
    assert uids(at_once(store.claim(5.0, 10, set()))) == []
    store.close()


async def test_busy_records_do_not_hide_others(tmp_path: Path) -> None:
    """[I9]"""
    store = opened(tmp_path)
    for number in range(10):
        await committed(store, Life(f"u{number}"))
    busy = {f"u{number}" for number in range(9)}
    assert uids(at_once(store.claim(NOW, 1, busy))) == ["u9"]
    assert at_once(store.next_due(busy)) == NOW
    assert at_once(store.next_due({*busy, "u9"})) is None
    store.close()


async def test_the_next_due_is_the_earliest_of_all_priorities(tmp_path: Path) -> None:
    """[I8]"""
    store = opened(tmp_path)
    await store.commit([at(await committed(store, Life("a")), 300.0)])
    read = await committed(store, Life("b").until(Phase.RESULT))
    await store.commit([at(read, 200.0)])
    assert at_once(store.next_due(set())) == 200.0
    assert at_once(store.next_due({"b"})) == 300.0
    store.close()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_every_open_phase_is_selected_once_its_time_has_come(tmp_path: Path, phase: Phase) -> None:
    """[I1]"""
    store = opened(tmp_path)
    await committed(store, Life().until(phase))
    assert uids(at_once(store.claim(NOW + 1e6, 1, set()))) == ["u1"]
    assert at_once(store.next_due(set())) is not None
    store.close()


async def test_a_request_that_is_done_is_never_claimed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life().until(Phase.DONE))
    assert at_once(store.claim(NOW + 1e9, 10, set())) == []
    assert at_once(store.next_due(set())) is None
    store.close()


async def test_a_file_that_is_there_is_known_by_name(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await committed(store, Life("u1"))
    await committed(store, Life("u2", present=False))
    await committed(store, Life("u3", source="other"))
    assert at_once(store.present("default")) == {"name-u1": "u1"}
    store.close()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_a_request_that_is_on_its_way_is_unsettled(tmp_path: Path, phase: Phase) -> None:
    store = opened(tmp_path)
    assert not at_once(store.unsettled())
    await committed(store, Life().until(phase))
    assert at_once(store.unsettled())
    store.close()


@pytest.mark.parametrize("desired", [upload(suspend=True), upload(retention=60.0)], ids=["suspension", "retention"])
async def test_suspension_and_retention_are_settled(tmp_path: Path, desired: object) -> None:
    store = opened(tmp_path)
    life = Life(desired=desired)  # type: ignore[arg-type]
    await committed(store, life if desired.suspend else life.until(Phase.DELETION))  # type: ignore[attr-defined]
    assert not at_once(store.unsettled())
    store.close()


async def test_retention_under_a_question_about_the_file_is_settled(tmp_path: Path) -> None:
    """Design §9: run --once waits for results and persons, not for retention."""
    store = opened(tmp_path)
    life = Life(desired=upload(retention=1e6)).until(Phase.DELETION)
    life.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
    await committed(store, life)
    unsettled = at_once(store.unsettled())
    store.close()
    assert not unsettled


async def test_possible_orphans_are_kept_until_they_are_closed(tmp_path: Path) -> None:
    """[I3]"""
    store = opened(tmp_path)
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    life.sees(EffectUnanswered, kind=EffectKind.CREATE_DOSSIER)
    life.at += DEFAULT_POLICY.list_lag
    life.sees(DossierSearched, dossier_id=None, complete=False)
    await committed(store, life)
    assert [(one[0], one[2]) for one in at_once(store.orphans())] == [("aa-a1-u1-1-1", None)]
    await store.found_orphan("aa-a1-u1-1-1", "D9")
    assert at_once(store.orphans())[0][2] == "D9"
    await store.close_orphan("aa-a1-u1-1-1", NOW, None)
    assert at_once(store.orphans()) == []
    store.close()


async def test_withdrawals_of_late_are_counted(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = Life()
    life.sees(DocumentRemoved)
    await committed(store, life)
    assert life.record.outcome is Outcome.WITHDRAWN
    assert at_once(store.withdrawn_since(NOW)) == 1
    assert at_once(store.withdrawn_since(NOW + 3600)) == 0
    life.sees(DocumentReturned, desired=life.record.desired)
    await store.commit(life.steps[-1:])
    assert life.record.present
    assert at_once(store.withdrawn_since(NOW)) == 1  # the file is back, and still it was taken away
    store.close()


async def test_a_scan_replaces_the_refusals_of_its_source(tmp_path: Path) -> None:
    store = opened(tmp_path)
    await store.record_scan("default", NOW, 3, True, 0, [("a.yaml", 1, 2, "wrong", "mend it", None)])
    await store.record_scan("default", NOW, 3, False, 2, None)
    assert rows(tmp_path, "SELECT file, line, col FROM refusals") == [("a.yaml", 1, 2)]
    await store.record_scan("default", NOW, 3, True, 0, [])
    assert rows(tmp_path, "SELECT * FROM refusals") == []
    store.close()
