"""Read one file below a folder: no link leads out of it, no FIFO blocks, no more than a limit is read.

The path is walked from the folder down without following anything. Where a link is met, the path is resolved, compared,
and walked again in the same way, so that a link that is swapped in between is refused and not followed.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

Signature = tuple[int, int, int, int]  # size, ctime and mtime in nanoseconds, inode: another one, another content

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK = 1 << 20


class Why(StrEnum):
    """Why there is no content."""

    MISSING = "missing"  # nothing there, or a link that leads nowhere
    OUTSIDE = "outside"  # a link leads out of the folder
    IRREGULAR = "irregular"  # a folder, a FIFO, a device
    TOO_LARGE = "too-large"  # larger than the limit
    CHANGING = "changing"  # written to while it was read; passing
    UNREADABLE = "unreadable"  # no permission, or the disk failed


@dataclass(frozen=True, slots=True)
class Left:
    """A file that was not deleted: why, and the errno when the system refused; 0: it is not ours to delete."""

    why: Why
    errno: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, and its signature while they were read."""

    content: bytes
    signature: Signature

    def __repr__(self) -> str:
        return f"Content({len(self.content)} bytes)"


def signature(status: os.stat_result) -> Signature:
    """What tells that a file was changed."""
    return status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino


def why(error: OSError) -> Why:
    """What an error of the file system means for the reader."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return Why.MISSING
    if error.errno == errno.ENXIO:  # a socket
        return Why.IRREGULAR
    return Why.UNREADABLE


def read_beneath(root: str, path: str, limit: int) -> Content | Why:
    """The file at `path` below `root`, at most `limit` bytes. `root` is a resolved path. Never raises an OSError."""
    try:
        file = _open(root, path.split("/"))
        if file is None:
            inside, real = root.rstrip("/") + "/", os.path.realpath(f"{root}/{path}", strict=True)
            file = _open(root, real.removeprefix(inside).split("/")) if real.startswith(inside) else None
    except OSError as error:
        return why(error)
    if file is None:
        return Why.OUTSIDE
    try:
        return _read(file, limit)
    except OSError:
        return Why.UNREADABLE
    finally:
        os.close(file)


def remove_beneath(root: str, path: str, limit: int, is_it: Callable[[bytes], bool]) -> Left | None:
    """Delete the file at `path` below `root`, when its content is the right one; None when it is deleted, on disk.

    No link is followed, not even one that stays below: what another name leads to is not ours to delete. A content
    that is not the right one is told as CHANGING. Where `root` itself is not there, as when it is not mounted, nothing
    is known of the file: that is an errno. Never raises an OSError.
    """
    *parts, name = path.split("/")
    if not _names([*parts, name]):
        return Left(Why.OUTSIDE)
    if not Path(root).is_dir():
        return Left(Why.UNREADABLE, errno.ENOENT)
    try:
        with contextlib.ExitStack() as stack:
            if (folder := _folder(root, parts)) is None:
                return Left(Why.OUTSIDE)
            stack.callback(os.close, folder)
            file = os.open(name, _FILE, dir_fd=folder)
            stack.callback(os.close, file)
            found = _read(file, limit)
            if not isinstance(found, Content):
                return Left(found, errno.EAGAIN if found is Why.CHANGING else 0)
            here = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if signature(here) != found.signature:
                return Left(Why.CHANGING, errno.EAGAIN)
            if not is_it(found.content):
                return Left(Why.CHANGING)
            os.unlink(name, dir_fd=folder)
            written = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
            stack.callback(os.close, written)
            os.fsync(written)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return Left(Why.OUTSIDE)
        reason = why(error)
        return Left(reason, error.errno or errno.EIO if reason is Why.UNREADABLE else 0)
    return None


def _open(root: str, parts: list[str]) -> int | None:
    """A descriptor of the file, reached without following a link; None when there is one, or when a part is no name."""
    if not _names(parts) or (folder := _folder(root, parts[:-1])) is None:
        return None
    try:
        return os.open(parts[-1], _FILE, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return None
        raise
    finally:
        os.close(folder)


def _names(parts: list[str]) -> bool:
    return {"", ".", ".."}.isdisjoint(parts)


def _folder(root: str, parts: list[str]) -> int | None:
    """A descriptor of a folder, in the same way."""
    folder = os.open(root, _FOLDER)
    try:
        for part in parts:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
    except OSError as error:
        os.close(folder)
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return None
        raise
    return folder


def _read(file: int, limit: int) -> Content | Why:
    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        return Why.IRREGULAR
    if before.st_size > limit:
        return Why.TOO_LARGE
    content = bytearray()
    while len(content) <= limit and (chunk := os.read(file, min(_CHUNK, limit + 1 - len(content)))):
        content += chunk
    after = signature(os.fstat(file))
    if after != signature(before) or len(content) != before.st_size:
        return Why.CHANGING
    return Content(bytes(content), after)
