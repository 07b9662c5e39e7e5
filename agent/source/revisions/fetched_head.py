"""The commit that was fetched last, in a file: the next process can use it while the server does not answer."""

import hashlib
import re
from pathlib import Path

from agent.platform.files import write_atomically
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.export import as_fetch_errors

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LONGEST = 256  # characters of the file


class FetchedHead:
    """The file. A commit of another repository or branch does not count. Raises FetchError."""

    def __init__(self, path: Path, access: RepositoryAccess) -> None:
        self._path = path
        self._origin = hashlib.sha256(f"{access.url}\n{access.branch}".encode()).hexdigest()
        self.commit: str | None = None

    def read(self) -> None:
        """Read the commit. A missing or damaged file has none."""
        with as_fetch_errors():
            if not self._path.is_file():
                return
            with self._path.open(encoding="ascii", errors="replace") as file:
                origin, _, commit = file.read(_LONGEST).strip().partition("\n")
        if origin == self._origin and _COMMIT.fullmatch(commit):
            self.commit = commit

    def write(self, commit: str) -> None:
        """Remember a commit."""
        if commit != self.commit:
            with as_fetch_errors():
                write_atomically(self._path, f"{self._origin}\n{commit}\n".encode())
            self.commit = commit
