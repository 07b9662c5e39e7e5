"""Write and remove entries below one folder. No link is followed, and nothing outside of the folder is touched."""

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from agent.source.revisions.mirror import Mirror
from agent.source.revisions.selection import LONGEST_TARGET, Changes, Kind
from agent.source.yaml_reader import Limits

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST = 1 << 40  # bytes of a file without content


class ExportedFolder:
    """An open folder, to be filled. Paths are relative to it, with slashes, and contain no `..`. Raises OSError.

    It keeps the last folder open, and each one above it: entries in the order of their paths cost few system calls.
    A file becomes a hard link if `twin` has the same content there.
    """

    def __init__(self, root: Path, twin: "ExportedFolder | None" = None) -> None:
        self._twin = twin
        self._names: list[bytes] = []
        self._open = [os.open(root, _FOLDER)]
        self._here = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)
        os.close(self._open.pop())

    def write(self, path: bytes, content: bytes | int) -> None:
        """Write a new file, or one of this size without content, which needs no space."""
        folder, name = self._place(path)
        if self._twin is not None and self._twin.lend(path, content, folder):
            return
        file = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
        try:
            if isinstance(content, int):
                os.ftruncate(file, min(content, _LARGEST))
                return
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)

    def lend(self, path: bytes, content: bytes | int, other: int) -> bool:
        """Create a hard link in the folder `other` if the file has this content, or this size. False if it did not."""
        try:
            folder, name = self._place(path, create=False)
            if not _equals(folder, name, content):
                return False
            os.link(name, name, src_dir_fd=folder, dst_dir_fd=other, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # no such file, or no hard links
            return False
        return True

    def link(self, path: bytes, target: bytes | None) -> None:
        """Create a symbolic link. One without a valid target leads to itself, so it leads nowhere."""
        folder, name = self._place(path)
        os.symlink(target if target and b"\0" not in target else name, name, dir_fd=folder)

    def make_folder(self, path: bytes) -> None:
        """Create a folder, unless it exists."""
        self._enter(path)

    def remove(self, path: bytes) -> None:
        """Remove a file, a link or an empty folder, if it exists."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            folder, name = self._place(path, create=False)
            try:
                os.unlink(name, dir_fd=folder)
            except (IsADirectoryError, PermissionError):  # EPERM says the same on some systems
                self.remove_empty(path)

    def remove_empty(self, path: bytes) -> None:
        """Remove a folder if it exists and is empty."""
        try:
            folder, name = self._place(path, create=False)
            os.rmdir(name, dir_fd=folder)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise

    def _place(self, path: bytes, create: bool = True) -> tuple[int, bytes]:
        folder, _, name = path.rpartition(b"/")
        if folder != self._here:
            self._enter(folder, create)
        return self._open[-1], name

    def _enter(self, folder: bytes, create: bool = True) -> None:
        names = folder.split(b"/") if folder else []
        same = 0
        for name, other in zip(names, self._names, strict=False):
            if name != other:
                break
            same += 1
        self._leave(same)
        try:
            for name in names[same:]:
                self._open.append(_open_folder(name, self._open[-1], create))
                self._names.append(name)
        finally:
            self._here = b"/".join(self._names)

    def _leave(self, depth: int) -> None:
        while len(self._names) > depth:
            os.close(self._open.pop())
            self._names.pop()


def apply(mirror: Mirror, changes: Changes, root: Path, current: Path | None = None) -> None:
    """Change the folder `root` from one revision to another. Symbolic links are written last.

    A file that is the same in the folder `current` becomes a hard link. Raises FetchError and OSError.
    """
    by_kind: dict[Kind, dict[str, list[bytes]]] = {kind: {} for kind in Kind}
    for path, entry in changes.written.items():
        by_kind[entry.kind].setdefault(entry.blob, []).append(path)
    files, links = by_kind[Kind.CONTENT], by_kind[Kind.LINK]
    mirror.fetch_blobs([*files, *links])
    with contextlib.ExitStack() as stack:
        twin = None if current is None else stack.enter_context(ExportedFolder(current))
        folder = stack.enter_context(ExportedFolder(root, twin))
        _remove_all(folder, changes.removed)
        for path in changes.folders:
            folder.make_folder(path)
        for path in by_kind[Kind.EMPTY].get("", ()):
            folder.write(path, b"")
        for path, content in _contents(mirror, files, Limits().file_bytes):
            folder.write(path, content)
        for path, content in _contents(mirror, links, LONGEST_TARGET):
            folder.link(path, content if isinstance(content, bytes) else None)


def _contents(mirror: Mirror, paths: Mapping[str, list[bytes]], limit: int) -> Iterator[tuple[bytes, bytes | int]]:
    """The content of each path, or its size if it is above the limit."""
    for blob, content in mirror.contents(paths, limit):
        yield from ((path, content) for path in paths[blob])


def _remove_all(folder: ExportedFolder, paths: Iterable[bytes]) -> None:
    """Remove these entries, then each folder that has become empty."""
    emptied: set[bytes] = set()
    for path in paths:
        folder.remove(path)
        while (path := path.rpartition(b"/")[0]) and path not in emptied:
            emptied.add(path)
    for path in sorted(emptied, key=len, reverse=True):
        folder.remove_empty(path)


def contains_link(folder: str) -> bool:
    """True if a symbolic link is anywhere below the folder. Raises OSError."""
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_symlink():
                    return True
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
    return False


def clone(source: Path, target: Path) -> None:
    """Create a folder with the same files, each a hard link, and the same symbolic links. Raises OSError."""
    target.mkdir(0o700)
    with contextlib.ExitStack() as stack:
        pair = [os.open(folder, _FOLDER) for folder in (source, target)]
        for folder in pair:
            stack.callback(os.close, folder)
        _clone(*pair)


def _clone(source: int, target: int) -> None:
    with os.scandir(source) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                os.mkdir(name, 0o700, dir_fd=target)
                inner = [os.open(name, _FOLDER, dir_fd=folder) for folder in (source, target)]
                try:
                    _clone(*inner)
                finally:
                    for folder in inner:
                        os.close(folder)
            elif entry.is_symlink():
                os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            else:
                os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def _equals(folder: int, name: bytes, content: bytes | int) -> bool:
    with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if isinstance(content, int):
            return size == min(content, _LARGEST)
        return size == len(content) and file.read() == content


def _open_folder(name: bytes, above: int, create: bool) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=above)
    except FileNotFoundError:
        if not create:
            raise
    os.mkdir(name, 0o700, dir_fd=above)
    return os.open(name, _FOLDER, dir_fd=above)
