"""The watch, with real files and real inotify. Each test waits for an event, never for a time."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from watchfiles import Change
from watchfiles._rust_notify import WatchfilesRustInternalError

from agent.source import watch as module
from agent.source.watch import Watch, needs_scan
from tests.support.timeouts import PATIENT
from verification.builders.request_files import upload, write


class Events:
    """The events of a watch."""

    def __init__(self, changed: asyncio.Event, errors: list[Exception]) -> None:
        self.changed, self.errors = changed, errors

    async def next(self) -> None:
        """Wait for an event."""
        async with asyncio.timeout(PATIENT):
            await self.changed.wait()
        self.changed.clear()

    async def quiet(self) -> None:
        """Wait until the events of earlier changes have passed."""
        while True:
            try:
                async with asyncio.timeout(0.5):
                    await self.changed.wait()
            except TimeoutError:
                return
            self.changed.clear()

    async def eventually(self, path: Path) -> None:
        """Write a file until the watch reports it: the folder is watched again at some later moment."""
        await self.quiet()
        async with asyncio.timeout(PATIENT):
            while not self.changed.is_set():
                write(path, upload("a"))
                await asyncio.sleep(0.1)
        self.changed.clear()


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Events]:
    """A running watch."""
    errors: list[Exception] = []
    watch = Watch(path, errors.append)
    watch.thread.start()
    events = Events(watch.changed, errors)
    try:
        if path.exists():
            await events.next()
        yield events
    finally:
        watch.end()
    await asyncio.to_thread(watch.thread.join, PATIENT)
    assert not watch.thread.is_alive()


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    path = tmp_path / "specs"
    path.mkdir()
    return path


async def test_a_file_that_is_written_changed_or_deleted_is_reported(specs: Path) -> None:
    (specs / "team").mkdir()
    async with listening(specs) as events:
        write(specs / "team/a.yaml", upload("a"))
        await events.next()
        await events.quiet()
        write(specs / "team/a.yaml", upload("b"))
        await events.next()
        await events.quiet()
        (specs / "team/a.yaml").unlink()
        await events.next()


async def test_a_file_that_is_renamed_into_place_is_reported(specs: Path) -> None:
    async with listening(specs) as events:
        write(specs / ".a.tmp", upload("a"))
        await events.quiet()
        (specs / ".a.tmp").rename(specs / "a.yaml")
        await events.next()


async def test_a_folder_that_is_moved_in_is_reported_and_watched(tmp_path: Path, specs: Path) -> None:
    write(tmp_path / "outside/deep/a.yaml", upload("a"))
    async with listening(specs) as events:
        (tmp_path / "outside").rename(specs / "team")
        await events.next()
        await events.eventually(specs / "team/deep/c.yaml")


async def test_a_file_that_is_hidden_or_not_a_request_is_not_reported(specs: Path) -> None:
    (specs / ".git").mkdir()
    async with listening(specs) as events:
        write(specs / ".git/index", "x")
        write(specs / "README.md", "x")
        await events.quiet()
        write(specs / "README.md", "y")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.changed.wait(), 1.0)


async def test_a_link_that_git_sync_swaps_is_followed(tmp_path: Path) -> None:
    """The link is one of the folders above the source, as with git-sync's worktrees."""
    for version in ("one", "two"):
        write(tmp_path / version / "specs/a.yaml", upload("a"))
    (tmp_path / "current").symlink_to("one")
    async with listening(tmp_path / "current/specs") as events:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "current")
        await events.next()
        await events.eventually(tmp_path / "two/specs/b.yaml")


async def test_a_folder_that_is_deleted_and_made_again_is_watched_again(specs: Path) -> None:
    async with listening(specs) as events:
        shutil.rmtree(specs)
        await events.next()
        specs.mkdir()
        await events.eventually(specs / "b.yaml")
        assert events.errors == []


async def test_a_folder_that_vanishes_with_its_parent_and_returns_is_watched_again(tmp_path: Path) -> None:
    specs = tmp_path / "mount/specs"
    specs.mkdir(parents=True)
    async with listening(specs) as events:
        (tmp_path / "mount").rename(tmp_path / "away")
        await events.next()
        (tmp_path / "away").rename(tmp_path / "mount")
        await events.eventually(specs / "a.yaml")


async def test_a_folder_that_is_not_there_yet_is_watched_once_it_is(tmp_path: Path) -> None:
    async with listening(tmp_path / "later/specs") as events:
        (tmp_path / "later/specs").mkdir(parents=True)
        await events.next()
        await events.eventually(tmp_path / "later/specs/a.yaml")


async def test_the_swap_of_a_config_map_requests_a_scan(specs: Path) -> None:
    for version in ("..v1", "..v2"):
        write(specs / version / "a.yaml", upload("a"))
    (specs / "..data").symlink_to("..v1")
    (specs / "a.yaml").symlink_to("..data/a.yaml")
    async with listening(specs) as events:
        (specs / "..data_tmp").symlink_to("..v2")
        (specs / "..data_tmp").rename(specs / "..data")
        await events.next()


async def test_a_linked_folder_that_leads_out_is_not_watched_and_the_other_folders_are(
    tmp_path: Path, specs: Path
) -> None:
    """A link to / would otherwise watch the whole machine."""
    (tmp_path / "outside").mkdir()
    (specs / "team").mkdir()
    (specs / "linked").symlink_to(tmp_path / "outside")
    async with listening(specs) as events:
        write(specs / "team/a.yaml", upload("a"))
        await events.next()
        await events.quiet()
        write(tmp_path / "outside/y.yaml", upload("y"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(events.changed.wait(), 1.0)
        (specs / "new").mkdir()
        await events.next()  # each folder is watched for itself: this one as well, from now on
        await events.eventually(specs / "new/b.yaml")


async def test_a_watch_that_fails_is_reported_once_and_tried_again(
    specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many watches, or any other error: the scan at intervals continues, and the watch never ends."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)
    attempts: list[int] = []

    def failing(*paths: str, **options: Any) -> Iterator[Any]:
        attempts.append(1)
        if len(attempts) < 5:
            raise OSError(28, "No space left on device")
        yield from module.watch(*paths, **options)

    troubles: list[Exception] = []
    watch = Watch(specs, troubles.append, failing)  # type: ignore[arg-type]
    watch.thread.start()
    events = Events(watch.changed, troubles)
    await events.next()
    write(specs / "a.yaml", upload("a"))
    await events.next()
    watch.end()
    assert [type(error) for error in troubles] == [OSError]


def test_a_path_that_is_hidden_or_not_a_request_needs_no_scan(specs: Path) -> None:
    (specs / "team").mkdir()
    root = str(specs)
    for name in (".git/index", ".a.yaml", "README.md", "deleted"):
        assert not needs_scan(root, f"{root}/{name}"), name
    assert not needs_scan(root, root)
    for name in ("a.yaml", "team/A.YML", "team", ".assureignore", "..data"):
        assert needs_scan(root, f"{root}/{name}"), name


async def test_a_name_that_is_not_utf8_does_not_end_the_watch(specs: Path) -> None:
    async with listening(specs) as events:
        (Path(os.fsdecode(os.fsencode(specs) + b"/\xff.yaml"))).touch()
        await events.next()  # a scan reads that name
        await events.eventually(specs / "a.yaml")
        assert events.errors == []


async def test_such_a_name_before_the_first_batch_does_not_end_the_watch_either(specs: Path) -> None:
    """A read of the file is enough, and a scan reads it while the watch starts again."""
    failures = iter([WatchfilesRustInternalError('Unable to decode path "/specs/\\xFF.yaml" to string')])

    def watcher(*folders: str, **options: Any) -> Iterator[set[tuple[Change, str]]]:
        for failure in failures:
            raise failure
        yield from module.watch(*folders, **options)

    troubles: list[Exception] = []
    watch = Watch(specs, troubles.append, watcher)  # type: ignore[arg-type]
    watch.thread.start()
    try:
        events = Events(watch.changed, troubles)
        await events.next()
        await events.eventually(specs / "a.yaml")
    finally:
        watch.end()
    assert troubles == []
