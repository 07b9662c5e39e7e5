"""A folder as a source of requests: its scans, and the provenance of its files if it is in a git checkout."""

from collections.abc import Collection, Iterator

from agent.source.folder import Folder, Scan
from agent.source.git_provenance import GitCheckout, GitQuery
from agent.source.loader import Document


class FolderSource:
    """The source. Blocking: use it in a thread, one call at a time."""

    def __init__(self, folder: Folder, checkout: GitCheckout | None = None) -> None:
        """Without `checkout`, the provenance of files is not known."""
        self._folder, self._checkout = folder, checkout

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
        """False: a folder has no revision."""
        return False

    def query(self, files: Collection[str]) -> GitQuery | None:
        """A query for the provenance of these files in the checkout."""
        return self._checkout.query(files) if self._checkout is not None else None
