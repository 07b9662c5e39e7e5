"""The first scan of a large folder admits requests while it reads the folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.source import scan as scan_module
from tests.controller.controller_harness import ControllerHarness, desk_at
from verification.audits import verified
from verification.builders.request_files import capture, write


@pytest.fixture
async def desk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ControllerHarness]:
    monkeypatch.setattr(scan_module, "_HANDED_OVER", 2)
    async with desk_at(folder) as desk:
        yield desk
        assert not verified(desk.store.path).findings


async def test_a_name_that_is_shared_with_the_last_file_is_never_admitted(desk: ControllerHarness) -> None:
    """[I2] Requests are admitted before the other file is read completely."""
    for number in range(9):
        write(desk.specs / f"{number}.yaml", capture(f"n{number % 8}"))
    admitted: list[set[str]] = []

    def progress() -> None:
        admitted.append({f"n{number}" for number in range(8) if desk.find(f"n{number}") is not None})

    synced = await desk.admission.scan(on_progress=progress)
    assert len(admitted) >= 3
    assert 0 < len(admitted[0]) < len(admitted[-1])
    assert not any("n0" in names for names in admitted)
    assert desk.find("n0") is None
    assert all(desk.find(f"n{number}") is not None for number in range(1, 8))
    assert {fault.name for fault in synced.refusals} == {"n0"}


async def test_a_gradual_scan_has_the_result_of_a_scan(desk: ControllerHarness) -> None:
    for number in range(5):
        desk.capture(f"n{number}")
    desk.upload("no-image")
    for path in desk.images.rglob("*.jpg"):
        path.unlink()
    synced = await desk.admission.scan(on_progress=lambda: None)
    assert (synced.scan.files, synced.scan.complete, len(synced.refusals)) == (6, True, 1)
    again = await desk.admission.scan()
    assert again.refusals == synced.refusals
    assert len(desk.steps) == 5


async def test_a_small_folder_is_admitted_without_progress(desk: ControllerHarness) -> None:
    desk.capture("a")
    calls: list[None] = []
    await desk.admission.scan(on_progress=lambda: calls.append(None))
    assert (calls, desk.find("a") is not None) == ([], True)
