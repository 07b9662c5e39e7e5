"""The folder of request files. A full scan is the truth; what did not change since the last one costs one stat.

A file is read only once it has been left alone for a quarter of a second; until then what it said before counts. Hidden
names are skipped. A link is followed when it stays inside (a ConfigMap's `x.yaml -> ..data/x.yaml` does), and refused
when it leads out. The folder itself may be a link and is resolved anew by every scan.

A look is for a hint: it reads some files, and finds in them what is good and nobody else's. All else is left to a scan.
Looks may come between the slices of a scan, which then goes on with what they found.
"""

import errno
import os
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.platform.settings import Settings
from agent.source.diagnostics import SOURCE_FOLDER, Fault, printable_path
from agent.source.ignore import Ignore, read_ignore
from agent.source.loader import Document, LoadedFile
from agent.source.names import unique
from agent.source.ownership import Owners
from agent.source.safe_read import ReadFailure, read_failure
from agent.source.scan import FolderScan, ScannedFile, ScanOptions, Waiting, may_hide_names
from agent.source.yaml_reader import Limits

SETTLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class FolderIdentity:
    """Which folder was scanned, after links: another identity means that it was swapped."""

    path: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What one scan saw. A name's absence proves something only when `complete` and not `unsettled`."""

    complete: bool  # every folder and file could be read
    unsettled: bool = False  # something changes just now: scan again soon
    files: int = 0  # request files seen
    documents: Mapping[str, Document] = field(default_factory=dict)  # by name; each name once in the source
    faults: tuple[Fault, ...] = ()
    claimed: frozenset[str] = frozenset()  # names that a refused document holds: they keep their last good generation
    broken_files: frozenset[str] = frozenset()  # files that may hold names nobody could read, as `Document.file`
    broken_folders: tuple[str, ...] = ()  # the same of folders, each with a slash
    passed_over: tuple[str, ...] = ()  # files that were probably meant to be request files, as `customer.yaml.txt`
    root: FolderIdentity | None = None
    exposed: tuple[Fault, ...] = ()  # files and folders that others could change; reported and not refused

    def may_hold(self, file: str) -> bool:
        """True when a name that was last seen in this file may still be there: nobody could read it whole."""
        return not self.complete or self.unsettled or file in self.broken_files or file.startswith(self.broken_folders)

    error: Fault | None = None  # why the folder itself could not be scanned


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialScan:
    """What a look at some files found. Nothing follows from what is not in it."""

    documents: tuple[Document, ...] = ()  # new or changed since they were last read, with a name that is nobody else's
    unsettled: frozenset[str] = frozenset()  # files that change just now: look again soon
    needs_full_scan: bool = False  # there is more, which only a scan can tell: faults, shared names


@dataclass(slots=True)
class _MergedFiles:
    """All files of a scan, put together."""

    documents: Mapping[str, Document] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    claimed: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    exposed: tuple[Fault, ...] = ()


class Folder:
    """A folder and what is remembered of it between scans. Blocking: use it in a thread, one call at a time.

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
        self._walk: FolderScan | None = None  # the scan that is on its way
        self._merged = _MergedFiles()
        self._read_during_scan: dict[str, str] = {}  # names that were read since that was sorted, with their files
        self._recent: dict[str, str] = {}  # those of them that were read since the last scan sorts them
        self._scanned = False
        self._trouble: tuple[Fault, ...] = ()  # about folders, at the last scan

    @classmethod
    def of(cls, settings: Settings, settle: float = SETTLE_SECONDS) -> "Folder":
        """The folder that the settings name, read as they say."""
        owners = Owners.of(settings.source_owner)
        return cls(settings.specs_dir, settle=settle, foreign=settings.ignores_others, owners=owners)

    def scan(self) -> Scan:
        """Look at everything. Never raises an OSError."""
        return next(seen for seen in self.slices() if seen is not None)

    def slices(self) -> Iterator[Scan | None]:
        """Look at everything, some 20 ms at a time: None after each slice, and at the end what the scan saw.

        One at a time. Between two of them anything may be looked at. Never raises an OSError.
        """
        try:
            path = os.path.realpath(self._path, strict=True)
            status = os.stat(path)  # noqa: PTH116 - no Path objects here
            os.scandir(path).close()
        except OSError as error:
            yield self._failed_scan(error)
            return
        ignore = read_ignore(path, self._ignore)
        if isinstance(ignore, Fault):
            yield self._unreadable(ignore)
            return
        self._ignore = ignore
        walk = self._walk = FolderScan(path, self._entries, self._waiting, self._options, ignore)
        yield from walk.scan_all()
        if walk.changed or self._read_during_scan or len(walk.entries) != len(self._entries):
            self._recent = {}
            self._merged = yield from _merge_files(walk.entries)
            self._read_during_scan = self._recent
        self._walk = None
        yield self._ended(walk, FolderIdentity(path, status.st_dev, status.st_ino))

    def _ended(self, walk: FolderScan, root: FolderIdentity) -> Scan:
        self._scanned = True
        self._entries, self._waiting, self._trouble = walk.entries, walk.waiting, tuple(walk.faults)
        found = self._merged
        return Scan(
            complete=walk.complete,
            unsettled=walk.unsettled or bool(walk.waiting),
            files=walk.files,
            documents=found.documents,
            faults=found.faults + self._trouble,
            claimed=found.claimed,
            broken_files=found.broken,
            broken_folders=tuple(walk.unread),
            passed_over=tuple(sorted(map(printable_path, walk.passed_over))),
            exposed=(*walk.exposed, *found.exposed),
            root=root,
        )

    def read_files(self, files: Collection[str]) -> PartialScan:
        """Look at these files only, paths below the folder; after a scan. Never raises an OSError."""
        try:
            root = os.path.realpath(self._path, strict=True)
        except OSError:
            return PartialScan(needs_full_scan=True)
        ignore = read_ignore(root, self._ignore)
        if not self._scanned or ignore is not self._ignore:  # a list that changed is for a scan
            return PartialScan(needs_full_scan=True)
        walk = FolderScan(root, self._entries, self._waiting, self._options, ignore)
        walk.scan_files(files)
        for path in files:
            self._waiting.pop(path, None)
        self._waiting |= walk.waiting
        news = {path: entry for path, entry in walk.entries.items() if entry is not self._entries.get(path)}
        self._entries |= news
        if self._walk is not None:
            self._walk.merge_newer(news, walk.waiting)
        documents, faults, _ = unique(document for entry in news.values() for document in entry.loaded.documents)
        free = tuple(document for document in documents.values() if self._is_free(document))
        names = {name: printable_path(path) for path, entry in news.items() for name in entry.names or ("",)}
        self._read_during_scan |= names
        self._recent |= names
        refused = bool(faults) or any(entry.loaded.faults for entry in news.values())
        return PartialScan(
            documents=free, unsettled=frozenset(walk.waiting), needs_full_scan=refused or len(free) < len(documents)
        )

    def _is_free(self, document: Document) -> bool:
        """True when no other file has this name, as far as we know."""
        name, file = document.name, document.file
        before = self._merged.documents.get(name)
        other = before is not None and before.file != file
        return not other and name not in self._merged.claimed and self._read_during_scan.get(name, file) == file

    def loaded_files(self) -> Iterator[tuple[str, LoadedFile]]:
        """Each file of the last scan, path and content, before names are compared; then what is wrong with folders."""
        yield from ((path, entry.loaded) for path, entry in self._entries.items())
        yield from ((fault.file, LoadedFile(faults=(fault,))) for fault in self._trouble)

    def _failed_scan(self, error: OSError) -> Scan:
        if read_failure(error) is ReadFailure.MISSING:
            fault = Fault(
                file=SOURCE_FOLDER, message="the source folder is missing", hint="create it, or correct SPECS_DIR"
            )
        else:
            hint = "let this user read it (chmod, chown), or correct SPECS_DIR"
            if error.errno in (errno.EMFILE, errno.ENFILE):
                hint = "raise the limit of open files (LimitNOFILE, ulimit -n)"
            fault = Fault(file=SOURCE_FOLDER, message="the source folder cannot be read", hint=hint)
        return self._unreadable(fault)

    def _unreadable(self, fault: Fault) -> Scan:
        """Nothing of the source counts: what was there keeps its names."""
        self._trouble = (fault,)
        names = frozenset[str]().union(*(entry.names for entry in self._entries.values()))
        return Scan(complete=False, faults=(fault,), claimed=names, error=fault)


def _merge_files(entries: Mapping[str, ScannedFile]) -> Generator[None, None, _MergedFiles]:
    """Put files together, as they are now; gives way in between."""
    paths = sorted(entries)  # no pairs: a hundred thousand new tuples would have all garbage collected
    files = [entries[path] for path in paths]
    yield
    documents, faults, shared = unique(document for entry in files for document in entry.loaded.documents)
    yield
    claimed = shared.union(*(entry.claimed for entry in files)) - documents.keys()
    loaded_faults = [fault for entry in files for fault in entry.loaded.faults]
    broken = frozenset(
        printable_path(path) for path, entry in zip(paths, files, strict=True) if may_hide_names(entry.loaded)
    )
    exposed = tuple(entry.exposed for entry in files if entry.exposed is not None)
    return _MergedFiles(documents, (*loaded_faults, *faults), frozenset(claimed), broken, exposed)
