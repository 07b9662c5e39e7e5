"""The lock of a store: one agent writes to it [I7]."""

import fcntl
import os
from pathlib import Path

from agent.core.errors import StoreLocked


class FileLock:
    """An exclusive lock on a file beside the store, while the process lives. The file names the holder's pid."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._handle, 20).decode("ascii", "replace").strip() or "unknown"
            pid = visible_holder(os.fstat(self._handle).st_ino, holder)
            os.close(self._handle)
            where = f"pid {holder}" if pid else f"pid {holder} of another container or host"
            stop = f"stop it with `kill {pid}`" if pid else "stop it where it runs: its pid means nothing here"
            raise StoreLocked(
                f"Another agent ({where}) uses the state file {path.with_suffix('')}.",
                f"{stop}; or set STATE_URL to another file",
            ) from None
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            os.close(self._handle)
            raise

    def confirm(self) -> None:
        """Raises StoreLocked when the file was removed or replaced by hand: another agent may have locked a new one."""
        try:
            found = self._path.stat()
        except OSError:
            found = None
        if found is not None and os.path.samestat(found, os.fstat(self._handle)):
            return
        state = self._path.with_suffix("")
        if not state.exists():
            raise StoreLocked(
                f"The state file {state} and its lock were removed while this agent (pid {os.getpid()}) used them: it "
                "ends.",
                "put a backup and agent.key back before it starts again; without them all that is in the folder is "
                "verified and billed again",
            )
        raise StoreLocked(
            f"The lock file {self._path} was removed or replaced while this agent (pid {os.getpid()}) held it, so that "
            "another one may use the state file: this one ends.",
            "start it again if no other runs; the lock of an agent that ended needs no removal",
        )

    def release(self) -> None:
        """Let another agent have it."""
        os.close(self._handle)


def visible_holder(inode: int, fallback: str = "") -> str | None:
    """The pid of who holds a `flock` on this file, in our own pid namespace; None when it is in another one.

    The kernel shows no lock of a process that has no pid here. Where it does not tell (not Linux): `fallback`.
    """
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return fallback or None
    held = [line[4] for line in lines if line[1] == "FLOCK" and line[5].endswith(f":{inode}")]
    return next((pid for pid in held if int(pid) > 0), None)


def holder(path: Path) -> int | None:
    """The pid of the agent that holds the lock beside this state file, or None. Looks on, and takes no lock itself."""
    lock = path.with_name(path.name + ".lock")
    try:
        pid, inode = int(lock.read_text().strip()), lock.stat().st_ino
    except (OSError, ValueError):
        return None
    try:
        held = any(" FLOCK " in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
    except OSError:  # not Linux: the pid has to do
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        return pid
    return pid if held else None
