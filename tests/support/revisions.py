"""A git source without git: a test pushes revisions, and says which of them are refused and when the server fails."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.core.source_revision import FetchFailure, Revision, RevisionRefusal
from agent.source.diagnostics import SOURCE_FOLDER, Fault
from agent.source.folder import Folder, Scan
from agent.source.git_provenance import Provenance
from agent.source.loader import Document
from agent.source.revisions.git_source import Refreshed
from verification.builders.request_files import write


@dataclass
class FakeGitSource:
    """Implements what the agent uses of `GitSource`: each revision is a folder, and `current` leads to one of them."""

    folder: Path
    head: str | None = None  # on the server
    published: str | None = None  # a new process knows the one that an earlier process published
    failure: FetchFailure | None = None
    refusals: dict[str, RevisionRefusal] = field(default_factory=dict)  # by revision
    origins: dict[str, Provenance] = field(default_factory=dict)  # by file
    refreshes: list[tuple[str | None, str | None]] = field(default_factory=list)  # acted and approved of each call
    history: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by revision: those that it descends from
    scans: int = 0
    surveyed: Collection[str] = ()
    during_refresh: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.current = self.folder / "current"
        self._scanner = Folder(self.current, settle=0)
        self.current.parent.mkdir(parents=True, exist_ok=True)

    def push(self, files: Mapping[str, str], refused: RevisionRefusal | None = None, descends: bool = True) -> str:
        """Let the branch be a new commit with these files. `descends`: from the earlier ones."""
        commit = hashlib.sha1(repr((len(list(self.folder.iterdir())), files)).encode()).hexdigest()
        (self.folder / commit).mkdir()
        for name, text in files.items():
            write(self.folder / commit / name, text)
        if refused is not None:
            self.refusals[commit] = refused
        if descends and self.head is not None:
            self.history[commit] = (self.head, *self.history.get(self.head, ()))
        self.head = commit
        return commit

    def refresh(self, acted: str | None, approved: str | None) -> Refreshed:
        self.refreshes.append((acted, approved))
        self.during_refresh()
        if self.failure is not None:
            return Refreshed(failure=self.failure, detail="fatal: as git said it")
        assert self.head is not None
        reason = self.refusals.get(self.head)
        if reason is not None and self.head != acted and not (reason.needs_approval and approved == self.head):
            return Refreshed(head=self.head, refused=(self.head, reason, self.head))
        published = self.published != self.head
        if published:
            self.current.unlink(missing_ok=True)
            self.current.symlink_to(self.head)
            self.published = self.head
        return Refreshed(head=self.head, published=published)

    def scan(self) -> Scan:
        self.scans += 1
        if self.published is None:
            fault = Fault(file=SOURCE_FOLDER, message="no revision has been fetched yet", hint="assure-agent doctor")
            return Scan(complete=False, faults=(fault,), error=fault)
        return replace(self._scanner.scan(), revision=Revision(commit=self.published, committed_at=1.0))

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        yield self.scan()

    def lags(self, acted: str, approved: str | None) -> bool:
        return self.published not in (None, acted, approved) and acted not in self.history.get(self.published, ())

    def query(self, files: Collection[str]) -> "FakeGitSource | None":
        return self if files else None

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        return {file: self.origins[file] for file in files if file in self.origins}
