"""What the loops ask of the store: what is due, what waits, what is settled."""

from dataclasses import replace

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
from agent.store.reading.loop_reads import claim, next_due
from agent.store.reading.reads import Query, Rows, answer_later
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import DEFAULT_POLICY, Life
from verification.builders.records import NOW, upload


def at(life: Life, due_at: float, **fields: object) -> Step:
    """A step that leaves the record due at a time."""
    moved = replace(life.record, version=life.record.version + 1, due_at=due_at, **fields)  # type: ignore[arg-type]
    return Step(before=life.record, record=moved)


def uids(records: list[Record]) -> list[str]:
    return [record.uid for record in records]


async def test_new_work_is_claimed_first_then_what_is_tried_again_then_polls(engine: Engine) -> None:
    store = await engine.open()
    read = await committed(store, Life("look").until(Phase.RESULT))
    deletion = await committed(store, Life("deletion").until(Phase.DELETION))
    await committed(store, Life("new"))
    assert read.record.due_at is not None
    assert deletion.record.phase is Phase.DELETION
    assert uids(await store.claim(NOW + 1e6, 10, set())) == ["new", "deletion", "look"]
    assert uids(await store.claim(NOW + 1e6, 2, set())) == ["new", "deletion"]
    assert uids(await store.claim(NOW + 1e6, 10, {"new"})) == ["deletion", "look"]
    await store.aclose()


async def test_a_rush_of_one_kind_leaves_a_quarter_of_the_places_to_the_kinds_after_it(engine: Engine) -> None:
    """[I1, I9] However much is dropped, dossiers are deleted and results read."""
    store = await engine.open()
    for number in range(12):
        await committed(store, Life(f"new-{number:02}"))
        await committed(store, Life(f"deletion-{number:02}").until(Phase.DELETION))
        await committed(store, Life(f"look-{number:02}").until(Phase.RESULT))
    claimed = uids(await store.claim(NOW + 1e6, 8, set()))
    assert [uid.split("-")[0] for uid in claimed] == ["new"] * 6 + ["deletion"] * 2
    claimed = uids(await store.claim(NOW + 1e6, 8, {f"new-{number:02}" for number in range(12)}))
    assert [uid.split("-")[0] for uid in claimed] == ["deletion"] * 6 + ["look"] * 2
    await store.aclose()


async def test_within_a_priority_the_longest_due_comes_first(engine: Engine) -> None:
    store = await engine.open()
    for uid, due_at in (("b", 20.0), ("a", 30.0), ("c", 10.0)):
        life = await committed(store, Life(uid))
        await store.commit([at(life, due_at)])
    assert uids(await store.claim(25.0, 10, set())) == ["c", "b"]
    assert uids(await store.claim(5.0, 10, set())) == []
    await store.aclose()


async def test_busy_records_do_not_hide_others(engine: Engine) -> None:
    """[I9]"""
    store = await engine.open()
    for number in range(10):
        await committed(store, Life(f"u{number}"))
    busy = {f"u{number}" for number in range(9)}
    assert uids(await store.claim(NOW, 1, busy)) == ["u9"]
    assert await store.next_due(busy) == NOW
    assert await store.next_due({*busy, "u9"}) is None
    await store.aclose()


async def test_the_next_due_is_the_earliest_of_all_priorities(engine: Engine) -> None:
    """[I8]"""
    store = await engine.open()
    await store.commit([at(await committed(store, Life("a")), 300.0)])
    read = await committed(store, Life("b").until(Phase.RESULT))
    await store.commit([at(read, 200.0)])
    assert await store.next_due(set()) == 200.0
    assert await store.next_due({"b"}) == 300.0
    await store.aclose()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_every_open_phase_is_selected_once_its_time_has_come(engine: Engine, phase: Phase) -> None:
    """[I1]"""
    store = await engine.open()
    await committed(store, Life().until(phase))
    assert uids(await store.claim(NOW + 1e6, 1, set())) == ["u1"]
    assert await store.next_due(set()) is not None
    await store.aclose()


async def test_a_request_that_is_done_is_never_claimed(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life().until(Phase.DONE))
    assert await store.claim(NOW + 1e9, 10, set()) == []
    assert await store.next_due(set()) is None
    await store.aclose()


async def test_a_file_that_is_there_is_known_by_name(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1"))
    await committed(store, Life("u2", present=False))
    await committed(store, Life("u3", source="other"))
    assert await store.present("default") == {"name-u1": "u1"}
    await store.aclose()


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.DONE])
async def test_a_request_that_is_on_its_way_is_unsettled(engine: Engine, phase: Phase) -> None:
    store = await engine.open()
    assert not await store.unsettled()
    await committed(store, Life().until(phase))
    assert await store.unsettled()
    await store.aclose()


@pytest.mark.parametrize("desired", [upload(suspend=True), upload(retention=60.0)], ids=["suspension", "retention"])
async def test_suspension_and_retention_are_settled(engine: Engine, desired: object) -> None:
    store = await engine.open()
    life = Life(desired=desired)  # type: ignore[arg-type]
    await committed(store, life if desired.suspend else life.until(Phase.DELETION))  # type: ignore[attr-defined]
    assert not await store.unsettled()
    await store.aclose()


async def test_retention_under_a_question_about_the_file_is_settled(engine: Engine) -> None:
    """Design §9: run --once waits for results and persons, not for retention."""
    store = await engine.open()
    life = Life(desired=upload(retention=1e6)).until(Phase.DELETION)
    life.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
    await committed(store, life)
    unsettled = await store.unsettled()
    await store.aclose()
    assert not unsettled


async def test_possible_orphans_are_kept_until_they_are_closed(engine: Engine) -> None:
    """[I3]"""
    store = await engine.open()
    life = Life()
    while life.record.intent is None:
        life.goes_on()
    life.sees(EffectUnanswered, kind=EffectKind.CREATE_DOSSIER)
    life.at += DEFAULT_POLICY.list_lag
    life.sees(DossierSearched, dossier_id=None, complete=False)
    await committed(store, life)
    assert [(one[0], one[2]) for one in await store.orphans()] == [("aa-a1-u1-1-1", None)]
    await store.found_orphan("aa-a1-u1-1-1", "D9")
    assert (await store.orphans())[0][2] == "D9"
    await store.close_orphan("aa-a1-u1-1-1", NOW, None)
    assert await store.orphans() == []
    await store.aclose()


async def test_withdrawals_of_late_are_counted(engine: Engine) -> None:
    store = await engine.open()
    life = Life()
    life.sees(DocumentRemoved)
    await committed(store, life)
    assert life.record.outcome is Outcome.WITHDRAWN
    assert await store.withdrawn_since(NOW) == 1
    assert await store.withdrawn_since(NOW + 3600) == 0
    life.sees(DocumentReturned, desired=life.record.desired)
    await store.commit(life.steps[-1:])
    assert life.record.present
    assert await store.withdrawn_since(NOW) == 1  # the file is back, and still it was taken away
    await store.aclose()


async def test_a_scan_replaces_the_refusals_of_its_source(engine: Engine) -> None:
    store = await engine.open()
    await store.record_scan("default", NOW, 3, True, 0, [("a.yaml", 1, 2, "wrong", "mend it", None)])
    await store.record_scan("default", NOW, 3, False, 2, None)
    assert await engine.rows("SELECT file, line, col FROM refusals") == [("a.yaml", 1, 2)]
    await store.record_scan("default", NOW, 3, True, 0, [])
    assert await engine.rows("SELECT * FROM refusals") == []
    await store.aclose()


async def test_a_turn_of_the_loop_asks_one_query_for_all_priorities(engine: Engine) -> None:
    """Each query costs a round trip to a server."""
    store = await engine.open()
    for number, phase in enumerate((Phase.DOSSIER, Phase.RESULT, Phase.DELETION)):
        await committed(store, Life(f"u{number}").until(phase))
    for read in (claim(1e12, 9, {"u9"}), next_due({"u9"})):
        asked: list[Query] = []

        async def ask(query: Query, asked: list[Query] = asked) -> Rows:
            asked.append(query)
            return await store.query(query)

        assert await answer_later(read, ask)
        assert len(asked) == 1
    await store.aclose()
