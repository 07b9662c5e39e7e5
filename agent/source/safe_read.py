"""Read one file below a folder: never through a link that leads out, never from a FIFO, never more than a limit.

The path is opened part by part from the folder down, without following links. If a part is a link, the path is resolved
and compared with the folder. Then it is opened again part by part, so a link that was swapped meanwhile is refused.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from agent.platform.files import fsync_folder

FileIdentity = tuple[int, int, int, int]  # size, ctime and mtime in nanoseconds, inode

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
_ROOT = _FOLDER & ~os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class ReadFailure(StrEnum):
    """Why a file could not be read."""

    MISSING = "missing"  # no such file, or a link that leads nowhere
    OUTSIDE = "outside"  # a link leads out of the folder
    IRREGULAR = "irregular"  # a folder, a FIFO, a device
    TOO_LARGE = "too-large"  # larger than the limit
    CHANGING = "changing"  # written while it was read
    UNREADABLE = "unreadable"  # no permission, or a disk error


@dataclass(frozen=True, slots=True)
class NotDeleted:
    """A file that was not deleted: the reason, and the errno of the system, or 0 if the agent must not delete it."""

    reason: ReadFailure
    errno: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a file, and its identity and device while they were read."""

    content: bytes
    identity: FileIdentity
    device: int

    def __repr__(self) -> str:
        return f"Content({len(self.content)} bytes)"


def file_identity(status: os.stat_result) -> FileIdentity:
    """The identity of a file's content: it differs after each change."""
    return status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino


def read_failure(error: OSError) -> ReadFailure:
    """The meaning of a file-system error."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
        return ReadFailure.MISSING
    if error.errno == errno.ENXIO:  # a socket
        return ReadFailure.IRREGULAR
    return ReadFailure.UNREADABLE


def read_beneath(root: str, path: str, limit: int) -> Content | ReadFailure:
    """Read the file at `path` below `root`, at most `limit` bytes. Never raises an OSError.

    `root` itself may be a link: it comes from the settings.
    """
    try:
        file = _open_beneath(root, path)
    except OSError as error:
        return read_failure(error)
    return ReadFailure.OUTSIDE if file is None else _read_and_close(file, limit)


class FolderReader:
    """Reads files of one folder below `root`, each as `read_beneath` does. The folder is opened once.

    `prefix` is the path of the folder with a slash, or empty. Without the repeated opening, a new file needs 5 system
    calls instead of 9.
    """

    def __init__(self, root: str, prefix: str) -> None:
        self._root, self._prefix = root, prefix
        self._folder: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            os.close(self._folder)

    def read_file(self, name: str, limit: int) -> Content | ReadFailure:
        """Read the file of this name, at most `limit` bytes. Never raises an OSError."""
        parts = self._prefix.split("/")[:-1]
        try:
            if self._folder is None and _names(parts):
                self._folder = _folder(self._root, parts)
            file = None if self._folder is None else os.open(name, _FILE, dir_fd=self._folder)
        except OSError:
            file = None
        if file is None:  # a link, or a failure: `read_beneath` says which
            return read_beneath(self._root, self._prefix + name, limit)
        return _read_and_close(file, limit)


def identify_beneath(root: str, path: str) -> tuple[FileIdentity, int] | None:
    """The identity and the device of the file that `read_beneath` would read; None if it cannot be opened."""
    try:
        file = _open_beneath(root, path)
        if file is None:
            return None
        try:
            status = os.fstat(file)
        finally:
            os.close(file)
    except OSError:
        return None
    return file_identity(status), status.st_dev


def remove_beneath(root: str, path: str, limit: int, matches: Callable[[bytes], bool]) -> NotDeleted | None:
    """Delete the file at `path` below `root` if its content matches. None: it is deleted, and the folder is synced.

    It follows no link, not even one that stays below `root`. A content that does not match is CHANGING. A missing
    `root`, as for a volume that is not mounted, proves nothing about the file: the result has an errno. Never raises an
    OSError.
    """
    *parts, name = path.split("/")
    if not _names([*parts, name]):
        return NotDeleted(ReadFailure.OUTSIDE)
    if not Path(root).is_dir():
        return NotDeleted(ReadFailure.UNREADABLE, errno.ENOENT)
    try:
        with contextlib.ExitStack() as stack:
            if (folder := _folder(root, parts)) is None:
                return NotDeleted(ReadFailure.OUTSIDE)
            stack.callback(os.close, folder)
            file = os.open(name, _FILE, dir_fd=folder)
            stack.callback(os.close, file)
            found = _read(file, limit)
            if not isinstance(found, Content):
                return NotDeleted(found, errno.EAGAIN if found is ReadFailure.CHANGING else 0)
            here = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if file_identity(here) != found.identity:
                return NotDeleted(ReadFailure.CHANGING, errno.EAGAIN)
            if not matches(found.content):
                return NotDeleted(ReadFailure.CHANGING)
            os.unlink(name, dir_fd=folder)
            fsync_folder(".", dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return NotDeleted(ReadFailure.OUTSIDE)
        reason = read_failure(error)
        return NotDeleted(reason, error.errno or errno.EIO if reason is ReadFailure.UNREADABLE else 0)
    return None


def _open_beneath(root: str, path: str) -> int | None:
    """A descriptor of the file; None if a link leads out of the folder."""
    file = _open(root, path.split("/"))
    if file is not None:
        return file
    root = os.path.realpath(root)
    inside, real = root.rstrip("/") + "/", os.path.realpath(f"{root}/{path}", strict=True)
    return _open(root, real.removeprefix(inside).split("/")) if real.startswith(inside) else None


def _open(root: str, parts: list[str]) -> int | None:
    """A descriptor of the file, opened without following a link; None for a link, or for an invalid part."""
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
    """A descriptor of a folder, opened in the same way."""
    folder = os.open(root, _ROOT)
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


def _read_and_close(file: int, limit: int) -> Content | ReadFailure:
    try:
        return _read(file, limit)
    except OSError:
        return ReadFailure.UNREADABLE
    finally:
        os.close(file)


def _read(file: int, limit: int) -> Content | ReadFailure:
    before = os.fstat(file)
    if not stat.S_ISREG(before.st_mode):
        return ReadFailure.IRREGULAR
    if before.st_size > limit:
        return ReadFailure.TOO_LARGE
    size = before.st_size
    content = os.read(file, size + 1)  # one more, to see that the file is longer than its size
    while 0 < len(content) < size and (more := os.read(file, size + 1 - len(content))):
        content += more
    after = file_identity(os.fstat(file))
    if after != file_identity(before) or len(content) != size:
        return ReadFailure.CHANGING
    return Content(content, after, before.st_dev)
