"""Watch the source folder. A file-system event only makes the next full scan earlier; the scan is the truth.

A watch covers the folder that it was put on. It misses a link that now leads elsewhere (git-sync publishes so), and a
folder that was moved away and replaced. Therefore the path is resolved again four times a second while there is no
event. If it leads to another folder, that folder is watched. This needs no watch on any parent folder.

A watch follows every linked folder that exists when it begins. The scan does not follow a link that leads out of the
source. If there is such a link, each real folder is watched on its own.

A watch that fails is reported once and retried. Until then the scan at intervals finds new files.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from watchfiles import Change, watch
from watchfiles._rust_notify import WatchfilesRustInternalError

from agent.source.ignore import IGNORE_FILE, is_request_file

_DEBOUNCE_MS = 200  # events are collected for so long at most
_STEP_MS = 20  # events are reported after so long without another one
_POLL_MS = 250  # between two checks where the path leads
_RETRY_SECONDS = 30.0  # until a watch that failed is tried again
_DECODE_ERROR = "Unable to decode path"  # the error of watchfiles for a name that is not UTF-8

Batch = set[tuple[Change, str]]
Watcher = Callable[..., Generator[Batch, None, None]]


class Watch:
    """Sets `changed` when the folder may contain something new, from a thread of its own. Use `watching`.

    `on_error(error)` is called for a watch that fails, once until it works again.
    """

    def __init__(self, path: Path, on_error: Callable[[Exception], None], watcher: Watcher = watch) -> None:
        self.changed = asyncio.Event()
        self._path, self._on_error, self._watcher = path, on_error, watcher
        self._loop = asyncio.get_running_loop()
        self._ending = threading.Event()
        self._healthy = True
        self._existed = False  # when the path was last resolved
        self.thread = threading.Thread(target=self._run, name="source-watch", daemon=True)

    def end(self) -> None:
        """Report nothing more. The thread ends by itself within some milliseconds."""
        self._ending.set()

    # -- in the loop -----------------------------------------------------------------------------------------

    def _notify_failure(self, error: Exception) -> None:
        if self._healthy:
            self._on_error(error)
        self._healthy = False

    def _notify_success(self) -> None:
        self._healthy = True

    # -- in the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                self._follow()
                pause = _POLL_MS / 1000
            except FileNotFoundError:  # deleted between two steps of `_follow`
                pause = _POLL_MS / 1000
            except Exception as error:  # any failure: the scan at intervals does the work
                self._call(self._notify_failure, error)
                pause = _RETRY_SECONDS
            self._ending.wait(pause)

    def _follow(self) -> None:
        """Watch the folder as long as the path leads to it."""
        place, existed = _place(self._path), self._existed
        self._existed = place is not None
        if place is None:
            if existed:  # it was deleted while no watch was on it
                self._call(self.changed.set)
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
                        self._call(self._notify_success)
                        self._call(self.changed.set)  # for all changes before the watch began
                    elif any(needs_scan(root, path) for _, path in batch):
                        self._call(self.changed.set)
                    if any(path == root for _, path in batch) or _place(self._path) != place or _is_new(batch, known):
                        break
        except WatchfilesRustInternalError as error:
            if _DECODE_ERROR not in str(error):
                raise
            # Something touched a file whose name is not UTF-8, perhaps only to read it. The watcher cannot report it.
            # A scan can read it, and the watch starts again.
        self._call(self.changed.set)

    def _batches(self, folders: list[str], recursive: bool) -> Generator[Batch, None, None]:
        return self._watcher(
            *folders,
            watch_filter=None,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            stop_event=self._ending,
            rust_timeout=_POLL_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            recursive=recursive,
            ignore_permission_denied=True,
        )

    def _call(self, callback: Callable[..., None], *values: object) -> None:
        if not self._ending.is_set():
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(callback, *values)


@contextlib.contextmanager
def watching(path: Path, on_error: Callable[[Exception], None]) -> Iterator[asyncio.Event]:
    """Watch a folder, which need not exist, until the block ends. The event is set by each change.

    Call it in the running loop.
    """
    one = Watch(path, on_error)
    one.thread.start()
    try:
        yield one.changed
    finally:
        one.end()


def needs_scan(root: str, path: str) -> bool:
    """True if a change of this path may change what a scan finds: a request file, a folder, or the ignore list."""
    below = path.removeprefix(f"{root}/")
    parts = below.split("/")
    if below == IGNORE_FILE or any(part.startswith("..") for part in parts):  # `..data`: the links of a ConfigMap
        return True
    if below == path or any(part.startswith(".") for part in parts):
        return False
    return is_request_file(below) or (os.path.isdir(path) and not os.path.islink(path))  # noqa: PTH112, PTH114


def _place(path: Path) -> tuple[str, int, int] | None:
    """The folder that the path leads to now: path, device and inode. None: there is none."""
    try:
        real = os.path.realpath(path, strict=True)
        status = os.stat(real)  # noqa: PTH116
    except OSError:
        return None
    return real, status.st_dev, status.st_ino


def _folders(root: str) -> tuple[list[str], bool]:
    """Every real folder from the root down, and True if a linked folder leads out of the root."""
    found, leads_out = [root], False
    for folder in found:  # it grows in the loop
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    found.append(entry.path)
                elif entry.is_symlink() and entry.is_dir():
                    leads_out = leads_out or not os.path.realpath(entry.path).startswith(root + "/")
    return found, leads_out


def _is_new(batch: Batch, known: frozenset[str] | None) -> bool:
    """True if each folder is watched on its own, and there is a new one."""
    if known is None:
        return False
    return any(
        change is Change.added and path not in known and os.path.isdir(path) and not os.path.islink(path)  # noqa: PTH112, PTH114
        for change, path in batch
    )
