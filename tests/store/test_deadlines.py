"""Who is asked about while nothing can be sent: those whose deadline or hold ran out, found by an index (design §4)."""

from dataclasses import replace
from pathlib import Path

from agent.core.assure_types import Depiction
from agent.core.effect import EffectKind
from agent.core.observations import DocumentChanged, EffectRefused, ImagesInvalid
from agent.core.record import Phase
from agent.core.step import Step
from agent.store.sqlite.store import SqliteStore
from tests.support.stores import at_once
from verification.audits import verified
from verification.builders.lives import Life
from verification.builders.records import NOW, upload

from .support import committed, opened, rows

DAY = 86400.0


async def several(store: SqliteStore) -> None:
    """One of each kind that keeps its privacy clock differently, and some that have none."""
    for phase in Phase:
        await committed(store, Life(f"at-{phase}", upload(retention=DAY)).until(phase))
    await committed(store, Life("young", at=NOW + DAY).until(Phase.RESULT))
    held = Life("held").until(Phase.IMAGES)
    held.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES)
    unfit = Life("unfit").until(Phase.IMAGES)
    unfit.sees(ImagesInvalid, kind=EffectKind.UPLOAD_IMAGES, depiction=Depiction.FRONT, reason="missing")
    asked = Life("asked").until(Phase.RESULT)
    asked.sees(DocumentChanged, desired=upload(digest="d2", essence="e2"))
    suspended = Life("suspended").until(Phase.RESULT)
    suspended.sees(DocumentChanged, desired=upload(digest="d2", suspend=True))
    for life in (held, unfit, asked, suspended):
        await committed(store, life)


def found(store: SqliteStore, now: float) -> set[str]:
    return {record.uid for record in at_once(store.overdue(now, 100, set()))}


async def test_those_whose_clock_ran_out_are_found_and_no_others(tmp_path: Path) -> None:
    """[I1]"""
    store = opened(tmp_path)
    await several(store)
    assert found(store, NOW + 3600) == {"unfit"}  # its images are looked at again, which asks nothing of Assure
    clocks = {"at-process", "at-images", "at-verification", "held", "unfit", "suspended"}
    assert clocks <= found(store, NOW + DAY + 60) <= clocks | {"at-result", "asked"}
    assert clocks | {"at-result", "asked"} <= found(store, NOW + DAY + 3600)
    assert "young" not in found(store, NOW + DAY + 3600)
    assert found(store, NOW + 3 * DAY) == clocks | {"at-result", "asked", "young"}
    store.close()


async def test_an_outage_reads_no_request_whose_time_is_not_up(tmp_path: Path) -> None:
    """Once a minute, in the event loop, whatever waits. [I9]"""
    store = opened(tmp_path)
    statements: list[str] = []
    store._reads._reader.set_trace_callback(statements.append)
    at_once(store.overdue(NOW, 100, set()))
    store._reads._reader.set_trace_callback(None)
    (plan,) = {row[3] for row in rows(tmp_path, "EXPLAIN QUERY PLAN " + statements[-1])}
    assert plan == "SEARCH requests USING INDEX requests_deciding (decides_at<?)"
    store.close()


async def test_a_request_has_a_deadline_while_its_privacy_clock_decides(tmp_path: Path) -> None:
    """[I5] The audit compares the column with the record."""
    store = opened(tmp_path)
    await several(store)
    store.close()
    without = rows(tmp_path, "SELECT uid FROM requests WHERE decides_at IS NULL")
    assert {uid for (uid,) in without} == {"at-dossier", "at-deletion", "at-done"}
    assert verified(tmp_path / "agent.db").findings == ()


async def test_a_step_moves_the_deadline(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = await committed(store, Life().until(Phase.RESULT))
    record = life.record
    later = replace(record, version=record.version + 1, desired=replace(record.desired, deadline=2 * DAY))
    await store.commit([Step(before=record, record=later)])
    assert rows(tmp_path, "SELECT decides_at - opened_at FROM requests") == [(2 * DAY,)]
    store.close()
