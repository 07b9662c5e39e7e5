"""The folder of request files. A full scan is the truth; what did not change since the last one costs one stat.

A file is read only once it has been left alone for a quarter of a second; until then what it said before counts. Hidden
names are skipped. A linked file is followed when it stays inside (a ConfigMap's `x.yaml -> ..data/x.yaml` does), a
linked folder is not. The folder itself may be a link and is resolved anew by every scan.

A look is for a hint: it reads some files, and finds in them what is good and nobody else's. All else is left to a scan.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent.source.beneath import Content, Signature, Why, read_beneath, why
from agent.source.fault import Fault, shown
from agent.source.loader import Document, Loaded, load, refusal
from agent.source.names import unique
from agent.source.tree import Limits

SETTLE_SECONDS = 0.25

ENDINGS = (".yaml", ".yml")


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
    root: Root | None = None
    error: Fault | None = None  # why the folder itself could not be scanned


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at some files found. Nothing follows from what is not in it."""

    documents: tuple[Document, ...] = ()  # new or changed since they were last read, with a name that is nobody else's
    unsettled: frozenset[str] = frozenset()  # files that change just now: look again soon
    open: bool = False  # there is more, which only a scan can tell: faults, shared names


@dataclass(slots=True)
class _Entry:
    """A file as it was last read. No signature: read it again at the next scan."""

    signature: Signature | None
    loaded: Loaded
    claimed: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return self.claimed | {document.name for document in self.loaded.documents}


@dataclass(slots=True)
class _Sorted:
    """All files of a scan, put together."""

    documents: Mapping[str, Document] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    claimed: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()


class Folder:
    """A folder and what is remembered of it between scans. Blocking: scan in a thread, one scan at a time.

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
    ) -> None:
        self._path, self._now, self._monotonic, self._settle = path, now, monotonic, settle
        self._limits = limits or Limits()
        self._entries: dict[str, _Entry] = {}
        self._waiting: dict[str, tuple[Signature, float]] = {}  # unsettled files: since when they look like this
        self._sorted = _Sorted()
        self._looked: dict[str, str] = {}  # names that were read since that was sorted, with their files
        self._scanned = False
        self._trouble: tuple[Fault, ...] = ()  # about folders, at the last scan

    def scan(self) -> Scan:
        """Look at everything. Never raises an OSError."""
        try:
            path = os.path.realpath(self._path, strict=True)
            status = os.stat(path)  # noqa: PTH116 - no Path objects here
            os.scandir(path).close()
        except OSError as error:
            return self._nothing(error)
        walk = _Walk(self, path)
        walk.everything()
        if walk.news or self._looked or len(walk.entries) != len(self._entries):
            self._sorted, self._looked = _sort_out(walk.entries), {}
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
            root=Root(path, status.st_dev, status.st_ino),
        )

    def look(self, files: Collection[str]) -> Look:
        """Look at these files only, paths below the folder; after a scan. Never raises an OSError."""
        try:
            root = os.path.realpath(self._path, strict=True)
        except OSError:
            return Look(open=True)
        if not self._scanned:
            return Look(open=True)
        walk = _Walk(self, root)
        walk.some(files)
        for path in files:
            self._waiting.pop(path, None)
        self._waiting |= walk.waiting
        news = {path: entry for path, entry in walk.entries.items() if entry is not self._entries.get(path)}
        self._entries |= news
        documents, faults, _ = unique(document for entry in news.values() for document in entry.loaded.documents)
        free = tuple(document for document in documents.values() if self._is_free(document))
        self._looked |= {name: shown(path) for path, entry in news.items() for name in entry.names or ("",)}
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
        message = "the source folder is missing" if why(error) is Why.MISSING else "the source folder cannot be read"
        fault = Fault(file=".", message=message, hint="create it, or correct SPECS_DIR")
        self._trouble = (fault,)
        names = frozenset[str]().union(*(entry.names for entry in self._entries.values()))
        return Scan(complete=False, faults=(fault,), claimed=names, error=fault)


class _Walk:
    """One scan on its way."""

    def __init__(self, folder: Folder, root: str) -> None:
        self._folder, self._root = folder, root
        self._old = folder._entries
        self.entries: dict[str, _Entry] = {}
        self.waiting: dict[str, tuple[Signature, float]] = {}
        self.faults: list[Fault] = []  # about folders
        self.files = 0
        self.news = False  # an entry differs from the one before
        self.complete = True
        self.unsettled = False

    def everything(self) -> None:
        """Every folder, from the top."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                with os.scandir(f"{self._root}/{prefix}") as entries:
                    pending += self._folder_of(prefix, entries)
            except OSError as error:
                self._lost(prefix, error)

    def some(self, paths: Collection[str]) -> None:
        """These files, where a walk would come by."""
        for path in paths:
            folder, _, name = f"{self._root}/{path}".rpartition("/")
            if not name.endswith(ENDINGS) or any(part[:1] in (".", "") for part in path.split("/")):
                continue
            with contextlib.suppress(OSError):  # gone again, or a link that leads nowhere
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116
                if os.path.realpath(folder) == folder:  # not below a linked folder
                    self._see(path, status)

    def _folder_of(self, prefix: str, entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
        for entry in entries:  # the hot loop: one stat per file and little else
            name = entry.name
            if name[0] == ".":
                continue
            if entry.is_dir(follow_symlinks=False):
                yield f"{prefix}{name}/"
            elif name.endswith(ENDINGS):
                path = prefix + name
                self.files += 1
                try:
                    status = entry.stat()
                except OSError as error:
                    self._no_status(path, entry, error)
                    continue
                self._see(path, status)

    def _see(self, path: str, status: os.stat_result) -> None:
        now = (status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino)
        if (before := self._old.get(path)) is not None and before.signature == now:
            self.entries[path] = before
        else:
            self._changed(path, status, now)

    def _lost(self, prefix: str, error: OSError) -> None:
        """A folder that was there a moment ago, or that we may not read: what it had keeps its names."""
        if why(error) is Why.MISSING:
            self.unsettled, self.complete = True, self.complete and prefix != ""
            return
        self.complete = False
        self.faults.append(
            Fault(file=shown(prefix) or ".", message="the folder cannot be read", hint="let the agent's user read it")
        )
        for path, entry in self._old.items():
            if path.startswith(prefix) and path not in self.entries:
                self._keep(path, _Entry(None, Loaded(whole=False), entry.names))

    def _no_status(self, path: str, entry: os.DirEntry[str], error: OSError) -> None:
        found = why(error)
        if found is Why.MISSING and not entry.is_symlink():
            self.unsettled = True  # gone since the folder was listed
            return
        self._refuse(path, found, None)

    def _changed(self, path: str, status: os.stat_result, now: Signature) -> None:
        if not stat.S_ISREG(status.st_mode):
            if stat.S_ISDIR(status.st_mode):
                self.files -= 1  # a linked folder
            else:
                self._refuse(path, Why.IRREGULAR, now)
            return
        if not self._settled(path, now, status.st_ctime):
            self._wait(path, now)
            return
        found = read_beneath(self._root, path, self._folder._limits.file_bytes)
        if isinstance(found, Content) and found.signature == now:
            self._read(path, now, load(found.content, shown(path), self._folder._limits))
        elif found in (Why.OUTSIDE, Why.TOO_LARGE):
            self._refuse(path, found, now)
        elif found is Why.UNREADABLE:
            self._refuse(path, found, None)
        else:  # it changed under our hands
            self._wait(path, now)

    def _settled(self, path: str, now: Signature, changed_at: float) -> bool:
        """Left alone for long enough, by its own time, or by ours when its clock is ahead."""
        folder = self._folder
        if folder._settle <= 0 or folder._now() - changed_at >= folder._settle:
            return True
        seen, since = folder._waiting.get(path, (None, 0.0))
        return seen == now and folder._monotonic() - since >= folder._settle

    def _wait(self, path: str, now: Signature) -> None:
        seen, since = self._folder._waiting.get(path, (None, 0.0))
        self.waiting[path] = (now, since if seen == now else self._folder._monotonic())
        if before := self._old.get(path):
            self.entries[path] = before

    def _refuse(self, path: str, found: Why, now: Signature | None) -> None:
        """A file that is there and cannot be read. Without a signature it is tried again by every scan."""
        if found is Why.UNREADABLE:
            self.complete = False
        self._read(path, now, refusal(found, shown(path)))

    def _read(self, path: str, now: Signature | None, loaded: Loaded) -> None:
        claimed = frozenset(fault.name for fault in loaded.faults if fault.name is not None)
        before = self._old.get(path)
        if before is not None and _hides(loaded):
            claimed |= before.names
        self._keep(path, _Entry(now, loaded, claimed))

    def _keep(self, path: str, entry: _Entry) -> None:
        before = self._old.get(path)
        if before is not None and not entry.loaded.documents and entry == before:
            self.entries[path] = before
            return
        self.entries[path] = entry
        self.news = True


def _hides(loaded: Loaded) -> bool:
    """True when a file may hold a name that could not be read."""
    return not loaded.whole or any(fault.name is None for fault in loaded.faults)


def _sort_out(entries: Mapping[str, _Entry]) -> _Sorted:
    files = sorted(entries.items())
    documents, faults, shared = unique(document for _, entry in files for document in entry.loaded.documents)
    claimed = shared.union(*(entry.claimed for _, entry in files)) - documents.keys()
    told = [fault for _, entry in files for fault in entry.loaded.faults]
    broken = frozenset(shown(path) for path, entry in files if _hides(entry.loaded))
    return _Sorted(documents, (*told, *faults), frozenset(claimed), broken)
