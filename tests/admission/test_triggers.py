"""Hints make things earlier, never otherwise: the follower, the look of the admission, and a running agent."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.admission import Looked
from agent.admission.triggers import Follower
from agent.core.record import Outcome
from agent.source.folder import Scan
from agent.source.watch import EVERYTHING, Hint
from agent.store import audit
from tests.controller.controller_harness import Desk, desk_at
from tests.support.clock import until
from tests.support.environment import World
from tests.support.files import capture, write

A = Hint(frozenset({"a.yaml"}))


@pytest.fixture
async def desk(folder: Path) -> AsyncIterator[Desk]:
    async with desk_at(folder) as desk:
        await desk.scan()
        yield desk
        assert not audit.verify(desk.store.path).findings


# -- the follower --------------------------------------------------------------------------------------------------


class Script:
    """What looks and scans leave open, one after the other."""

    def __init__(self, looks: list[Hint], scans: list[Hint]) -> None:
        self.looks, self.scans = looks, scans
        self.done: list[object] = []
        self.follower = Follower(self.look, self.scan, self.done.append)

    async def look(self, files: frozenset[str]) -> Hint:
        self.done.append(sorted(files))
        return self.looks.pop(0)

    async def scan(self) -> Hint:
        self.done.append("scan")
        return self.scans.pop(0)


async def test_a_file_is_looked_at_again_until_it_is_settled() -> None:
    script = Script([A, Hint()], [])
    for hint in (A, Hint(), Hint()):
        await script.follower.follow(hint)
    assert script.done == [["a.yaml"], ["a.yaml"]]


async def test_what_a_look_leaves_open_is_scanned_for() -> None:
    script = Script([EVERYTHING], [Hint()])
    for hint in (A, Hint()):
        await script.follower.follow(hint)
    assert script.done == [["a.yaml"], "scan"]


async def test_scans_keep_their_distance_and_looks_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [0.0]
    monkeypatch.setattr("agent.admission.triggers.monotonic", lambda: times[0])
    script = Script([Hint(), Hint()], [Hint(), Hint()])
    scan = script.scan

    async def slow() -> Hint:
        times[0] += 1.0
        return await scan()

    script.follower._scan = slow
    for at, hint in ((0.0, EVERYTHING), (2.0, EVERYTHING), (2.5, A), (3.5, Hint())):
        times[0] = at
        await script.follower.follow(hint)
    assert script.done == ["scan", ["a.yaml"], "scan"]


async def test_nothing_that_goes_wrong_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.admission.triggers._FAULT_PAUSE", 0)
    script = Script([Hint()], [])
    hints = [EVERYTHING, A]

    class Hints:
        async def next(self, _: float | None = None) -> Hint:
            return hints.pop(0)

    with contextlib.suppress(IndexError):  # the hints are used up
        await script.follower.run(Hints())
    failure = script.done[1]
    assert isinstance(failure, IndexError)
    assert script.done == ["scan", failure, ["a.yaml"]]


# -- a look --------------------------------------------------------------------------------------------------------


async def test_a_look_admits_and_changes_what_is_good(desk: Desk) -> None:
    desk.upload("a")
    desk.upload("b")
    looked = await desk.admission.look(["a.yaml"])
    assert (looked.unsettled, looked.open) == (frozenset(), False)
    assert (desk.record("a").generation, desk.find("b")) == (1, None)
    desk.upload("a", document_id=138)
    await desk.admission.look(["a.yaml"])
    assert desk.record("a").generation == 2
    before = desk.record("a")
    await desk.scan(2)
    assert desk.record("a") == before
    assert desk.find("b") is not None


async def test_a_look_leaves_what_is_refused_to_a_scan_and_delays_no_other(desk: Desk) -> None:
    """[I9]"""
    desk.upload("a")
    desk.upload("b")
    (desk.images / "a/front.jpg").unlink()
    looked = await desk.admission.look(["a.yaml", "b.yaml"])
    assert (looked.open, desk.find("a")) == (True, None)
    assert desk.find("b") is not None
    assert [fault.name for fault in (await desk.scan()).refusals] == ["a"]


@pytest.mark.parametrize("slice_", range(6))
@pytest.mark.parametrize("name", ["a", "new"])
async def test_a_look_comes_between_any_two_slices_of_a_scan_and_is_not_undone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, slice_: int
) -> None:
    """[I2] What the scan saw before is older: it is neither admitted again nor taken for absent."""
    monkeypatch.setattr("agent.source.scan._SLICE", 1)
    for known in "abcd":
        desk.upload(known)
    await desk.scan()
    folder, loop = desk.admission._folder, asyncio.get_running_loop()
    real, looks = folder.slices, []

    async def begin() -> None:
        looks.append(asyncio.create_task(desk.admission.look([f"{name}.yaml"])))
        await asyncio.sleep(0)  # it waits for its turn

    def slices() -> Iterator[Scan | None]:
        for number, seen in enumerate(real()):
            if number == slice_:
                desk.upload(name, document_id=138)
                asyncio.run_coroutine_threadsafe(begin(), loop).result(5)
            yield seen

    monkeypatch.setattr(folder, "slices", slices)
    desk.upload("c", document_id=139)  # so that there is something to sort
    scan = asyncio.create_task(desk.scan())
    await until(lambda: looks)
    assert await looks[0] == Looked()
    assert not scan.done()
    admitted = desk.record(name)
    assert admitted.desired.document_id == 138
    await scan
    monkeypatch.setattr(folder, "slices", real)
    await desk.scan(3)
    assert desk.record(name) == admitted
    assert desk.record("c").desired.document_id == 139
    assert desk.outcomes(*"abcd") == [None] * 4


async def test_looks_and_scans_for_hints_withdraw_nothing(desk: Desk) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    path.unlink()
    for _ in range(3):
        await desk.admission.look(["a.yaml"])
        assert (await desk.admission.scan(hinted=True)).absent == 0
    assert desk.outcomes("a") == [None]
    await desk.scan(2)
    assert desk.outcomes("a", "b") == [Outcome.WITHDRAWN, None]


@pytest.mark.parametrize("seen", ["look", "scan"])
async def test_a_name_that_a_hint_shows_between_two_scans_was_never_away(desk: Desk, seen: str) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    text = path.read_text()
    path.unlink()
    await desk.scan()
    path.write_text(text)
    await (desk.admission.look(["a.yaml"]) if seen == "look" else desk.admission.scan(hinted=True))
    path.unlink()
    await desk.scan()
    assert desk.outcomes("a") == [None]
    await desk.scan()
    assert desk.outcomes("a") == [Outcome.WITHDRAWN]


async def test_a_look_before_the_first_scan_leaves_all_to_it(desk: Desk) -> None:
    desk.upload("a")
    desk.begin_anew()
    assert (await desk.admission.look(["a.yaml"])).open


# -- a running agent -----------------------------------------------------------------------------------------------


def admitted(world: World, *names: str) -> bool:
    return {*names} <= world.records().keys()


async def test_a_file_is_admitted_when_it_is_written_without_a_scan_at_an_interval(world: World) -> None:
    async with world.running(watch=True):
        world.capture("a")
        await until(lambda: admitted(world, "a"))
        write(world.specs / ".b", capture("b")).rename(world.specs / "b.yaml")
        await until(lambda: admitted(world, "b"))
        write(world.specs / "new/deep/c.yaml", capture("c"))
        await until(lambda: admitted(world, "c"))


async def test_a_swapped_link_and_a_folder_that_returns_are_followed_and_withdraw_nothing(world: World) -> None:
    world.specs.rmdir()
    for checkout in ("one", "two"):
        write(world.folder / checkout / "a.yaml", capture("a"))
    write(world.folder / "two/b.yaml", capture("b"))
    world.specs.symlink_to("one")
    async with world.running(watch=True):
        (world.folder / "next").symlink_to("two")
        (world.folder / "next").rename(world.specs)
        await until(lambda: admitted(world, "a", "b"))
        world.specs.unlink()
        shutil.rmtree(world.folder / "two")
        await until(lambda: any(entry["event"] == "source" for entry in world.logs))
        write(world.folder / "two/c.yaml", capture("c"))
        world.specs.symlink_to("two")
        await until(lambda: admitted(world, "c"))
        assert [world.record(name).outcome for name in "abc"] == [None] * 3


async def test_a_broken_file_is_refused_when_it_is_written(world: World) -> None:
    async with world.running(watch=True) as agent:
        write(world.specs / "a.yaml", "a: [")
        await until(lambda: agent._chronicle.last is not None and len(agent._chronicle.last.refusals) == 1)


async def test_a_source_that_cannot_be_watched_is_told_once_and_scanned_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: str, **__: object) -> None:
        raise OSError(28, "No space left on device", "/specs")

    monkeypatch.setattr("agent.source.watch.Watch.__init__.__defaults__", (full,))
    monkeypatch.setattr("agent.source.watch._AGAIN", 0.001)
    async with world.running(watch=True) as agent:
        await until(lambda: [entry for entry in world.logs if "not watched" in entry["event"]])
        world.capture("a")
        await agent.scan()
        assert admitted(world, "a")
    told = [entry for entry in world.logs if "not watched" in entry["event"]]
    assert [(entry["error"], entry["cause"]) for entry in told] == [("OSError", "No space left on device")]
