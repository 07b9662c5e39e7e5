"""What the API and the page look through: labels, pages, and what a migration makes of an older store."""

from pathlib import Path

import pytest

from agent.core.observations import DocumentChanged
from agent.core.record import Phase
from agent.store.readonly import ReadOnlyStore
from verification.builders.lives import Life
from verification.builders.records import NOW, upload

from .support import committed, opened, rows


def named(folder: Path, *labels: tuple[str, str], phase: Phase | None = None, part: str = "") -> list[str]:
    with ReadOnlyStore(folder / "agent.db") as browsing:
        return [record.name for record in browsing.page(labels, phase, "", 100, part).records]


async def test_labels_are_those_of_the_current_document(tmp_path: Path) -> None:
    store = opened(tmp_path)
    life = Life("u1", upload(labels=(("team", "risk"), ("shop", "nl"))))
    other = upload(labels=(("team", "onboarding"),), digest="d2")
    life.sees(DocumentChanged, desired=other)
    await committed(store, life)
    assert named(tmp_path, ("team", "onboarding")) == ["name-u1"]
    assert named(tmp_path, ("team", "risk")) == named(tmp_path, ("shop", "nl")) == []
    store.close()


async def test_a_request_that_is_forgotten_is_in_no_list_and_its_labels_in_no_table(tmp_path: Path) -> None:
    """[I6]"""
    store = opened(tmp_path)
    await committed(store, Life("u1", upload(labels=(("team", "canary"),))).until(Phase.DONE))
    await store.forget("u1", NOW)
    assert rows(tmp_path, "SELECT * FROM labels") == []
    assert named(tmp_path, ("team", "canary")) == named(tmp_path, phase=Phase.DONE) == named(tmp_path) == []
    with ReadOnlyStore(tmp_path / "agent.db") as browsing:
        assert browsing.by_state("done", 10) == []
    store.close()


@pytest.mark.parametrize("labels", [(), (("team", "a"),), (("team", "a"), ("odd", "1"))])
@pytest.mark.parametrize("phase", [None, Phase.RESULT])
@pytest.mark.parametrize("part", ["", "u1"])
async def test_combined_filters_find_all_for_any_selectivity(
    tmp_path: Path, labels: tuple[tuple[str, str], ...], phase: Phase | None, part: str
) -> None:
    store = opened(tmp_path)
    for number in range(24):
        team, odd = "ab"[number % 2], str(number // 2 % 2)
        made = upload(labels=(("team", team), ("odd", odd)))
        await committed(store, Life(f"u{number}", made).until((Phase.RESULT, Phase.IMAGES, Phase.DONE)[number % 3]))
    with ReadOnlyStore(tmp_path / "agent.db") as browsing:
        expected = {
            record.name
            for record in browsing.all()
            if set(labels) <= set(record.desired.labels) and phase in (None, record.phase) and part in record.name
        }
        found = browsing.page(labels, phase, "", 100, part)
    assert {record.name for record in found.records} == expected
    assert expected
    assert found.cursor is None
    store.close()
