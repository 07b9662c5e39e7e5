"""The commit that was fetched last, in a file: the next process can use it while the server does not answer."""

import hashlib
from pathlib import Path

from agent.core.source_revision import is_object_id
from agent.platform.files import write_atomically
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import as_fetch_errors

_LONGEST = 256  # characters of the file


class FetchedHead:
    """The file. A commit of another repository or branch does not count. Raises FetchError."""

    def __init__(self, path: Path, access: RepositoryAccess) -> None:
        self._path = path
        self._origin = hashlib.sha256(f"{access.url}\n{access.branch}".encode()).hexdigest()
        self.commit: str | None = None

    def read(self) -> None:
        """Read the commit. A missing or damaged file has none."""
        with as_fetch_errors(self._path.parent):
            if not self._path.is_file():
                return
            with self._path.open(encoding="ascii", errors="replace") as file:
                origin, _, commit = file.read(_LONGEST).strip().partition("\n")
        if origin == self._origin and is_object_id(commit):
            self.commit = commit

    def write(self, commit: str) -> None:
        """Remember a commit."""
        if commit != self.commit:
            with as_fetch_errors(self._path.parent):
                write_atomically(self._path, f"{self._origin}\n{commit}\n".encode())
            self.commit = commit
