"""One walk through the source folder.

A file that did not change since the last walk costs one stat. A file that changed within the settle time is not read:
its previous content counts, and `FolderScan.retry_at` says when a scan can read it.

A linked folder is followed if it leads to a hidden folder of the source; a visible one is read at its own place. A link
that leads out of the source, or nowhere, is a fault. Every name below it keeps its last admitted generation.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from agent.source.diagnostics import Fault, printable_path
from agent.source.ignore import Ignore, is_near_miss, is_request_file
from agent.source.loader import Document, LoadedFile, load, refusal
from agent.source.ownership import Owners
from agent.source.safe_read import Content, FileIdentity, FolderReader, ReadFailure, read_failure
from agent.source.survey import Survey
from agent.source.yaml_reader import Limits

_HANDED_OVER = 250  # documents that the walk hands over at once
_MAX_MODELS = 1000  # models of new documents in memory at once; the others are parsed again when they are admitted


@dataclass(slots=True)
class ScannedFile:
    """A file as it was last read. Without an identity, the next scan reads it again."""

    identity: FileIdentity | None
    loaded: LoadedFile
    claimed: frozenset[str]  # names that a refused document in it holds
    exposed: Fault | None = None  # how other users could change it

    @property
    def names(self) -> frozenset[str]:
        """Every request name in the file."""
        return self.claimed | {document.name for document in self.loaded.documents}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """How files are read. `now` is the wall clock in seconds since the epoch, `monotonic` never jumps."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    settle: float  # seconds without a change before a file is read
    limits: Limits
    foreign: bool = False  # documents of another apiVersion group are passed over
    owners: Owners = field(default_factory=Owners)


Waiting = dict[str, tuple[FileIdentity, float]]  # files that changed too recently, and when each was first seen so


class FolderScan:
    """One walk. `old` has the entries of the previous walk, `waited` the files that were too young for it.

    With a `survey` of the same folder, the walk hands over documents with unique names before it ends.
    """

    def __init__(
        self,
        root: str,
        old: Mapping[str, ScannedFile],
        waited: Waiting,
        options: ScanOptions,
        ignore: Ignore,
        survey: Survey | None = None,
    ) -> None:
        self._root, self._old, self._waited, self._options, self._ignore = root, old, waited, options, ignore
        self._reader = FolderReader(root, "")
        self._followed: set[str] = set()  # hidden folders that links lead to
        self.entries: dict[str, ScannedFile] = {}
        self.waiting: Waiting = {}
        self.faults: list[Fault] = []  # about folders
        self.unread: list[str] = []  # linked folders that are not read, each with a slash
        self.passed_over: list[str] = []  # files with a name that was probably meant for a request file
        self.exposed: list[Fault] = []  # folders that other users could change, if SOURCE_OWNER does not refuse them
        self.files = 0
        self._models = 0
        self._survey = survey
        self._unique: list[Document] = []  # read, and not handed over yet
        self.changed: set[str] = set()  # paths whose entry differs from that of the previous walk
        self.complete = True
        self.retry_at: float | None = None  # monotonic time at which every file is old enough to be read

    def run(self) -> None:
        """Walk through every folder, from the top down."""
        for _ in self.steps():
            pass

    def steps(self) -> Iterator[list[Document]]:
        """Walk as `run`, and yield documents with unique names, some hundred at a time."""
        pending = [""]
        while pending:
            prefix = pending.pop()
            try:
                if not self._is_guarded(prefix):
                    continue
                with (
                    os.scandir(f"{self._root}/{prefix}") as entries,
                    FolderReader(self._root, prefix) as self._reader,
                ):
                    yield from self._folder(prefix, entries, pending)
            except OSError as error:
                self._lost(prefix, error)
        yield self._unique

    def _folder(self, prefix: str, entries: Iterator[os.DirEntry[str]], pending: list[str]) -> Iterator[list[Document]]:
        """Scan the entries of one folder. This is the hot loop: one stat per file and little else."""
        old, kept, passes_over = self._old, self.entries, self._ignore.passes_over
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            path = prefix + name
            if entry.is_dir(follow_symlinks=False):
                if not passes_over(f"{path}/"):
                    pending.append(f"{path}/")
                continue
            if passes_over(path):
                continue
            if not is_request_file(name) or (entry.is_symlink() and _is_linked_folder(entry)):
                self._other(path, entry, pending)
                continue
            self.files += 1
            try:
                status = entry.stat()
            except OSError as error:
                self._without_status(path, entry, error)
                continue
            now = (status.st_size, status.st_ctime_ns, status.st_mtime_ns, status.st_ino)
            before = old.get(path)
            if before is not None and before.identity == now:
                kept[path] = before
                continue
            self._changed(path, status, now)
            if len(self._unique) >= _HANDED_OVER:
                yield self._unique
                self._unique = []

    def _without_status(self, path: str, entry: os.DirEntry[str], error: OSError) -> None:
        found = read_failure(error)
        if found is ReadFailure.MISSING and not entry.is_symlink():
            self._retry_after(self._options.settle)  # deleted since the folder was listed
        else:
            self._refuse(path, found, None)

    def _other(self, path: str, entry: os.DirEntry[str], pending: list[str]) -> None:
        """A link to a folder, a link without the name of a request file, or a file without one."""
        if not entry.is_symlink():
            if is_near_miss(entry.name):
                self.passed_over.append(path)
            return
        try:
            real = os.path.realpath(f"{self._root}/{path}", strict=True)
        except OSError:
            self._unread(path, "the link leads nowhere", "correct the link, or remove it")
            return
        inside = self._root.rstrip("/") + "/"
        if not os.path.isdir(real):  # noqa: PTH112 - no Path objects here
            if is_near_miss(entry.name):
                self.passed_over.append(path)
        elif real + "/" == inside:
            return
        elif not real.startswith(inside):
            hint = "move the folder into the source, or mount it there"
            self._unread(path, "the linked folder is outside of the source folder, so the agent does not read it", hint)
        elif any(part[0] == "." for part in real.removeprefix(inside).split("/")) and real not in self._followed:
            self._followed.add(real)
            pending.append(f"{path}/")

    def _unread(self, path: str, message: str, hint: str) -> None:
        """Report a link that may lead to requests. The names that were below it stay claimed."""
        self.faults.append(Fault(file=printable_path(path), message=message, hint=hint))
        self.unread.append(f"{printable_path(path)}/")
        self._keep_below(f"{path}/")

    def _is_guarded(self, prefix: str) -> bool:
        """False for a folder that SOURCE_OWNER refuses because other users could change it. Raises OSError."""
        owners = self._options.owners
        exposed = owners.of_folder(prefix, f"{self._root}/{prefix}")
        if exposed is None:
            return True
        if owners.refuse:
            self._closed(prefix, exposed)
            return False
        self.exposed.append(exposed)
        return True

    def _lost(self, prefix: str, error: OSError) -> None:
        """Note a folder that was deleted during the walk, or cannot be read. Its names stay claimed."""
        if read_failure(error) is ReadFailure.MISSING:
            self.complete = self.complete and prefix != ""
            self._retry_after(self._options.settle)
            return
        hint = "give the agent's user read permission (chmod, chown)"
        self._closed(prefix, Fault(file=printable_path(prefix) or ".", message="the folder cannot be read", hint=hint))

    def _closed(self, prefix: str, fault: Fault) -> None:
        """Report a folder that is not read. The absence of a name then proves nothing."""
        self.complete = False
        self.faults.append(fault)
        self._keep_below(prefix)

    def _keep_below(self, prefix: str) -> None:
        for path, entry in self._old.items():
            if path.startswith(prefix) and path not in self.entries:
                self._keep(path, ScannedFile(None, LoadedFile(whole=False), entry.names))

    def _changed(self, path: str, status: os.stat_result, now: FileIdentity) -> None:
        if not stat.S_ISREG(status.st_mode):
            self._refuse(path, ReadFailure.IRREGULAR, now)
            return
        if (wait := self._seconds_to_settle(path, now, status.st_ctime)) > 0:
            self._wait(path, now, wait)
            return
        exposed = self._options.owners.of_file(path, status)
        if exposed is not None and self._options.owners.refuse:
            self._read(path, now, LoadedFile(faults=(exposed,), whole=False))
            return
        limits = self._options.limits
        found = self._reader.read_file(path.rpartition("/")[2], limits.file_bytes)
        if isinstance(found, Content) and found.identity == now:
            self._read(path, now, self._load(path, found.content), exposed)
        elif found in (ReadFailure.OUTSIDE, ReadFailure.TOO_LARGE):
            self._refuse(path, found, now)
        elif found is ReadFailure.UNREADABLE:
            self._refuse(path, found, None)
        else:  # it changed while it was read
            self._wait(path, now, self._options.settle)

    def _load(self, path: str, content: bytes) -> LoadedFile:
        loaded = load(content, printable_path(path), self._options.limits, foreign=self._options.foreign)
        for document in loaded.documents:
            # Documents that may wait for Assure's document types are admitted at the end.
            if self._survey is not None and document.type_at is None and self._survey.is_unique(document.name, path):
                self._unique.append(document)
                continue
            self._models += 1
            if self._models > _MAX_MODELS:
                document.release()
        return loaded

    def _seconds_to_settle(self, path: str, now: FileIdentity, changed_at: float) -> float:
        """Seconds until a file is old enough, by its ctime, or by the agent's clock if the file's clock is ahead."""
        options = self._options
        seen, since = self._waited.get(path, (None, 0.0))
        first_seen = since if seen == now else options.monotonic()
        by_ctime = changed_at + options.settle - options.now()
        return max(0.0, min(by_ctime, first_seen + options.settle - options.monotonic()))

    def _wait(self, path: str, now: FileIdentity, seconds: float) -> None:
        seen, since = self._waited.get(path, (None, 0.0))
        self.waiting[path] = (now, since if seen == now else self._options.monotonic())
        self._retry_after(seconds)
        if before := self._old.get(path):
            self.entries[path] = before

    def _retry_after(self, seconds: float) -> None:
        at = self._options.monotonic() + seconds
        self.retry_at = at if self.retry_at is None else max(at, self.retry_at)

    def _refuse(self, path: str, found: ReadFailure, now: FileIdentity | None) -> None:
        """Report a file that exists and cannot be read. Without an identity, every scan tries to read it again."""
        if found is ReadFailure.UNREADABLE:
            self.complete = False
        self._read(path, now, refusal(found, printable_path(path)))

    def _read(self, path: str, now: FileIdentity | None, loaded: LoadedFile, exposed: Fault | None = None) -> None:
        claimed = frozenset(fault.name for fault in loaded.faults if fault.name is not None)
        before = self._old.get(path)
        if before is not None and may_hide_names(loaded):
            claimed |= before.names
        self._keep(path, ScannedFile(now, loaded, claimed, exposed))

    def _keep(self, path: str, entry: ScannedFile) -> None:
        before = self._old.get(path)
        if before is not None and not entry.loaded.documents and entry == before:
            self.entries[path] = before
            return
        self.entries[path] = entry
        self.changed.add(path)


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    """For a link: True if it leads to a folder."""
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def may_hide_names(loaded: LoadedFile) -> bool:
    """True if the file may contain a name that could not be read."""
    return not loaded.whole or any(fault.name is None for fault in loaded.faults)
