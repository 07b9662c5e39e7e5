"""One agent for one state file, whatever name leads to it [I7].

The lock beside the file (`connection.FileLock`) belongs to a name: through a bind mount of the file alone, a second
agent would find another folder, with no lock in it. So the state file itself is locked as well. A file with two names
(hard links) is refused: its log and its lock stand beside one of them. A symbolic link is followed by the settings.

The lock is `flock`. On Linux it has nothing to do with the POSIX locks of SQLite on the same file, except on network
file systems, which turn it into a POSIX lock of the whole file: there it is left out. To close the handle drops the
POSIX locks of this process, so that is done once SQLite has closed the file.
"""

import fcntl
import os
from pathlib import Path

from agent.core.errors import StoreError, StoreLocked
from agent.store.connection import unusable
from agent.store.lock import FileLock, visible_holder

_NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "9p", "fuse")  # beginnings of the names of file systems
_MOUNTS = Path("/proc/self/mountinfo")


class StoreLock:
    """The lock beside a state file; and, from `hold` on, the lock of the file itself. Raises StoreLocked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own: int | None = None
        self._beside = FileLock(path.with_name(path.name + ".lock"))

    def hold(self, linked: bool = False) -> None:
        """Lock the file, which is there. Unless `linked`, raise StoreError where it has a second name."""
        try:
            handle = os.open(self._path, os.O_RDONLY)
        except OSError as error:
            raise unusable(self._path, error) from None
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
        """Raises StoreLocked when the lock file was removed or replaced by hand."""
        self._beside.confirm()

    def release(self) -> None:
        """Let another agent have it. SQLite has closed the file before."""
        if self._own is not None:
            os.close(self._own)
            self._own = None
        self._beside.release()

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
            return  # a file system without locks: the one beside it has to do


def _refuse_linked(path: Path, names: int) -> None:
    if names > 1:
        raise StoreError(
            f"The state file {path} has {names} names (hard links): its log and its lock stand beside one of them.",
            f"keep one of them: `find / -xdev -samefile {path}` lists them; after a restore that was interrupted, "
            "restore again",
        )


def _on_network(handle: int) -> bool:
    """True when the file is on a network file system, as far as the system tells."""
    device = os.fstat(handle).st_dev
    place = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = _MOUNTS.read_text().splitlines()
    except OSError:
        return False
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in lines if line.split(" ")[2] == place]
    return any(kind.startswith(_NETWORK) for kind in kinds)
