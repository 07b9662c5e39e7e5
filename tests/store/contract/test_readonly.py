"""What people and metrics read, through a connection that cannot write."""

import pytest

from agent.core.answer import Evidence
from agent.core.effect import EffectKind
from agent.core.errors import StoreError
from agent.core.observations import DocumentChanged, EffectDelayed, EffectUnanswered, TimerFired
from agent.core.record import Phase
from agent.store import store_exists
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import LINK, Life
from verification.builders.records import NOW, capture, upload

HOUR = 3600.0


def never_deleted(life: Life, hours: float) -> None:
    """DELETE answers 503 for that long."""
    until = life.at + hours * HOUR
    while life.at < until:
        if life.record.intent is None:
            assert life.record.due_at is not None
            life.at = max(life.at, life.record.due_at)
            life.sees(TimerFired)
        else:
            life.sees(EffectUnanswered, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=503))


async def test_records_are_read_by_name_while_an_agent_runs(engine: Engine) -> None:
    """[I7]"""
    store = await engine.open()
    b = await committed(store, Life("b").until(Phase.DONE))
    a = await committed(store, Life("a"))
    with engine.reading() as reading:
        assert list(reading.all()) == [a.record, b.record]
        assert reading.find("name-b") == [b.record]
        assert reading.find("nobody") == []
    await store.aclose()


async def test_a_request_is_found_by_the_uid_that_logs_have_until_it_is_forgotten(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1").until(Phase.DONE))
    await committed(store, Life("u2", name="u1").until(Phase.RESULT))  # somebody's name is another's uid
    with engine.reading() as reading:
        assert [record.uid for record in reading.find("u2")] == ["u2"]
        assert [record.uid for record in reading.find("u1")] == ["u2"]
        assert [record.uid for record in reading.find("name-u1")] == ["u1"]
        await store.forget("u2", NOW)
        assert reading.find("u2") == []
    await store.aclose()


async def test_a_link_is_read_while_it_is_of_use(engine: Engine) -> None:
    """[I6]"""
    store = await engine.open()
    await committed(store, Life("a", desired=capture()).until(Phase.RESULT))
    await committed(store, Life("b", desired=capture()).until(Phase.DONE))
    with engine.reading() as reading:
        assert reading.link("a") == LINK
        assert reading.link("b") is None
    await store.aclose()


async def test_a_reading_cannot_write(engine: Engine) -> None:
    """[I7]"""
    store = await engine.open()
    await committed(store, Life())
    with engine.reading() as reading, pytest.raises(Exception, match=r"(?i)read-?only"):
        reading.query("DELETE FROM requests")
    await store.aclose()


async def test_requests_are_counted_by_phase_and_state(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("a").until(Phase.DONE))
    await committed(store, Life("b").until(Phase.RESULT))
    await committed(store, Life("c"))
    held = Life("d").until(Phase.DONE)
    held.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
    await committed(store, held)
    with engine.reading() as reading:
        assert {key: count for key, count in reading.counts().items() if count} == {
            ("dossier", "active"): 1,
            ("result", "waiting"): 1,
            ("done", "held"): 1,
            ("done", "done"): 1,
        }
        assert reading.held() == [("changed-after-start", 1)]
        assert sorted(reading.counters("outcome")) == [("upload", "document", "accepted", 2)]
    await store.aclose()


async def test_refusals_and_waiting_withdrawals_are_reported(engine: Engine) -> None:
    store = await engine.open()
    await store.record_scan(
        "default", NOW, 2, True, 4, [("b.yaml", 2, 1, "m", "h", "b"), ("a.yaml", 1, 1, "m", "h", None)]
    )
    with engine.reading() as reading:
        assert [one.file for one in reading.refusals()] == ["a.yaml", "b.yaml"]
        assert [one.file for one in reading.refused("b")] == ["b.yaml"]
        assert reading.waiting_withdrawals() == 4
    await store.aclose()


async def test_open_dossiers_are_counted_until_their_deletion_is_confirmed(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("a").until(Phase.DELETION))
    await committed(store, Life("b").until(Phase.DONE))
    with engine.reading() as reading:
        gauges = reading.gauges(NOW + 100)
    assert gauges["open_dossiers"] == 1
    assert gauges["oldest_open_dossier_seconds"] == 100
    assert gauges["deletions_overdue"] == 0
    assert gauges["possible_orphans"] == 0
    await store.aclose()


async def test_a_deletion_that_fails_for_hours_is_overdue(engine: Engine) -> None:
    """Design §4: a failing deletion is tried for ever, and raises an alert."""
    store = await engine.open()
    life = Life().until(Phase.DELETION)
    never_deleted(life, hours=2)
    await committed(store, life)
    with engine.reading() as reading:
        gauges = reading.gauges(life.at)
    await store.aclose()
    assert gauges["deletions_overdue"] == 1


async def test_a_deletion_that_fails_after_a_retention_is_active_work(engine: Engine) -> None:
    """Design §4 and §9: it is neither waiting nor settled."""
    store = await engine.open()
    life = Life(desired=upload(retention=60.0)).until(Phase.DELETION)
    life.at += 61
    life.sees(TimerFired)
    life.sees(EffectUnanswered, kind=EffectKind.DELETE_DOSSIER, evidence=Evidence(status=503))
    await committed(store, life)
    unsettled = await store.unsettled()
    await store.aclose()
    assert life.record.state == "active"
    assert unsettled


async def test_a_request_that_only_fails_for_hours_has_not_progressed(engine: Engine) -> None:
    """Design §12: `oldest_unprogressed_seconds`."""
    store = await engine.open()
    life = Life().until(Phase.PROCESS)
    began = life.at
    while life.at < began + 2 * HOUR:
        if life.record.intent is None:
            assert life.record.due_at is not None
            life.at = max(life.at, life.record.due_at)
            life.sees(TimerFired)
        else:
            life.sees(EffectDelayed, kind=EffectKind.CREATE_PROCESS, retry_after=60.0)
    await committed(store, life)
    with engine.reading() as reading:
        gauges = reading.gauges(life.at)
    await store.aclose()
    assert gauges["oldest_unprogressed_seconds"] > HOUR


async def test_there_is_nothing_to_read_without_a_store(engine: Engine) -> None:
    await (await engine.open()).aclose()
    await engine.lose()
    assert not store_exists(engine.settings)
    with pytest.raises(StoreError), engine.reading() as reading:
        reading.counts()
