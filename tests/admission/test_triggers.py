"""File-system events make the next full scan earlier and withdraw nothing: the trigger, the scan, a running agent."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from agent.admission import SyncResult
from agent.admission.triggers import scan_after_events
from agent.core.record import Outcome
from agent.source.folder import SETTLE_SECONDS, Folder, Scan
from agent.source.safe_read import Content, FolderReader, ReadFailure
from tests.controller.controller_harness import ControllerHarness, desk_at
from tests.support.clock import until
from tests.support.environment import World
from verification.audits import verified
from verification.builders.request_files import capture, write


@pytest.fixture
async def desk(folder: Path) -> AsyncIterator[ControllerHarness]:
    async with desk_at(folder) as desk:
        await desk.scan()
        yield desk
        assert not verified(desk.store.path).findings


# -- the trigger -----------------------------------------------------------------------------------------------------


def synced(retry_after: float | None = None) -> SyncResult:
    return SyncResult(scan=Scan(complete=True, retry_after=retry_after, files=1), refusals=(), waiting=0, absent=0)


class Script:
    """A clock that jumps, and scans of a given duration that return given results; `done` has the time of each scan."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *results: SyncResult | Exception, seconds: float = 0.0) -> None:
        self.now, self.seconds = 0.0, seconds
        self.results, self.done = list(results), list[float]()
        self.events: list[float] = []  # times at which the folder changes
        self.errors: list[Exception] = []
        self.changed = asyncio.Event()
        monkeypatch.setattr("agent.admission.triggers.monotonic", lambda: self.now)
        monkeypatch.setattr("agent.admission.triggers.asyncio.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.0)

    async def scan(self, *, prune: bool) -> SyncResult:
        assert not prune
        self.done.append(round(self.now, 2))
        self.now += self.seconds
        result = self.results.pop(0)
        if self.events and self.events[0] <= self.now:
            self.events.pop(0)
            self.changed.set()
        if not self.results and not self.changed.is_set() and not isinstance(result, Exception):
            self.changed.set()
            raise asyncio.CancelledError
        if isinstance(result, Exception):
            raise result
        return result

    async def run(self) -> list[float]:
        self.changed.set()
        with contextlib.suppress(asyncio.CancelledError, IndexError):
            await scan_after_events(self, self.changed, self.errors.append)
        return self.done


async def test_one_scan_follows_all_events_within_the_settle_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Script(monkeypatch, synced()).run() == [0.26]


async def test_the_next_scan_runs_when_a_file_that_changed_again_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await Script(monkeypatch, synced(0.1), synced()).run() == [0.26, 0.36]


async def test_an_event_during_a_scan_starts_another_scan_and_long_scans_keep_their_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(monkeypatch, synced(), synced(), seconds=2.0)
    script.events = [1.0]
    assert await script.run() == [0.26, 4.25]


async def test_a_scan_that_fails_is_reported_and_the_next_event_starts_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failure = ValueError("a bug")
    script = Script(monkeypatch, failure, synced())
    script.events = [0.0]
    assert len(await script.run()) == 2
    assert script.errors[0] is failure


# -- a scan after an event -------------------------------------------------------------------------------------------


async def test_scans_after_events_withdraw_nothing(desk: ControllerHarness) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    path.unlink()
    for _ in range(3):
        assert (await desk.admission.scan(prune=False)).absent == 0
    assert desk.outcomes("a") == [None]
    await desk.scan(2)
    assert desk.outcomes("a", "b") == [Outcome.WITHDRAWN, None]


async def test_a_name_that_an_event_shows_between_two_scans_was_never_absent(desk: ControllerHarness) -> None:
    desk.upload("b")
    path = desk.upload("a")
    await desk.scan()
    text = path.read_text()
    path.unlink()
    await desk.scan()
    path.write_text(text)
    await desk.admission.scan(prune=False)
    path.unlink()
    await desk.scan()
    assert desk.outcomes("a") == [None]
    await desk.scan()
    assert desk.outcomes("a") == [Outcome.WITHDRAWN]


async def test_a_scan_after_an_event_admits_changes_and_refuses(desk: ControllerHarness) -> None:
    """[I9]"""
    desk.upload("a")
    desk.upload("b")
    (desk.images / "a/front.jpg").unlink()
    result = await desk.admission.scan(prune=False)
    assert ([fault.name for fault in result.refusals], desk.find("a")) == (["a"], None)
    assert desk.record("b").generation == 1
    desk.upload("b", document_id=138)
    await desk.admission.scan(prune=False)
    assert desk.record("b").generation == 2


# -- a running agent -----------------------------------------------------------------------------------------------


def admitted(world: World, *names: str) -> bool:
    return {*names} <= world.records().keys()


async def test_one_scan_reads_a_new_file_of_a_running_agent_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file younger than the settle time is read by one scan, which the trigger schedules."""
    reads, scans = list[str](), list[bool]()
    read, scan = FolderReader.read_file, Folder.scan

    def counted(reader: FolderReader, name: str, limit: int) -> Content | ReadFailure:
        reads.append(name)
        return read(reader, name, limit)

    def counted_scan(self: Folder) -> object:
        seen = scan(self)
        scans.append("a" in seen.documents)
        return seen

    monkeypatch.setattr(FolderReader, "read_file", counted)
    monkeypatch.setattr(Folder, "scan", counted_scan)
    async with world.running(watch=True) as agent:
        folder = agent._admission._source._folder  # type: ignore[attr-defined]
        folder._options = replace(folder._options, settle=SETTLE_SECONDS)
        await until(lambda: scans)  # when the watch began; the scan at the start is gradual
        scans.clear()
        world.capture("a")
        await until(lambda: admitted(world, "a"))
        assert reads == ["a.yaml"]
        assert (scans[-1], len(scans)) == (True, 1)


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
        await until(lambda: any(entry["event"] == "the source cannot be read" for entry in world.logs))
        write(world.folder / "two/c.yaml", capture("c"))
        world.specs.symlink_to("two")
        await until(lambda: admitted(world, "c"))
        assert [world.record(name).outcome for name in "abc"] == [None] * 3


async def test_a_broken_file_is_refused_when_it_is_written(world: World) -> None:
    async with world.running(watch=True) as agent:
        write(world.specs / "a.yaml", "a: [")
        await until(lambda: agent._telemetry.last_sync is not None and len(agent._telemetry.last_sync.refusals) == 1)


async def test_a_source_that_cannot_be_watched_is_reported_once_and_scanned_at_intervals(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: str, **__: object) -> None:
        raise OSError(28, "No space left on device", "/specs")

    monkeypatch.setattr("agent.source.watch.Watch.__init__.__defaults__", (full,))
    monkeypatch.setattr("agent.source.watch._RETRY_SECONDS", 0.001)
    async with world.running(watch=True) as agent:
        await until(lambda: [entry for entry in world.logs if "cannot watch the source" in entry["event"]])
        world.capture("a")
        await agent.scan()
        assert admitted(world, "a")
    reported = [entry for entry in world.logs if "cannot watch the source" in entry["event"]]
    assert [(entry["error"], entry["cause"]) for entry in reported] == [("OSError", "No space left on device")]
