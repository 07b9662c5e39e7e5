"""Watch the folder of request files: a hint that something is new, never the truth. The truth is the full scan.

A watch sees what happens below the folder that it was put on. It does not see that a link now leads elsewhere (git-sync
publishes so), or that another folder stands in the place of the one that was moved away. So whenever the watch has
nothing to tell, four times a second, the path is resolved again; when it leads to another folder, that one is watched.
This needs no watch on any parent, and finds a link anywhere in the path.

The watch follows a linked folder that is there when it begins, wherever it leads. The scan does not follow it, so where
one leads out of the source, each real folder is watched for itself instead.

Whatever goes wrong is told once and tried again later; until then requests are found by the scan at intervals.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from watchfiles import Change, watch
from watchfiles._rust_notify import WatchfilesRustInternalError

from agent.source.ignore import IGNORE_FILE, is_request_file

_DEBOUNCE = 200  # milliseconds for which changes are gathered at most
_STEP = 20  # milliseconds without a change after which they are told
_POLL_MS = 250  # milliseconds between two looks at where the path leads
_RETRY_SECONDS = 30.0  # seconds until a watch that failed is tried again
_DECODE_ERROR = "Unable to decode path"  # what watchfiles says of a name that is not UTF-8
_MANY = 10_000  # more files than this are not told one by one

Batch = set[tuple[Change, str]]
Watcher = Callable[..., Generator[Batch, None, None]]


@dataclass(frozen=True, slots=True)
class Hint:
    """What may be new: these files, as paths below the folder; with `everything`, what only a scan can tell."""

    files: frozenset[str] = frozenset()
    everything: bool = False

    def __or__(self, other: "Hint") -> "Hint":
        files = self.files | other.files
        many = len(files) > _MANY
        return Hint(frozenset() if many else files, self.everything or other.everything or many)

    def __bool__(self) -> bool:
        return self.everything or bool(self.files)


EVERYTHING = Hint(everything=True)


class Watch:
    """Hints about one folder, from a thread of its own. Use `watching`. `troubled(error)` hears of a watch that failed,
    once until it works again.
    """

    def __init__(self, path: Path, troubled: Callable[[Exception], None], watcher: Watcher = watch) -> None:
        self._path, self._troubled, self._watcher = path, troubled, watcher
        self._hint = Hint()
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._ending = threading.Event()
        self._healthy = True
        self._location = False  # at the last look
        self.thread = threading.Thread(target=self._run, name="source-watch", daemon=True)

    async def next(self, patience: float | None = None) -> Hint:
        """All that was seen since the last call; waits for something, or for `patience` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._wake.wait()
        self._wake.clear()
        hint, self._hint = self._hint, Hint()
        return hint

    def end(self) -> None:
        """Tell nothing more. The thread ends by itself within some milliseconds."""
        self._ending.set()

    # -- in the loop -----------------------------------------------------------------------------------------

    def _notify(self, hint: Hint) -> None:
        self._hint |= hint
        self._wake.set()

    def _notify_failure(self, error: Exception) -> None:
        if self._healthy:
            self._troubled(error)
        self._healthy = False

    def _works(self) -> None:
        self._healthy = True

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._follow()
                pause = _POLL_MS / 1000
            except FileNotFoundError:  # it went away while it was looked at
                pause = _POLL_MS / 1000
            except Exception as error:  # a watch is a convenience: whatever it is, the scan goes on
                self._call(self._notify_failure, error)
                pause = _RETRY_SECONDS
            self._ending.wait(pause)

    def _follow(self) -> None:
        """Watch the folder as long as it is the one that the path leads to."""
        place, was_there = _place(self._path), self._location
        self._location = place is not None
        if place is None:
            if was_there:  # it went away when nobody watched
                self._call(self._notify, EVERYTHING)
            return
        root = place[0]
        folders, leads_out = _folders(root)
        known = frozenset(folders) if leads_out else None
        begun = False
        try:
            with contextlib.closing(self._batches(folders if leads_out else [root], not leads_out)) as batches:
                for batch in batches:
                    if not begun:
                        begun = True
                        self._call(self._works)
                        self._call(self._notify, EVERYTHING)  # changes before this moment were not seen
                    elif hint := hint_for(root, batch):
                        self._call(self._notify, hint)
                    if any(path == root for _, path in batch) or _place(self._path) != place or _is_new(batch, known):
                        break
        except WatchfilesRustInternalError as error:
            if _DECODE_ERROR not in str(error):
                raise
            # Something touched a file whose name is not UTF-8, if only to read it, perhaps before the first batch.
            # This watcher cannot tell of it: a scan can, and the watch is begun anew.
        self._call(self._notify, EVERYTHING)

    def _batches(self, folders: list[str], recursive: bool) -> Generator[Batch, None, None]:
        return self._watcher(
            *folders,
            watch_filter=None,
            debounce=_DEBOUNCE,
            step=_STEP,
            stop_event=self._ending,
            rust_timeout=_POLL_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=recursive,
            ignore_permission_denied=True,
        )

    def _call(self, what: Callable[..., None], *values: object) -> None:
        if not self._ending.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(what, *values)


@contextlib.contextmanager
def watching(path: Path, troubled: Callable[[Exception], None]) -> Iterator[Watch]:
    """Watch a folder, which need not be there, until the block ends. Call it in the running loop."""
    one = Watch(path, troubled)
    one.thread.start()
    try:
        yield one
    finally:
        one.end()


def hint_for(root: str, batch: Batch) -> Hint:
    """What a batch of changes means for the files that a scan reads. What is absent is left to the scans."""
    files: set[str] = set()
    everything = False
    for change, path in batch:
        below = path.removeprefix(root + "/")
        parts = below.split("/")
        if any(part.startswith("..") for part in parts):
            everything = True  # the `..data` of a ConfigMap: the files are links through it
        elif below == IGNORE_FILE:
            everything = True
        elif change is Change.deleted or below == path or any(part.startswith(".") for part in parts):
            continue
        elif is_request_file(below):
            files.add(below)
        elif os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114 - no Path objects here
            files.update(_files(root, path))
    return Hint(everything=everything) | Hint(frozenset(files))


def _files(root: str, folder: str) -> Iterator[str]:
    """The request files in a folder that is new: what was written before it was watched has no change of its own."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = place.removeprefix(root + "/")
        yield from (f"{below}/{name}" for name in names if is_request_file(name) and not name.startswith("."))


def _place(path: Path) -> tuple[str, int, int] | None:
    """Which folder the path leads to now."""
    try:
        real = os.path.realpath(path, strict=True)
        status = os.stat(real)  # noqa: PTH116
    except OSError:
        return None
    return real, status.st_dev, status.st_ino


def _folders(root: str) -> tuple[list[str], bool]:
    """Every real folder from the root down, and whether some linked one leads out of it."""
    found, leads_out = [root], False
    for folder in found:  # it grows meanwhile
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.path)
                elif entry.is_symlink() and entry.is_dir():
                    leads_out = leads_out or not os.path.realpath(entry.path).startswith(root + "/")
    return found, leads_out


def _is_new(batch: Batch, known: frozenset[str] | None) -> bool:
    """True when each folder is watched for itself, and there is another one now."""
    if known is None:
        return False
    return any(
        change is Change.added and path not in known and os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112, PTH114
        for change, path in batch
    )
