"""Folders for one run."""

import asyncio
import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent.store.sqlite.store import SqliteStore

_SHM = Path("/dev/shm")  # a folder in memory, because an fsync on a disk takes longer than the rest of a run
_KEY = "5a" * 32


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for one run, in memory if possible."""
    where = _SHM if os.access(_SHM, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where, prefix="assure-agent-proof-") as name:
        yield Path(name)


@functools.cache
def empty_store() -> dict[str, bytes]:
    """A new state folder. Its creation takes longer than many runs, so the files are cached."""
    with temporary_folder() as folder:
        (folder / "agent.key").write_text(_KEY + "\n")
        store = SqliteStore(folder / "agent.db", None)
        asyncio.run(store.recoveries.close(0.0))  # a key without a state file would count as a lost store
        store.close()
        return {path.name: path.read_bytes() for path in folder.iterdir()}
