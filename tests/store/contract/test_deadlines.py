"""Who is asked about while nothing can be sent: those whose deadline or hold ran out, found by an index (design §4)."""

from dataclasses import replace

from agent.core.assure_types import Depiction
from agent.core.effect import EffectKind
from agent.core.observations import DocumentChanged, EffectRefused, ImagesInvalid
from agent.core.record import Phase
from agent.core.step import Step
from agent.store.contract import Store
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import Life
from verification.builders.records import NOW, upload

DAY = 86400.0


async def several(store: Store) -> None:
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


async def found(store: Store, now: float) -> set[str]:
    return {record.uid for record in await store.overdue(now, 100, set())}


async def test_those_whose_clock_ran_out_are_found_and_no_others(engine: Engine) -> None:
    """[I1]"""
    store = await engine.open()
    await several(store)
    assert await found(store, NOW + 3600) == {"unfit"}  # its images are looked at again, which asks nothing of Assure
    clocks = {"at-process", "at-images", "at-verification", "held", "unfit", "suspended"}
    assert clocks <= await found(store, NOW + DAY + 60) <= clocks | {"at-result", "asked"}
    assert clocks | {"at-result", "asked"} <= await found(store, NOW + DAY + 3600)
    assert "young" not in await found(store, NOW + DAY + 3600)
    assert await found(store, NOW + 3 * DAY) == clocks | {"at-result", "asked", "young"}
    await store.aclose()


async def test_a_request_has_a_deadline_while_its_privacy_clock_decides(engine: Engine) -> None:
    """[I5] The audit compares the column with the record."""
    store = await engine.open()
    await several(store)
    await store.aclose()
    without = await engine.rows("SELECT uid FROM requests WHERE decides_at IS NULL")
    assert {uid for (uid,) in without} == {"at-dossier", "at-deletion", "at-done"}
    assert engine.faults() == []


async def test_a_step_moves_the_deadline(engine: Engine) -> None:
    store = await engine.open()
    life = await committed(store, Life().until(Phase.RESULT))
    record = life.record
    later = replace(record, version=record.version + 1, desired=replace(record.desired, deadline=2 * DAY))
    await store.commit([Step(before=record, record=later)])
    assert await engine.rows("SELECT decides_at - opened_at FROM requests") == [(2 * DAY,)]
    await store.aclose()
