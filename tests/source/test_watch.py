"""The watch: real files and real inotify; each test waits for what it expects, and never just waits."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from watchfiles._rust_notify import WatchfilesRustInternalError

from agent.source import watch as module
from agent.source.watch import EVERYTHING, Change, Hint, Watch, hinted, watching
from tests.support.timeouts import PATIENT

from .samples import upload, write


class Ear:
    """Hears all hints, and waits for those that a test expects."""

    def __init__(self, hints: Watch, troubles: list[Exception]) -> None:
        self._hints, self.troubles = hints, troubles
        self.heard = Hint()

    async def hears(self, true: Callable[[Hint], bool]) -> Hint:
        """All that was heard, once it is enough; forgotten then."""
        async with asyncio.timeout(PATIENT):
            while not true(self.heard):
                self.heard |= await self._hints.next()
        heard, self.heard = self.heard, Hint()
        return heard

    async def hears_of(self, *files: str) -> None:
        await self.hears(lambda hint: hint.files >= {*files})

    async def comes_to_hear_of(self, path: Path, name: str) -> None:
        """The folder is watched again, some moment from now: write until it is heard of."""
        async with asyncio.timeout(PATIENT):
            while name not in self.heard.files:
                write(path, upload("a"))
                self.heard |= await self._hints.next(0.1)
        self.heard = Hint()

    async def hears_everything(self) -> None:
        await self.hears(lambda hint: hint.everything)


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[Ear]:
    """A watch, once it has begun."""
    troubles: list[Exception] = []
    with watching(path, troubles.append) as hints:
        ear = Ear(hints, troubles)
        if path.exists():
            await ear.hears_everything()
        yield ear
    await asyncio.to_thread(hints.thread.join, PATIENT)
    assert not hints.thread.is_alive()


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    path = tmp_path / "specs"
    path.mkdir()
    return path


async def test_a_file_that_is_written_or_changed_is_named(specs: Path) -> None:
    (specs / "team").mkdir()
    async with listening(specs) as ear:
        write(specs / "team/a.yaml", upload("a"))
        await ear.hears_of("team/a.yaml")
        write(specs / "team/a.yaml", upload("b"))
        await ear.hears_of("team/a.yaml")


async def test_a_file_that_is_renamed_into_place_is_named_under_its_new_name(specs: Path) -> None:
    async with listening(specs) as ear:
        write(specs / ".a.tmp", upload("a")).rename(specs / "a.yaml")
        assert (await ear.hears(bool)) == Hint(frozenset({"a.yaml"}))


async def test_the_files_of_a_folder_that_is_moved_in_are_named(tmp_path: Path, specs: Path) -> None:
    write(tmp_path / "outside/deep/a.yaml", upload("a"))
    write(tmp_path / "outside/.git/b.yaml", upload("b"))
    async with listening(specs) as ear:
        (tmp_path / "outside").rename(specs / "team")
        assert (await ear.hears(bool)).files == {"team/deep/a.yaml"}
        write(specs / "team/deep/c.yaml", upload("c"))
        await ear.hears_of("team/deep/c.yaml")


async def test_a_burst_of_files_is_heard_of_whole(specs: Path) -> None:
    names = {f"{number}.yaml" for number in range(5000)}
    async with listening(specs) as ear:
        for name in names:
            (specs / name).write_text("a")
        await ear.hears_of(*names)


async def test_a_link_that_git_sync_swaps_is_followed(tmp_path: Path) -> None:
    """The link is one of the folders above the source, as with git-sync's worktrees."""
    for version in ("one", "two"):
        write(tmp_path / version / "specs/a.yaml", upload("a"))
    (tmp_path / "current").symlink_to("one")
    async with listening(tmp_path / "current/specs") as ear:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "current")
        await ear.hears_everything()
        await ear.comes_to_hear_of(tmp_path / "two/specs/b.yaml", "b.yaml")


async def test_a_folder_that_is_deleted_and_made_again_is_watched_again(specs: Path) -> None:
    async with listening(specs) as ear:
        shutil.rmtree(specs)
        await ear.hears_everything()
        specs.mkdir()
        await ear.comes_to_hear_of(specs / "b.yaml", "b.yaml")
        assert ear.troubles == []


async def test_a_folder_that_vanishes_with_its_parent_and_returns_is_watched_again(tmp_path: Path) -> None:
    specs = tmp_path / "mount/specs"
    specs.mkdir(parents=True)
    async with listening(specs) as ear:
        (tmp_path / "mount").rename(tmp_path / "away")
        await ear.hears_everything()
        (tmp_path / "away").rename(tmp_path / "mount")
        await ear.comes_to_hear_of(specs / "a.yaml", "a.yaml")


async def test_a_folder_that_is_not_there_yet_is_watched_once_it_is(tmp_path: Path) -> None:
    async with listening(tmp_path / "later/specs") as ear:
        (tmp_path / "later/specs").mkdir(parents=True)
        await ear.hears_everything()
        await ear.comes_to_hear_of(tmp_path / "later/specs/a.yaml", "a.yaml")


async def test_the_swap_of_a_config_map_asks_for_a_scan(specs: Path) -> None:
    for version in ("..v1", "..v2"):
        write(specs / version / "a.yaml", upload("a"))
    (specs / "..data").symlink_to("..v1")
    (specs / "a.yaml").symlink_to("..data/a.yaml")
    async with listening(specs) as ear:
        (specs / "..data_tmp").symlink_to("..v2")
        (specs / "..data_tmp").rename(specs / "..data")
        await ear.hears_everything()


async def test_a_linked_folder_that_leads_out_is_not_watched_and_all_else_is(tmp_path: Path, specs: Path) -> None:
    """A link to / would otherwise watch the whole machine."""
    (tmp_path / "outside").mkdir()
    (specs / "team").mkdir()
    (specs / "linked").symlink_to(tmp_path / "outside")
    async with listening(specs) as ear:
        write(tmp_path / "outside/x.yaml", upload("x"))
        write(specs / "team/a.yaml", upload("a"))
        assert (await ear.hears(bool)).files == {"team/a.yaml"}
        (specs / "new").mkdir()
        await ear.hears_everything()  # each folder is watched for itself: this one as well, from now on
        await ear.comes_to_hear_of(specs / "new/b.yaml", "new/b.yaml")


async def test_a_watch_that_fails_is_told_once_and_tried_again(specs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many watches, or whatever else: the scan at intervals goes on, and the watch never ends."""
    monkeypatch.setattr(module, "_AGAIN", 0.001)
    attempts: list[int] = []

    def failing(*paths: str, **options: Any) -> Iterator[Any]:
        attempts.append(1)
        if len(attempts) < 5:
            raise OSError(28, "No space left on device")
        yield from module.watch(*paths, **options)

    troubles: list[Exception] = []
    hints = Watch(specs, troubles.append, failing)  # type: ignore[arg-type]
    hints.thread.start()
    ear = Ear(hints, troubles)
    await ear.hears_everything()
    write(specs / "a.yaml", upload("a"))
    await ear.hears_of("a.yaml")
    hints.end()
    assert [type(error) for error in troubles] == [OSError]


async def test_hints_add_up_until_they_are_taken(specs: Path) -> None:
    with watching(specs, print) as hints:
        assert await hints.next() == EVERYTHING
        assert await hints.next(0.001) == Hint()


def test_what_is_hidden_deleted_or_no_request_is_no_hint(specs: Path) -> None:
    root = str(specs)
    for change, name in (
        (Change.modified, ".git/index"),
        (Change.added, ".a.yaml"),
        (Change.added, "README.md"),
        (Change.deleted, "a.yaml"),
        (Change.modified, ""),
    ):
        assert not hinted(root, {(change, f"{root}/{name}".rstrip("/"))}), name


def test_very_many_files_ask_for_a_scan() -> None:
    assert Hint(frozenset(map(str, range(6000)))) | Hint(frozenset(map(str, range(5000, 12_000)))) == EVERYTHING


async def test_a_name_that_is_not_utf8_does_not_end_the_watch(specs: Path) -> None:
    async with listening(specs) as ear:
        (Path(os.fsdecode(os.fsencode(specs) + b"/\xff.yaml"))).touch()
        await ear.hears_everything()  # a scan reads that name
        await ear.comes_to_hear_of(specs / "a.yaml", "a.yaml")
        assert ear.troubles == []


async def test_such_a_name_before_the_first_batch_does_not_end_the_watch_either(specs: Path) -> None:
    """To read the file is enough, and a scan does it while the watch is begun anew."""
    failures = iter([WatchfilesRustInternalError('Unable to decode path "/specs/\\xFF.yaml" to string')])

    def watcher(*folders: str, **options: Any) -> Iterator[set[tuple[Change, str]]]:
        for failure in failures:
            raise failure
        yield from module.watch(*folders, **options)

    troubles: list[Exception] = []
    hints = Watch(specs, troubles.append, watcher)  # type: ignore[arg-type]
    hints.thread.start()
    try:
        ear = Ear(hints, troubles)
        await ear.hears_everything()
        await ear.comes_to_hear_of(specs / "a.yaml", "a.yaml")
    finally:
        hints.end()
    assert troubles == []
