"""A source of requests, as admission uses it: a folder, or a git repository."""

from collections.abc import Collection, Iterator, Mapping
from typing import Protocol

from agent.source.folder import Scan
from agent.source.git_provenance import Provenance
from agent.source.loader import Document


class ProvenanceQuery(Protocol):
    """Names the origin of files."""

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        """The provenance of each file, a path below the source. Never raises."""


class RequestSource(Protocol):
    """A source. Every method blocks; one call at a time."""

    @property
    def surveyed(self) -> Collection[str]:
        """The files that a gradual scan found before it read them."""

    def scan(self) -> Scan:
        """Scan the whole source."""

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        """Yield documents with unique names while the source is read, and the scan at the end."""

    def lags(self, acted: str, approved: str | None) -> bool:
        """True if the source has a revision that is neither `acted` nor a descendant of it, nor the approved one."""

    def query(self, files: Collection[str]) -> ProvenanceQuery | None:
        """A query for the provenance of these files; None if nothing is known about any file."""
