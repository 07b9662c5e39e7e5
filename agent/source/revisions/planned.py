"""One revision in a temporary folder, as `plan` reads it: the agent's own mirror is only read, and may be in use."""

import contextlib
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.settings import Settings
from agent.source.folder import Folder, Scan
from agent.source.loader import Document
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.git_source import Signing
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.provenance import RevisionProvenance
from agent.source.revisions.revision_folders import RevisionFolders
from agent.source.revisions.verdict import refusal


class PlannedSource:
    """The source. Blocking: use it in a thread, one call at a time."""

    def __init__(self, folder: Path, settings: Settings, borrowed: Path | None = None) -> None:
        """`folder` receives the mirror and the exported revision. `borrowed` is as of `Mirror`."""
        self._mirror = Mirror(folder / "mirror.git", RepositoryAccess.of(settings), borrowed)
        self._folders = RevisionFolders(folder, settings.source_path)
        self._folder = Folder.exported(self._folders.current, settings)
        self._signing = Signing.of(settings, self._mirror, folder / "gpg")
        self._path = settings.source_path
        self.commit = ""
        self.refusal: tuple[RevisionRefusal, str] | None = None  # why, and the commit that is the reason

    def fetch(self, commit: str | None, acted: str | None, approved: str | None) -> None:
        """Fetch and export a commit, or the head of the branch, and judge it as the agent would. Raises FetchError."""
        self._folders.open()
        self._mirror.open()
        self.commit = self._mirror.fetch(commit)
        verify, verifier = self._signing.verify, self._signing.verifier
        self.refusal = refusal(self._mirror, verifier, verify, self._path, self.commit, acted, approved)
        self._folders.publish(self._mirror, self.commit)

    @property
    def surveyed(self) -> Collection[str]:
        """The files that a gradual scan found before it read them."""
        return self._folder.surveyed

    def scan(self) -> Scan:
        """As `Folder.scan`."""
        return self._folder.scan()

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        """As `Folder.scan_gradually`."""
        return self._folder.scan_gradually()

    def lags(self, acted: str, approved: str | None) -> bool:
        """False: a plan acts on nothing."""
        return False

    def query(self, files: Collection[str]) -> RevisionProvenance | None:
        """A query for the signers of these files; None if they need none."""
        if self._signing.verify != "each" or not files:
            return None
        return RevisionProvenance(self._mirror, self._signing.verifier, self.commit, self._path, each=True)


@contextlib.contextmanager
def planned_source(
    settings: Settings, commit: str | None, acted: str | None, approved: str | None
) -> Iterator[PlannedSource]:
    """A commit of SOURCE_URL, or the head of its branch, fetched and judged. Raises FetchError.

    `acted` is the revision that the agent acts on, `approved` the one that the operator approved.
    """
    objects = settings.source_folder / "mirror.git/objects"
    borrowed = objects if objects.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="assure-agent-") as folder:
        found = PlannedSource(Path(folder, "borrowing"), settings, borrowed)
        try:
            found.fetch(commit, acted, approved)
        except FetchError as error:
            if borrowed is None or error.failure not in (FetchFailure.DAMAGED, FetchFailure.OTHER):
                raise
            found = PlannedSource(Path(folder, "alone"), settings)  # the mirror is damaged, or of another repository
            found.fetch(commit, acted, approved)
        yield found
