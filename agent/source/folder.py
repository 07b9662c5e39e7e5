"""The source folder. A full scan is the truth; a file that did not change since the last scan costs one stat.

A file is read once it has not changed for a quarter of a second; until then its previous content counts. Hidden names
are skipped. A link is followed if it stays inside the source (a ConfigMap's `x.yaml -> ..data/x.yaml` does), and
refused if it leads out. The source folder itself may be a link: every scan resolves it again.
"""

import errno
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.core.source_revision import Revision
from agent.platform.settings import Settings
from agent.source.diagnostics import SOURCE_FOLDER, Fault, printable_path
from agent.source.ignore import Ignore, read_ignore
from agent.source.loader import Document, LoadedFile
from agent.source.ownership import Owners
from agent.source.safe_read import ReadFailure, read_failure
from agent.source.scan import FolderScan, ScannedFile, ScanOptions, Waiting, may_hide_names
from agent.source.survey import Survey
from agent.source.survey_walk import SurveyWalk
from agent.source.yaml_reader import Limits

SETTLE_SECONDS = 0.25
_MAX_NAMED = 5  # other documents of the same name in a fault


@dataclass(frozen=True, slots=True)
class FolderIdentity:
    """The folder that was scanned, after links. Another identity means that the folder was replaced."""

    path: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """The result of one scan. The absence of a name proves something only if `proves_absence`."""

    complete: bool  # every folder and file could be read
    retry_after: float | None = None  # seconds until files that change now can be read; None if no file changes
    files: int = 0  # request files found
    documents: Mapping[str, Document] = field(default_factory=dict)  # by name; each name is unique in the source
    faults: tuple[Fault, ...] = ()
    claimed: frozenset[str] = frozenset()  # names of refused documents: they keep their last admitted generation
    broken_files: frozenset[str] = frozenset()  # files that may contain names that could not be read
    broken_folders: tuple[str, ...] = ()  # the same for folders, each with a slash
    passed_over: tuple[str, ...] = ()  # files that were probably meant to be request files, as `customer.yaml.txt`
    root: FolderIdentity | None = None
    revision: Revision | None = None  # of a git source
    exposed: tuple[Fault, ...] = ()  # files and folders that other users could change; reported, not refused
    error: Fault | None = None  # why the folder itself could not be scanned

    @property
    def proves_absence(self) -> bool:
        """True if every file could be read and none of them is changing."""
        return self.complete and self.retry_after is None and self.error is None

    def lacks(self, name: str) -> bool:
        """True if no document has this name, not even a refused one."""
        return name not in self.documents and name not in self.claimed

    def may_hold(self, file: str) -> bool:
        """True if a name that was last seen in this file may still be in it, because it could not be read."""
        return not self.proves_absence or file in self.broken_files or file.startswith(self.broken_folders)


@dataclass(slots=True)
class _MergedFiles:
    """The documents of all files of a scan."""

    documents: dict[str, Document] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    contested: frozenset[str] = frozenset()  # names of refused documents, and names that several documents use
    broken: frozenset[str] = frozenset()
    exposed: tuple[Fault, ...] = ()

    @property
    def claimed(self) -> frozenset[str]:
        """Names that no valid document has."""
        return frozenset(name for name in self.contested if name not in self.documents)


class Folder:
    """The source folder and what the last scan found in it. Blocking: use it in a thread, one call at a time.

    `now` is the wall clock in seconds since the epoch, `monotonic` a clock that never jumps, `settle` in seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        settle: float = SETTLE_SECONDS,
        limits: Limits | None = None,
        foreign: bool = False,
        owners: Owners | None = None,
    ) -> None:
        self._path = path
        self._options = ScanOptions(
            now=now,
            monotonic=monotonic,
            settle=settle,
            limits=limits or Limits(),
            foreign=foreign,
            owners=owners or Owners(),
        )
        self._ignore = Ignore()
        self._entries: dict[str, ScannedFile] = {}
        self._waiting: Waiting = {}
        self._merged = _MergedFiles()
        self._folder_faults: tuple[Fault, ...] = ()  # of the last scan
        self.surveyed: Collection[str] = ()  # the files that a gradual scan found before it read them

    @classmethod
    def of(cls, settings: Settings, settle: float = SETTLE_SECONDS) -> "Folder":
        """The folder of the request files, SPECS_DIR or the current revision of SOURCE_URL, as the settings say."""
        if settings.source_url:
            return cls.exported(settings.requests_dir, settings)
        owners = Owners.of(settings.source_owner)
        return cls(settings.requests_dir, settle=settle, foreign=settings.ignores_others, owners=owners)

    @classmethod
    def exported(cls, path: Path, settings: Settings) -> "Folder":
        """A folder that the agent exported: its files are complete, and no other user can change them."""
        return cls(path, settle=0, foreign=settings.ignores_others, owners=Owners(exempt=True))

    def scan(self) -> Scan:
        """Scan the whole folder. Never raises an OSError."""
        *_, scan = self._steps(gradually=False)
        assert isinstance(scan, Scan)
        return scan

    def scan_gradually(self) -> Iterator[list[Document] | Scan]:
        """As `scan`, but yield documents with unique names while the folder is read, and the scan at the end.

        The names of all files are read before the first document is yielded.
        """
        return self._steps(gradually=True)

    def _steps(self, gradually: bool) -> Iterator[list[Document] | Scan]:
        try:
            path = os.path.realpath(self._path, strict=True)
            status = os.stat(path)  # noqa: PTH116 - no Path objects here
            os.scandir(path).close()
        except OSError as error:
            yield self._failed_scan(error)
            return
        ignore = read_ignore(path, self._ignore)
        if isinstance(ignore, Fault):
            yield self.unreadable(ignore)
            return
        self._ignore = ignore
        survey = self._survey(path) if gradually else None
        walk = FolderScan(path, self._entries, self._waiting, self._options, ignore, survey)
        yield from walk.steps()
        changed = walk.changed
        if len(walk.entries) != len(self._entries) or changed:
            changed |= self._entries.keys() - walk.entries.keys()
            self._merged = _replace_documents(self._merged, self._entries, walk.entries, changed) or _merge_files(
                walk.entries
            )
        self._entries, self._waiting, self._folder_faults = walk.entries, walk.waiting, tuple(walk.faults)
        merged, retry_at = self._merged, walk.retry_at
        yield Scan(
            complete=walk.complete,
            retry_after=None if retry_at is None else max(0.0, retry_at - self._options.monotonic()),
            files=walk.files,
            documents=merged.documents,
            faults=merged.faults + self._folder_faults,
            claimed=merged.claimed,
            broken_files=merged.broken,
            broken_folders=tuple(walk.unread),
            passed_over=tuple(sorted(map(printable_path, walk.passed_over))),
            exposed=(*walk.exposed, *merged.exposed),
            root=FolderIdentity(path, status.st_dev, status.st_ino),
        )

    def _survey(self, path: str) -> Survey:
        walk = SurveyWalk(path, self._options, self._ignore)
        walk.run()
        self.surveyed = walk.survey.files.values()
        return walk.survey

    def loaded_files(self) -> Iterator[tuple[str, LoadedFile]]:
        """Each file of the last scan, path and content, before names are compared; then the faults of folders."""
        yield from ((path, entry.loaded) for path, entry in self._entries.items())
        yield from ((fault.file, LoadedFile(faults=(fault,))) for fault in self._folder_faults)

    def _failed_scan(self, error: OSError) -> Scan:
        path = printable_path(str(self._path))
        if read_failure(error) is ReadFailure.MISSING:
            fault = Fault(
                file=SOURCE_FOLDER,
                message=f"the source folder {path} is missing",
                hint="create it, or correct ASSURE_AGENT_SPECS_DIR",
            )
        else:
            hint = "give this user read permission (chmod, chown), or correct ASSURE_AGENT_SPECS_DIR"
            if error.errno in (errno.EMFILE, errno.ENFILE):
                hint = "raise the limit of open files (LimitNOFILE, ulimit -n)"
            fault = Fault(file=SOURCE_FOLDER, message=f"the source folder {path} cannot be read", hint=hint)
        return self.unreadable(fault)

    def unreadable(self, fault: Fault) -> Scan:
        """A scan that found nothing: the names of the last scan stay claimed."""
        self._folder_faults = (fault,)
        names = frozenset[str]().union(*(entry.names for entry in self._entries.values()))
        return Scan(complete=False, faults=(fault,), claimed=names, error=fault)


def _merge_files(entries: Mapping[str, ScannedFile]) -> _MergedFiles:
    paths = sorted(entries)  # no pairs: a hundred thousand new tuples would make the garbage collector run
    files = [entries[path] for path in paths]
    documents, faults, shared = unique(document for entry in files for document in entry.loaded.documents)
    file_faults = [fault for entry in files for fault in entry.loaded.faults]
    broken = frozenset(
        printable_path(path) for path, entry in zip(paths, files, strict=True) if may_hide_names(entry.loaded)
    )
    exposed = tuple(entry.exposed for entry in files if entry.exposed is not None)
    contested = shared.union(*(entry.claimed for entry in files))
    return _MergedFiles(documents, (*file_faults, *faults), contested, broken, exposed)


def _replace_documents(
    merged: _MergedFiles, old: Mapping[str, ScannedFile], new: Mapping[str, ScannedFile], changed: Iterable[str]
) -> _MergedFiles | None:
    """`merged` with the documents of the changed files replaced. None if all files must be merged again.

    The cost depends on the changes, except for the copy of one dictionary. A fault, a contested name or an exposed file
    among the changes requires the complete merge.
    """
    paths = sorted(changed)
    before = [old[path] for path in paths if path in old]
    after = [new[path] for path in paths if path in new]
    if any(entry.loaded.faults or entry.claimed or entry.exposed or not entry.loaded.whole for entry in before + after):
        return None
    documents = merged.documents.copy()
    for entry in before:
        for document in entry.loaded.documents:
            if document.name in merged.contested:
                return None
            del documents[document.name]
    for entry in after:
        for document in entry.loaded.documents:
            if document.name in merged.contested or documents.setdefault(document.name, document) is not document:
                return None
    return replace(merged, documents=documents)


def unique(documents: Iterable[Document]) -> tuple[dict[str, Document], tuple[Fault, ...], frozenset[str]]:
    """The documents with a unique name, a fault for each other document, and the names that several documents use."""
    found: dict[str, Document] = {}
    shared: dict[str, list[Document]] = {}
    for document in documents:
        first = found.setdefault(document.name, document)
        if first is not document:
            shared.setdefault(first.name, [first]).append(document)
    for name in shared:
        del found[name]
    faults = tuple(_shared_name(one, same) for same in shared.values() for one in same)
    return found, faults, frozenset(shared)


def _shared_name(document: Document, same: list[Document]) -> Fault:
    others = [f"{other.file}:{other.line}" for other in same if other is not document]
    more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
    return Fault(
        file=document.file,
        line=document.line,
        message=f"metadata.name is not unique; it is also used at {', '.join(others[:_MAX_NAMED])}{more}",
        hint="give each request its own name",
        name=document.name,
    )
