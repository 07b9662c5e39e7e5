"""A git repository as a source of requests: refresh it, scan its current folder, and name the origin of its files."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from agent.core.source_revision import FetchFailure, RevisionRefusal
from agent.platform.settings import Settings
from agent.source.folder import SETTLE_SECONDS, Scan
from agent.source.loader import Document
from agent.source.revisions.provenance import RevisionProvenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """The result of one refresh."""

    head: str | None = None  # the commit of the branch on the server; None: the server did not tell it
    published: bool = False  # the current folder is another revision now
    refused: tuple[str, RevisionRefusal, str] | None = None  # the revision, why, and the commit that is the reason
    failure: FetchFailure | None = None
    detail: str = ""  # what git said, one line without credentials


class GitSource:
    """The source. Blocking: use it in a thread, one call at a time."""

    surveyed: Collection[str] = ()

    @classmethod
    def of(cls, settings: Settings, settle: float = SETTLE_SECONDS) -> "GitSource":
        """The source as the settings say. It reads and writes nothing before its first use."""
        raise NotImplementedError

    def refresh(self, acted: str | None, approved: str | None) -> Refreshed:
        """Ask the server for the head of the branch; fetch, verify and publish it if it is new. Never raises.

        `acted` is the revision that the store has, `approved` the one that the operator approved. With nothing new, it
        costs one `ls-remote`. If the server does not answer, the last fetched revision is published, if the agent may
        act on it.
        """
        raise NotImplementedError

    def scan(self) -> Scan:
        """Scan the current folder; `Scan.revision` names it. Before the first revision, `Scan.error` says why."""
        raise NotImplementedError

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        """As `Folder.scan_gradually`."""
        raise NotImplementedError

    def query(self, files: Collection[str]) -> RevisionProvenance | None:
        """A query for the provenance of files of the revision that was scanned last."""
        raise NotImplementedError
