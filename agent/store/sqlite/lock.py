"""The lock of a store: one agent for one state file, under every name of the file [I7].

The lock file `agent.db.lock` is next to the state file, so it belongs to one name of the state file. Through a bind
mount of the state file alone, a second agent would see another folder, without this lock file. Therefore the state file
itself is locked as well. A state file with two names (hard links) is refused, because its write-ahead log and its lock
file belong to one of the names only. The settings resolve symbolic links.

The lock is `flock`. On Linux it is independent of the POSIX locks that SQLite takes on the same file. Network file
systems turn `flock` into a POSIX lock of the whole file, so the agent does not lock the state file there. Closing the
handle drops the POSIX locks of this process, so the agent closes it only after SQLite has closed the file.
"""

import fcntl
import os
from pathlib import Path

from agent.core.errors import StoreError, StoreLocked
from agent.store.sqlite.connection import store_error

_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "9p", "fuse")  # prefixes of the types of network file systems
_MOUNTS = Path("/proc/self/mountinfo")


class FileLock:
    """An exclusive lock on the lock file, for the life of the process. The file contains the holder's pid."""

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
            stop = f"stop it with `kill {pid}`" if pid else "stop it in that container or on that host"
            raise StoreLocked(
                f"Another agent ({where}) uses the state file {path.with_suffix('')}.",
                f"{stop}, or set STATE_URL to another file",
            ) from None
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            os.close(self._handle)
            raise

    def confirm(self) -> None:
        """Raises StoreLocked if the file was removed or replaced: another agent may have locked the new one."""
        try:
            found = self._path.stat()
        except OSError:
            found = None
        if found is not None and os.path.samestat(found, os.fstat(self._handle)):
            return
        state = self._path.with_suffix("")
        if not state.exists():
            raise StoreLocked(
                f"The state file {state} and its lock were removed while this agent (pid {os.getpid()}) used them. The "
                "agent stops.",
                "restore a backup and agent.key before the next start; without them the agent verifies all requests "
                "in the folder again, and Assure bills them again",
            )
        raise StoreLocked(
            f"The lock file {self._path} was removed or replaced while this agent (pid {os.getpid()}) held it. Another "
            "agent may use the state file, so this one stops.",
            "start it again if no other agent runs; never remove the lock file of a stopped agent",
        )

    def release(self) -> None:
        """Release the lock. A repetition must not close the file that got the number of the handle."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


class StoreLock:
    """The lock file of a state file and, after `hold`, the lock of the state file itself. Raises StoreLocked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: int | None = None
        self._lock_file = FileLock(path.with_name(path.name + ".lock"))

    def hold(self, linked: bool = False) -> None:
        """Lock the state file, which must exist. Unless `linked`, raise StoreError if it has a second name."""
        try:
            handle = os.open(self._path, os.O_RDONLY)
        except OSError as error:
            raise store_error(self._path, error) from None
        try:
            if not linked:
                _refuse_linked(self._path, os.fstat(handle).st_nlink)
            if not _on_network(handle):
                self._lock(handle)
        except BaseException:
            os.close(handle)
            raise
        self._own = handle

    def confirm(self) -> None:
        """Raises StoreLocked if the lock file was removed or replaced."""
        self._lock_file.confirm()

    def release(self) -> None:
        """Release both locks. SQLite must have closed the file before."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        self._lock_file.release()

    def _lock(self, handle: int) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = visible_holder(os.fstat(handle).st_ino)
            who = f" (pid {pid})" if pid else ""
            stop = f"stop it with `kill {pid}`" if pid else "stop it in the container or on the host where it runs"
            raise StoreLocked(
                f"Another agent{who} uses the state file {self._path}, under another name or with another lock file.",
                f"{stop}, or set STATE_URL to another file",
            ) from None
        except OSError:
            return  # a file system without locks: only the lock file protects the store


def _refuse_linked(path: Path, names: int) -> None:
    if names > 1:
        raise StoreError(
            f"The state file {path} has {names} names (hard links), but its log and its lock belong to one of them.",
            f"keep one name (`find / -xdev -samefile {path}` lists them); after an interrupted restore, restore again",
        )


def _on_network(handle: int) -> bool:
    """True if the operating system reports a network file system."""
    device = os.fstat(handle).st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return False
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == place]
    return any(kind.startswith(_NETWORK) for kind in kinds)


def visible_holder(inode: int, fallback: str = "") -> str | None:
    """The pid of the process that holds a `flock` on this file; None if it is in another pid namespace.

    The kernel does not list locks of processes without a pid in this namespace. Without such a list (not on Linux), the
    result is `fallback`.
    """
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return fallback or None
    held = [line[4] for line in lines if line[1] == "FLOCK" and line[5].endswith(f":{inode}")]
    return next((pid for pid in held if int(pid) > 0), None)


def holder(path: Path) -> int | None:
    """The pid of the agent that holds the lock file of this state file, or None. Takes no lock."""
    lock = path.with_name(path.name + ".lock")
    try:
        pid, inode = int(lock.read_text().strip()), lock.stat().st_ino
    except (OSError, ValueError):
        return None
    try:
        held = any(" FLOCK " in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())
    except OSError:  # not Linux: test if the process exists
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            return pid
        return pid
    return pid if held else None
