"""Durable files: content and names that survive a crash of the machine."""

import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    """Return when the content of the file is on disk."""
    _fsync(os.open(path, os.O_RDWR | os.O_CLOEXEC))


def fsync_folder(folder: Path | str, dir_fd: int | None = None) -> None:
    """Return when the names in the folder are on disk. `dir_fd` is as for `os.open`."""
    _fsync(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 completely or not at all. Both content and name are on disk on return.

    Two processes must not write the same file at once.
    """
    new = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    fsync_folder(path.parent)


def _fsync(handle: int) -> None:
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
