"""One walk through a folder of request files, in slices, so that a look at some files may go between them.

What did not change since the last walk costs one stat. A file is read only once it has been left alone for long enough;
until then what it said before counts.

A linked folder is followed where it leads to a hidden folder of the source; a visible one is read at its own place. One
that leads out of the source, or nowhere, is a fault, and every name that was below it keeps its last good generation.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from agent.source.diagnostics import Fault, shown
from agent.source.ignore import Ignore, is_near_miss, is_request_file
from agent.source.loader import Loaded, load, refusal
from agent.source.ownership import Owners
from agent.source.safe_read import Content, Signature, Why, read_beneath, why
from agent.source.yaml_reader import Limits

_SLICE = 2000  # files that did not change; some 20 ms
_READ = 50  # a file that is read costs as much as so many that are not


@dataclass(slots=True)
class Entry:
    """A file as it was last read. No signature: read it again at the next scan."""

    signature: Signature | None
    loaded: Loaded
    claimed: frozenset[str]  # names that a refused document in it holds
    exposed: Fault | None = None  # how others could change it

    @property
    def names(self) -> frozenset[str]:
        """Every name that stands in it."""
        return self.claimed | {document.name for document in self.loaded.documents}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How files are looked at. `now` is the wall clock in seconds since the epoch, `monotonic` one that never jumps."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    settle: float  # seconds for which a file has to be left alone
    limits: Limits
    foreign: bool = False  # documents of another apiVersion group are passed over
    owners: Owners = field(default_factory=Owners)


Waiting = dict[str, tuple[Signature, float]]  # unsettled files: since when they look like this


class Walk:
    """One walk on its way. `old` are the entries of the one before, `waited` the files that were unsettled then."""

    def __init__(self, root: str, old: Mapping[str, Entry], waited: Waiting, manner: Manner, ignore: Ignore) -> None:
        self._root, self._old, self._waited, self._manner, self._ignore = root, old, waited, manner, ignore
        self._followed: set[str] = set()  # hidden folders that links lead to
        self._work = 0  # done in this slice
        self.entries: dict[str, Entry] = {}
        self.waiting: Waiting = {}
        self.faults: list[Fault] = []  # about folders
        self.unread: list[str] = []  # linked folders that are not read, each with a slash
        self.passed_over: list[str] = []  # names that were probably meant to be those of request files
        self.exposed: list[Fault] = []  # folders that others could change, where that is not refused
        self._guarded: dict[str, bool] = {}  # by prefix: only those who may change its files can
        self.files = 0
        self.news = False  # an entry differs from the one before
        self.complete = True
        self.unsettled = False

    def everything(self) -> Iterator[None]:
        """Every folder, from the top; gives way after each slice."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                if not self._is_guarded(prefix):
                    continue
                with os.scandir(f"{self._root}/{prefix}") as entries:
                    yield from self._folder_of(prefix, entries, pending)
            except OSError as error:
                self._lost(prefix, error)

    def some(self, paths: Collection[str]) -> None:
        """These files, where a walk would come by."""
        for path in paths:
            folder, _, name = f"{self._root}/{path}".rpartition("/")
            if not is_request_file(name) or any(part[:1] in (".", "") for part in path.split("/")):
                continue
            if self._ignore.passes_over(path):
                continue
            with contextlib.suppress(OSError):  # gone again, or a link that leads nowhere
                status = os.stat(f"{folder}/{name}")  # noqa: PTH116
                real = os.path.realpath(folder)
                inside = real == folder or real.startswith(self._root.rstrip("/") + "/")  # no linked folder leads out
                if inside and all(map(self._is_guarded, _prefixes(path))):
                    self._see(path, status)

    def _folder_of(self, prefix: str, entries: Iterator[os.DirEntry[str]], pending: list[str]) -> Iterator[None]:
        for entry in entries:  # the hot loop: one stat per file and little else
            name = entry.name
            if name[0] == ".":
                continue
            path = prefix + name
            if entry.is_dir(follow_symlinks=False):
                if not self._ignore.passes_over(f"{path}/"):
                    pending.append(f"{path}/")
            elif self._ignore.passes_over(path):
                continue
            elif is_request_file(name) and not _is_linked_folder(entry):
                self._file(path, entry)
                if self._work >= _SLICE:
                    self._work = 0
                    yield
            elif entry.is_symlink():
                self._link(path, pending)
            elif is_near_miss(name):
                self.passed_over.append(path)

    def _file(self, path: str, entry: os.DirEntry[str]) -> None:
        self.files += 1
        try:
            status = entry.stat()
        except OSError as error:
            self._no_status(path, entry, error)
            return
        self._see(path, status)
        self._work += 1

    def _link(self, path: str, pending: list[str]) -> None:
        """A link to a folder, or one that is not named like a request file."""
        try:
            real = os.path.realpath(f"{self._root}/{path}", strict=True)
        except OSError:
            self._unread(path, "the link leads nowhere", "correct the link, or remove it")
            return
        inside = self._root.rstrip("/") + "/"
        if not os.path.isdir(real):  # noqa: PTH112 - no Path objects here
            if is_near_miss(path):
                self.passed_over.append(path)
        elif real + "/" == inside:
            return
        elif not real.startswith(inside):
            hint = "move the folder into the source, or mount it there"
            self._unread(path, "the linked folder leads out of the source folder, and is not read", hint)
        elif any(part[0] == "." for part in real.removeprefix(inside).split("/")) and real not in self._followed:
            self._followed.add(real)
            pending.append(f"{path}/")

    def _unread(self, path: str, message: str, hint: str) -> None:
        """A link behind which there may be requests: what was there before keeps its names."""
        self.faults.append(Fault(file=shown(path), message=message, hint=hint))
        self.unread.append(f"{shown(path)}/")
        self._keep_below(f"{path}/")

    def overtaken(self, found: Mapping[str, Entry], waiting: Waiting) -> None:
        """Files that were looked at meanwhile: newer than what was seen here before, and older than what comes."""
        self.entries.update(found)
        for path in found:
            self.waiting.pop(path, None)
        self.waiting |= waiting
        self.news = self.news or bool(found)

    def _see(self, path: str, status: os.stat_result) -> None:
        now = (status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino)
        if (before := self._old.get(path)) is not None and before.signature == now:
            self.entries[path] = before
        else:
            self._changed(path, status, now)

    def _is_guarded(self, prefix: str) -> bool:
        """False for a folder that is refused because others could change it. Raises OSError."""
        if prefix not in self._guarded:
            found = self._manner.owners.of_folder(prefix, f"{self._root}/{prefix}")
            self._guarded[prefix] = found is None or not self._manner.owners.refuse
            if found is not None and self._manner.owners.refuse:
                self._closed(prefix, found)
            elif found is not None:
                self.exposed.append(found)
        return self._guarded[prefix]

    def _lost(self, prefix: str, error: OSError) -> None:
        """A folder that was there a moment ago, or that we may not read: what it had keeps its names."""
        if why(error) is Why.MISSING:
            self.unsettled, self.complete = True, self.complete and prefix != ""
            return
        hint = "let the agent's user read it"
        self._closed(prefix, Fault(file=shown(prefix) or ".", message="the folder cannot be read", hint=hint))

    def _closed(self, prefix: str, fault: Fault) -> None:
        """A folder that is not looked into: nothing follows from what is not seen there."""
        self.complete = False
        self.faults.append(fault)
        self._keep_below(prefix)

    def _keep_below(self, prefix: str) -> None:
        for path, entry in self._old.items():
            if path.startswith(prefix) and path not in self.entries:
                self._keep(path, Entry(None, Loaded(whole=False), entry.names))

    def _no_status(self, path: str, entry: os.DirEntry[str], error: OSError) -> None:
        found = why(error)
        if found is Why.MISSING and not entry.is_symlink():
            self.unsettled = True  # gone since the folder was listed
            return
        self._refuse(path, found, None)

    def _changed(self, path: str, status: os.stat_result, now: Signature) -> None:
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, Why.IRREGULAR, now)
            return
        if not self._settled(path, now, status.st_ctime):
            self._wait(path, now)
            return
        exposed = self._manner.owners.of_file(path, status)
        if exposed is not None and self._manner.owners.refuse:
            self._read(path, now, Loaded(faults=(exposed,), whole=False))
            return
        self._work += _READ
        limits = self._manner.limits
        found = read_beneath(self._root, path, limits.file_bytes)
        if isinstance(found, Content) and found.signature == now:
            self._read(path, now, load(found.content, shown(path), limits, foreign=self._manner.foreign), exposed)
        elif found in (Why.OUTSIDE, Why.TOO_LARGE):
            self._refuse(path, found, now)
        elif found is Why.UNREADABLE:
            self._refuse(path, found, None)
        else:  # it changed under our hands
            self._wait(path, now)

    def _settled(self, path: str, now: Signature, changed_at: float) -> bool:
        """Left alone for long enough, by its own time, or by ours when its clock is ahead."""
        manner = self._manner
        if manner.settle <= 0 or manner.now() - changed_at >= manner.settle:
            return True
        seen, since = self._waited.get(path, (None, 0.0))
        return seen == now and manner.monotonic() - since >= manner.settle

    def _wait(self, path: str, now: Signature) -> None:
        seen, since = self._waited.get(path, (None, 0.0))
        self.waiting[path] = (now, since if seen == now else self._manner.monotonic())
        if before := self._old.get(path):
            self.entries[path] = before

    def _refuse(self, path: str, found: Why, now: Signature | None) -> None:
        """A file that is there and cannot be read. Without a signature it is tried again by every scan."""
        if found is Why.UNREADABLE:
            self.complete = False
        self._read(path, now, refusal(found, shown(path)))

    def _read(self, path: str, now: Signature | None, loaded: Loaded, exposed: Fault | None = None) -> None:
        claimed = frozenset(fault.name for fault in loaded.faults if fault.name is not None)
        before = self._old.get(path)
        if before is not None and hides(loaded):
            claimed |= before.names
        self._keep(path, Entry(now, loaded, claimed, exposed))

    def _keep(self, path: str, entry: Entry) -> None:
        before = self._old.get(path)
        if before is not None and not entry.loaded.documents and entry == before:
            self.entries[path] = before
            return
        self.entries[path] = entry
        self.news = True


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_symlink() and entry.is_dir()
    except OSError:  # a loop of links
        return False


def _prefixes(path: str) -> Iterator[str]:
    """Every folder above a path, from the source folder (``) down, as `Walk` names them."""
    yield ""
    for place, character in enumerate(path):
        if character == "/":
            yield path[: place + 1]


def hides(loaded: Loaded) -> bool:
    """True when a file may hold a name that could not be read."""
    return not loaded.whole or any(fault.name is None for fault in loaded.faults)
