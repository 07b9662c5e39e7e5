"""Mirrors of tests, the failures of their calls, and the git processes that belong to a mirror."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.mirror import Mirror


def opened(folder: Path, url: str, borrowed: Path | None = None, **access: Any) -> Mirror:
    """An open mirror."""
    mirror = Mirror(folder, RepositoryAccess(url=url, **{"branch": "main"} | access), borrowed)
    mirror.open()
    return mirror


def failure(call: Callable[[], object]) -> FetchError:
    """The error of a call that must fail."""
    with pytest.raises(FetchError) as caught:
        call()
    assert caught.value.detail.isprintable()
    return caught.value


def token_file(path: Path, token: str) -> Path:
    """A file that only this user can read."""
    path.touch(0o600)
    path.write_text(token)
    return path


def processes_with(file: Path) -> list[int]:
    """The processes that have this file open, without this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            opened_files = {str(descriptor.readlink()) for descriptor in (process / "fd").iterdir()}
            if str(file) in opened_files and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


def disk_bytes(folder: Path) -> int:
    """The size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
