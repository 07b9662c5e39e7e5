"""The locks that SQLite holds on a state file, as the kernel has them."""

import os
from pathlib import Path

import pytest

TABLE = Path("/proc/locks")


def locks(state: Path) -> set[tuple[str, ...]]:
    """File, kind, first and last byte of each POSIX lock of this process on the state file and what belongs to it."""
    if not TABLE.exists():
        pytest.skip("only Linux shows the holder of a lock")
    names = {str(path.stat().st_ino): path.name for path in state.parent.glob(state.name + "*")}
    held = set()
    for line in TABLE.read_text().splitlines():
        _, family, _, kind, pid, place, first, last = line.split()[:8]
        inode = place.rpartition(":")[2]
        if family == "POSIX" and int(pid) == os.getpid() and inode in names:
            held.add((names[inode], kind, first, last))
    return held
