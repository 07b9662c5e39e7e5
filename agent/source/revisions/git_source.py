"""A git repository as a source of requests: refresh it, scan its current folder, and name the origin of its files."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from agent.core.source_revision import FetchFailure, Revision, RevisionRefusal
from agent.platform.settings import Settings
from agent.source.diagnostics import SOURCE_FOLDER, Fault
from agent.source.folder import Folder, Scan
from agent.source.loader import Document
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.fetched_head import FetchedHead
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.provenance import RevisionProvenance
from agent.source.revisions.revision_folders import RevisionFolders
from agent.source.revisions.signatures import SignatureVerifier
from agent.source.revisions.verdict import Verify, refusal
from agent.source.safe_read import file_identity

Refusal = tuple[RevisionRefusal, str]  # why, and the commit that is the reason
_Basis = tuple[str, str | None, str | None, tuple[object, ...]]  # what a verdict depends on

_MANY_VERDICTS = 100
_UNUSABLE_SECONDS = 60.0  # until a commit that could not be exported is tried again: perhaps the server was at fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """The result of one refresh."""

    head: str | None = None  # the commit of the branch on the server; None: it is not known
    published: bool = False  # the current folder is another revision now
    refused: tuple[str, RevisionRefusal, str] | None = None  # the revision, why, and the commit that is the reason
    failure: FetchFailure | None = None
    detail: str = ""  # what git said, one line without credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Which commits must be signed, and the files that say by whom. `verifier` is None if none must."""

    verify: Verify = "off"
    verifier: SignatureVerifier | None = None
    files: tuple[Path, ...] = ()

    @classmethod
    def of(cls, settings: Settings, mirror: Mirror, folder: Path) -> "Signing":
        """As the settings say. `folder` is for gpg's own files."""
        if settings.source_verify == "off":
            return cls()
        allowed, revoked = settings.source_allowed_signers_file, settings.source_revoked_signers_file
        keyring = settings.source_gpg_keyring
        return cls(
            verify=settings.source_verify,
            verifier=SignatureVerifier(mirror, allowed, revoked, keyring, folder),
            files=tuple(path for path in (allowed, revoked, keyring) if path is not None),
        )

    def state(self) -> tuple[object, ...]:
        """Differs after each change of a file."""
        return tuple(map(_identity, self.files))

    def signer(self, commit: str) -> str | None:
        """The signer of a commit; None without a valid signature, and if no commit must be signed."""
        return None if self.verifier is None else self.verifier.verify([commit])[commit].signer


class GitSource:
    """The source. Blocking: use it in a thread, one call at a time."""

    def __init__(
        self,
        mirror: Mirror,
        folders: RevisionFolders,
        folder: Folder,
        fetched: FetchedHead,
        path: str = "",
        signing: Signing | None = None,
    ) -> None:
        """`folder` scans `folders.current`; `path` is SOURCE_PATH."""
        self._mirror, self._folders, self._folder, self._fetched = mirror, folders, folder, fetched
        self._path, self._signing = path, signing or Signing()
        self._opened = False
        self._revision: Revision | None = None  # `current` leads to it, and the agent may act on it
        self._scanned: Revision | None = None
        self._query: RevisionProvenance | None = None  # the last one
        self._verdicts: dict[_Basis, Refusal | None] = {}
        self._unusable: tuple[str, FetchError] | None = None  # a commit that could not be exported
        self._tried = 0.0  # when, by `monotonic`
        self._last = Refreshed()

    @classmethod
    def of(cls, settings: Settings) -> "GitSource":
        """The source as the settings say. It reads and writes nothing before its first use."""
        home, path = settings.source_folder, settings.source_path.strip("/")
        access = RepositoryAccess.of(settings)
        mirror, folders = Mirror(home / "mirror.git", access), RevisionFolders(home, path)
        folder = Folder.exported(folders.current, settings)
        signing = Signing.of(settings, mirror, home / "gpg")
        return cls(mirror, folders, folder, FetchedHead(home / "fetched", access), path, signing)

    @property
    def surveyed(self) -> Collection[str]:
        """The files that a gradual scan found before it read them."""
        return self._folder.surveyed

    def refresh(self, acted: str | None, approved: str | None) -> Refreshed:
        """Ask the server for the head of the branch; fetch, verify and publish it if it is new. Never raises.

        `acted` is the revision that the store has, `approved` the one that the operator approved. With nothing new, it
        costs one `ls-remote`. If the server does not answer, the last fetched revision is published, if the agent may
        act on it.
        """
        before, head = self._revision, None
        try:
            self._open()
            head = self._mirror.remote_head()
            head = self._fetch(head)
            found = self._judge(head, acted, approved)
            if found is None:
                self._publish(head)
            result = Refreshed(head=head, refused=None if found is None else (head, *found))
        except Exception as error:
            result = replace(_failed(error), head=head)
        if result.refused or result.failure:
            result = self._fall_back(result, acted, approved)
        published = self._revision is not None and (before is None or before.commit != self._revision.commit)
        self._last = replace(result, published=published)
        return self._last

    def scan(self) -> Scan:
        """Scan the current folder; `Scan.revision` names it. Before the first revision, `Scan.error` says why."""
        revision = self._scanned = self._scannable()
        return self._unscanned() if revision is None else self._named(self._folder.scan(), revision)

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        """As `Folder.scan_gradually`."""
        revision = self._scanned = self._scannable()
        if revision is None:
            yield self._unscanned()
            return
        for found in self._folder.scan_gradually():
            yield self._named(found, revision) if isinstance(found, Scan) else found

    def lags(self, acted: str, approved: str | None) -> bool:
        """True if the current revision is neither `acted` nor a descendant of it, nor the approved one. No network."""
        revision = self._scannable()
        if revision is None or revision.commit in (acted, approved):
            return False
        try:
            return not (self._mirror.has(acted) and self._mirror.is_ancestor(acted, revision.commit))
        except FetchError:
            return True

    def query(self, files: Collection[str]) -> RevisionProvenance | None:
        """A query for the provenance of files of the revision that was scanned last."""
        if self._scanned is None or not files:
            return None
        each, verifier = self._signing.verify == "each", self._signing.verifier
        self._query = RevisionProvenance(
            self._mirror, verifier, self._scanned.commit, self._path, each, earlier=self._query
        )
        return self._query

    def _open(self) -> None:
        if not self._opened:
            self._folders.open()
            self._mirror.open()
            self._fetched.read()
            self._opened = True

    def _fetch(self, head: str) -> str:
        """The commit of the branch that the mirror has now; a newer one than `head` if somebody just pushed it."""
        if head != self._fetched.commit:
            if not self._mirror.has(head):
                head = self._mirror.fetch()
            self._fetched.write(head)
        return head

    def _judge(self, commit: str, acted: str | None, approved: str | None) -> Refusal | None:
        """Why the agent may not act on a commit. The answer is remembered while all that it depends on is the same."""
        basis = (commit, acted, approved, self._signing.state())
        if basis in self._verdicts:
            return self._verdicts[basis]
        found = refusal(self._mirror, self._signing.verifier, self._signing.verify, self._path, commit, acted, approved)
        if found is None or found[0] is not RevisionRefusal.UNVERIFIED:  # perhaps gpg will be there the next time
            if len(self._verdicts) >= _MANY_VERDICTS:
                self._verdicts.clear()
            self._verdicts[basis] = found
        return found

    def _publish(self, commit: str) -> None:
        if self._revision is not None and self._revision.commit == commit == self._folders.published():
            return
        if self._unusable is not None and self._unusable[0] == commit and monotonic() < self._tried + _UNUSABLE_SECONDS:
            raise self._unusable[1]
        try:
            self._export(commit)
        except FetchError as error:
            if error.failure in (FetchFailure.NO_PATH, FetchFailure.DAMAGED):
                self._unusable, self._tried = (commit, error), monotonic()
            raise
        self._mirror.keep(commit)
        committed_at, signer = self._mirror.committed_at(commit), self._signing.signer(commit)
        self._revision = Revision(commit=commit, committed_at=committed_at, signer=signer)

    def _export(self, commit: str) -> None:
        if not self._mirror.folder_exists(commit, self._path):
            raise FetchError(FetchFailure.NO_PATH)
        self._folders.publish(self._mirror, commit)

    def _fall_back(self, result: Refreshed, acted: str | None, approved: str | None) -> Refreshed:
        """Publish the newest revision that the agent may act on, unless that is the current one already."""
        for commit in self._candidates(result, acted):
            try:
                is_current = self._revision is not None and self._revision.commit == commit
                if not is_current and not self._mirror.has(commit):
                    continue
                if commit == acted or self._judge(commit, acted, approved) is None:
                    self._publish(commit)
                    return result
            except Exception as error:
                failed = _failed(error)
                if result.failure is None and failed.failure is not FetchFailure.NO_PATH:  # an older one lacks it
                    result = replace(result, failure=failed.failure, detail=failed.detail)
        self._revision = None
        return result

    def _candidates(self, result: Refreshed, acted: str | None) -> Iterable[str]:
        """The revisions that may be published instead of the head. The newest is first."""
        found = [acted]
        if (fetched := self._fetched.commit) is not None:  # otherwise the folder may be of another repository
            refused = None if result.refused is None else result.refused[0]
            unusable = None if self._unusable is None else self._unusable[0]
            published = self._folders.published()
            found = [
                fetched if fetched not in (result.head, unusable) else None,
                published if published != refused else None,
                acted,
            ]
        return dict.fromkeys(commit for commit in found if commit is not None)

    def _scannable(self) -> Revision | None:
        """The current revision; None if the agent may not act on it, or its folder is gone."""
        revision = self._revision
        return revision if revision is not None and revision.commit == self._folders.published() else None

    def _named(self, scan: Scan, revision: Revision) -> Scan:
        if scan.root is None or scan.root.path.endswith(f"/{revision.commit}"):
            return replace(scan, revision=revision if scan.root else None)
        return self._unscanned()  # another process replaced the link

    def _unscanned(self) -> Scan:
        last = self._last
        message, hint = "no revision of ASSURE_AGENT_SOURCE_URL has been fetched yet", "assure-agent doctor"
        if last.refused is not None:
            message = f"the agent may not act on revision {last.refused[0][:12]} ({last.refused[1]})"
            if last.refused[1].needs_approval:
                hint = "assure-agent approve, if the history of the branch was replaced on purpose"
        elif last.failure is not None:
            message = f"{message} ({last.failure})"
        return self._folder.unreadable(Fault(file=SOURCE_FOLDER, message=message, hint=hint))


def _failed(error: Exception) -> Refreshed:
    if isinstance(error, FetchError):
        return Refreshed(failure=error.failure, detail=error.detail)
    failure = FetchFailure.DISK if isinstance(error, OSError) else FetchFailure.OTHER
    return Refreshed(failure=failure, detail=type(error).__name__)


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        return file_identity(path.stat())
    except OSError:
        return None
