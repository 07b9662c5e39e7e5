"""Folders for one run."""

import asyncio
import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.store.sqlite import SqliteStore

_SHM = Path("/dev/shm")  # a folder in memory: an fsync on a disk takes longer than all the rest
_KEY = "5a" * 32


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one run, in memory where there is such a place."""
    where = _SHM if os.access(_SHM, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="assure-agent-proof-") as name:
        yield Path(name)


@functools.cache
def empty_store() -> dict[str, bytes]:
    """A state folder in which nothing happened yet: to make one takes longer than many a run."""
    with scratch() as folder:
        (folder / "agent.key").write_text(_KEY + "\n")
        store = SqliteStore(folder / "agent.db", None)
        asyncio.run(store.recoveries.close(0.0))  # a key without a state file was taken for a lost one
        store.close()
        return {path.name: path.read_bytes() for path in folder.iterdir()}
