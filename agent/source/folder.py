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
from agent.source.diagnostics import SOURCE_FOLDER, Fault, shown
from agent.source.ignore import Ignore, read_ignore
from agent.source.loader import Document, Loaded
from agent.source.names import unique
from agent.source.ownership import Owners
from agent.source.safe_read import Why, why
from agent.source.scan import Entry, Manner, Waiting, Walk, hides
from agent.source.yaml_reader import Limits

SETTLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Root:
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
    root: Root | None = None
    exposed: tuple[Fault, ...] = ()  # files and folders that others could change; told and not refused

    def may_hold(self, file: str) -> bool:
        """True when a name that was last seen in this file may still be there: nobody could read it whole."""
        return not self.complete or self.unsettled or file in self.broken_files or file.startswith(self.broken_folders)

    error: Fault | None = None  # why the folder itself could not be scanned


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at some files found. Nothing follows from what is not in it."""

    documents: tuple[Document, ...] = ()  # new or changed since they were last read, with a name that is nobody else's
    unsettled: frozenset[str] = frozenset()  # files that change just now: look again soon
    open: bool = False  # there is more, which only a scan can tell: faults, shared names


@dataclass(slots=True)
class _Sorted:
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
        self._manner = Manner(
            now=now,
            monotonic=monotonic,
            settle=settle,
            limits=limits or Limits(),
            foreign=foreign,
            owners=owners or Owners(),
        )
        self._ignore = Ignore()
        self._entries: dict[str, Entry] = {}
        self._waiting: Waiting = {}
        self._walk: Walk | None = None  # the scan that is on its way
        self._sorted = _Sorted()
        self._looked: dict[str, str] = {}  # names that were read since that was sorted, with their files
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
            yield self._nothing(error)
            return
        ignore = read_ignore(path, self._ignore)
        if isinstance(ignore, Fault):
            yield self._unreadable(ignore)
            return
        self._ignore = ignore
        walk = self._walk = Walk(path, self._entries, self._waiting, self._manner, ignore)
        yield from walk.everything()
        if walk.news or self._looked or len(walk.entries) != len(self._entries):
            self._recent = {}
            self._sorted = yield from _sort_out(walk.entries)
            self._looked = self._recent
        self._walk = None
        yield self._ended(walk, Root(path, status.st_dev, status.st_ino))

    def _ended(self, walk: Walk, root: Root) -> Scan:
        self._scanned = True
        self._entries, self._waiting, self._trouble = walk.entries, walk.waiting, tuple(walk.faults)
        found = self._sorted
        return Scan(
            complete=walk.complete,
            unsettled=walk.unsettled or bool(walk.waiting),
            files=walk.files,
            documents=found.documents,
            faults=found.faults + self._trouble,
            claimed=found.claimed,
            broken_files=found.broken,
            broken_folders=tuple(walk.unread),
            passed_over=tuple(sorted(map(shown, walk.passed_over))),
            exposed=(*walk.exposed, *found.exposed),
            root=root,
        )

    def look(self, files: Collection[str]) -> Look:
        """Look at these files only, paths below the folder; after a scan. Never raises an OSError."""
        try:
            root = os.path.realpath(self._path, strict=True)
        except OSError:
            return Look(open=True)
        ignore = read_ignore(root, self._ignore)
        if not self._scanned or ignore is not self._ignore:  # a list that changed is for a scan
            return Look(open=True)
        walk = Walk(root, self._entries, self._waiting, self._manner, ignore)
        walk.some(files)
        for path in files:
            self._waiting.pop(path, None)
        self._waiting |= walk.waiting
        news = {path: entry for path, entry in walk.entries.items() if entry is not self._entries.get(path)}
        self._entries |= news
        if self._walk is not None:
            self._walk.overtaken(news, walk.waiting)
        documents, faults, _ = unique(document for entry in news.values() for document in entry.loaded.documents)
        free = tuple(document for document in documents.values() if self._is_free(document))
        names = {name: shown(path) for path, entry in news.items() for name in entry.names or ("",)}
        self._looked |= names
        self._recent |= names
        refused = bool(faults) or any(entry.loaded.faults for entry in news.values())
        return Look(documents=free, unsettled=frozenset(walk.waiting), open=refused or len(free) < len(documents))

    def _is_free(self, document: Document) -> bool:
        """True when no other file has this name, as far as we know."""
        name, file = document.name, document.file
        before = self._sorted.documents.get(name)
        other = before is not None and before.file != file
        return not other and name not in self._sorted.claimed and self._looked.get(name, file) == file

    def everything(self) -> Iterator[tuple[str, Loaded]]:
        """Each file of the last scan, path and content, before names are compared; then what is wrong with folders."""
        yield from ((path, entry.loaded) for path, entry in self._entries.items())
        yield from ((fault.file, Loaded(faults=(fault,))) for fault in self._trouble)

    def _nothing(self, error: OSError) -> Scan:
        if why(error) is Why.MISSING:
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


def _sort_out(entries: Mapping[str, Entry]) -> Generator[None, None, _Sorted]:
    """Put files together, as they are now; gives way in between."""
    paths = sorted(entries)  # no pairs: a hundred thousand new tuples would have all garbage collected
    files = [entries[path] for path in paths]
    yield
    documents, faults, shared = unique(document for entry in files for document in entry.loaded.documents)
    yield
    claimed = shared.union(*(entry.claimed for entry in files)) - documents.keys()
    told = [fault for entry in files for fault in entry.loaded.faults]
    broken = frozenset(shown(path) for path, entry in zip(paths, files, strict=True) if hides(entry.loaded))
    exposed = tuple(entry.exposed for entry in files if entry.exposed is not None)
    return _Sorted(documents, (*told, *faults), frozenset(claimed), broken, exposed)
