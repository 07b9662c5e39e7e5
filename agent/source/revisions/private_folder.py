"""A folder that only one object of one process uses. The next process removes those of processes that have ended."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path


class PrivateFolder:
    """A new, empty folder below `parent`, with mode 0700. A lock on it ends with the process. Raises OSError."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _remove_unused(parent)
        self.path = Path(tempfile.mkdtemp(prefix="used-", dir=parent.absolute()))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the folder with all that it contains."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def _remove_unused(parent: Path) -> None:
    for path in parent.glob("used-*"):
        with contextlib.suppress(OSError):  # in use, or removed by another process
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)
