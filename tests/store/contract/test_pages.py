"""What the API and the page look through: labels, pages, and what a migration makes of an older store."""

from typing import Any

import pytest

from agent.core.answer import Evidence
from agent.core.effect import EffectKind
from agent.core.observations import DocumentChanged, EffectRefused
from agent.core.record import HoldReason, Outcome, Phase
from agent.store.read_results import Filter, Page
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import Life
from verification.builders.records import NOW, upload


def held_life(uid: str) -> Life:
    """A request that is held because Assure refused its images."""
    life = Life(uid, upload()).until(Phase.IMAGES)
    life.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=Evidence(status=400, cause="refused"))
    return life


def named(engine: Engine, *labels: tuple[str, str], phase: Phase | None = None, part: str = "") -> list[str]:
    with engine.reading() as browsing:
        return [record.name for record in browsing.page(Filter(labels=labels, phase=phase, part=part), 100).records]


async def test_labels_are_those_of_the_current_document(engine: Engine) -> None:
    store = await engine.open()
    life = Life("u1", upload(labels=(("team", "risk"), ("shop", "nl"))))
    other = upload(labels=(("team", "onboarding"),), digest="d2")
    life.sees(DocumentChanged, desired=other)
    await committed(store, life)
    assert named(engine, ("team", "onboarding")) == ["name-u1"]
    assert named(engine, ("team", "risk")) == named(engine, ("shop", "nl")) == []
    await store.aclose()


async def test_a_request_that_is_forgotten_is_in_no_list_and_its_labels_in_no_table(engine: Engine) -> None:
    """[I6]"""
    store = await engine.open()
    await committed(store, Life("u1", upload(labels=(("team", "canary"),))).until(Phase.DONE))
    await store.forget("u1", NOW)
    assert await engine.rows("SELECT * FROM labels") == []
    assert named(engine, ("team", "canary")) == named(engine, phase=Phase.DONE) == named(engine) == []
    with engine.reading() as browsing:
        assert browsing.by_state("done", 10) == []
    await store.aclose()


@pytest.mark.parametrize("labels", [(), (("team", "a"),), (("team", "a"), ("odd", "1"))])
@pytest.mark.parametrize("phase", [None, Phase.RESULT])
@pytest.mark.parametrize("part", ["", "u1"])
async def test_combined_filters_find_all_for_any_selectivity(
    engine: Engine, labels: tuple[tuple[str, str], ...], phase: Phase | None, part: str
) -> None:
    store = await engine.open()
    for number in range(24):
        team, odd = "ab"[number % 2], str(number // 2 % 2)
        made = upload(labels=(("team", team), ("odd", odd)))
        await committed(store, Life(f"u{number}", made).until((Phase.RESULT, Phase.IMAGES, Phase.DONE)[number % 3]))
    with engine.reading() as browsing:
        expected = {
            record.name
            for record in browsing.all()
            if set(labels) <= set(record.desired.labels) and phase in (None, record.phase) and part in record.name
        }
        found = browsing.page(Filter(labels=labels, phase=phase, part=part), 100)
    assert {record.name for record in found.records} == expected
    assert expected
    assert found.after is found.before is None
    await store.aclose()


@pytest.mark.parametrize("by_time", [False, True], ids=["filtered", "in a state"])
async def test_pages_lead_to_the_end_and_back(engine: Engine, by_time: bool) -> None:
    store = await engine.open()
    for number in range(7):
        await committed(store, Life(f"{number:024x}", upload()).until(Phase.RESULT))  # all progress at the same time
    with engine.reading() as browsing:

        def page(**position: str) -> Page:
            wanted = Filter(state="waiting")
            return browsing.latest("waiting", 3, **position) if by_time else browsing.page(wanted, 3, **position)

        pages = [page()]
        while (key := pages[-1].after) is not None:
            pages.append(page(after=key))
        assert [len(one.records) for one in pages] == [3, 3, 1]
        assert len({record.uid for one in pages for record in one.records}) == 7
        back = [pages[-1]]
        while (key := back[-1].before) is not None:
            back.append(page(before=key))
        assert back[::-1] == pages
        first = pages[0].records[0].uid
        assert first == (f"{6:024x}" if by_time else f"{0:024x}"), "the latest first, or by uid"
    await store.aclose()


async def test_requests_are_found_by_outcome_and_by_reason(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("done", upload()).until(Phase.DONE))
    await committed(store, held_life("held"))
    await committed(store, Life("waits", upload()).until(Phase.RESULT))
    with engine.reading() as browsing:

        def found(**wanted: Any) -> list[str]:
            return [record.uid for record in browsing.page(Filter(**wanted), 10).records]

        assert found(outcome=Outcome.ACCEPTED) == ["done"]
        assert found(reason=HoldReason.REFUSED) == ["held"]
        assert found(outcome=Outcome.REJECTED) == found(outcome=Outcome.ACCEPTED, state="held") == []
        assert found(reason=HoldReason.REFUSED, state="held", phase=Phase.IMAGES) == ["held"]
    await store.aclose()
