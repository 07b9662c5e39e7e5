"""The provenance of a request file in git: the checked-out commit, differences, and the last author.

A library reads the files of the repository and executes nothing. A failure or a timeout never delays or refuses a
request: its provenance is then "not known".
"""

import os
import stat
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from agent.core.record import Origin
from agent.core.source_revision import RevisionRefusal
from agent.source.git_last_commit import Gap, Lineage
from agent.source.git_objects import Damaged, Entry, Missing, Objects, TooLong
from agent.source.git_repository import Repository, Unreadable, find
from agent.source.safe_read import Content, ReadFailure, read_beneath
from agent.source.yaml_reader import Limits

TIMEOUT_SECONDS = 1.0  # for all files of one scan

_FEW = 100  # up to so many files have a walk of their own; more of them share one walk for all files of the scan


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The provenance of a file; None is "not known". `dirty`: the file differs from the commit, or is not in it."""

    commit: str | None = None
    dirty: bool | None = None
    author: str | None = None
    gap: Gap | None = None  # the reason if the author of a file in a checkout is not known
    file_commit: str | None = None  # of a git source with SOURCE_VERIFY=each: the last commit that changed the file
    signer: str | None = None  # and its signer
    refusal: RevisionRefusal | None = None  # why that signature does not count; admission refuses the document

    @property
    def recorded(self) -> Origin | None:
        """The part that the store keeps. None outside a checkout, and for an uncommitted file without a signer."""
        author = self.author or (f"not known ({self.gap})" if self.gap is not None else None)
        origin = Origin(author=author, file_commit=self.file_commit, signer=self.signer)
        return None if origin == Origin() else origin


class GitCheckout:
    """A folder that may be in a git work tree."""

    def __init__(self, folder: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        self._folder, self._timeout = folder, timeout
        self._stuck: threading.Thread | None = None  # a read that does not return, as on a dead file system

    def query(self, files: Iterable[str]) -> "GitQuery":
        """A query for these files, paths below the folder. It reads nothing before its first use."""
        return GitQuery(self, self._folder, files, self._timeout)

    def run(self, work: threading.Thread, seconds: float) -> bool:
        """Run a thread for so many seconds at most. False if it, or an earlier one, has not ended by then."""
        if self._stuck is not None and self._stuck.is_alive():
            return False
        work.start()
        work.join(seconds)
        self._stuck = work if work.is_alive() else None
        return self._stuck is None


class GitQuery:
    """The lookups of one scan. Together they take no longer than the timeout. Blocking."""

    def __init__(self, checkout: GitCheckout, folder: Path, files: Iterable[str], timeout: float) -> None:
        self._checkout, self._folder, self._left = checkout, folder, timeout
        self._files = files
        self._reading: _Reading | None = None

    def provenance(self, files: Collection[str]) -> Mapping[str, Provenance]:
        """The provenance of each file. Never raises."""
        if self._left <= 0:
            return dict.fromkeys(files, Provenance(gap=Gap.SLOW))
        began = monotonic()
        if self._reading is None:
            self._reading = _Reading(self._folder, self._files)
        reading, found = self._reading, dict[str, Provenance]()

        def work() -> None:
            found.update(reading.provenance(files, began + self._left))

        thread = threading.Thread(target=work, name="checkout", daemon=True)
        done = self._checkout.run(thread, self._left * 1.5)  # the deadline of the work comes first, unless a read hangs
        self._left = self._left - (monotonic() - began) if done else 0.0
        return found if done else dict.fromkeys(files, Provenance(gap=Gap.SLOW))


class _Reading:
    """The state of one query: the repository and the walks through its history."""

    def __init__(self, folder: Path, files: Iterable[str]) -> None:
        self._folder, self._expected = folder, files
        self._asked = False
        self._repository: Repository | None = None
        self._head: bytes | None = None
        self._lineage: Lineage | None = None  # of all files of the scan
        self._gap: Gap | None = None  # the reason that applies to every file

    def provenance(self, files: Collection[str], deadline: float) -> dict[str, Provenance]:
        """The provenance that can be read before the deadline. Never raises."""
        try:
            if not self._asked:
                self._asked = True
                self._repository = find(self._folder)
                self._head = self._repository.head() if self._repository is not None else None
            if self._gap is None and self._head is not None and self._repository is not None:
                lineage = self._followed(self._repository, self._head, files)
                with self._repository.objects(self._head) as objects:
                    return self._read(self._repository, lineage, objects, files, deadline)
        except Unreadable:
            self._gap = Gap.UNREADABLE
        except Exception:  # provenance must never stop a request
            self._gap = Gap.DAMAGED
        return dict.fromkeys(files, Provenance(gap=self._gap)) if self._gap is not None else {}

    def _followed(self, repository: Repository, head: bytes, files: Collection[str]) -> Lineage:
        """The walk that includes these files."""
        if self._lineage is None or not self._lineage.follows(files):
            wanted = {*files, *self._expected} if len(files) > _FEW else set(files)
            lineage = Lineage(head, repository.prefix, wanted, repository.shallow)
            if len(files) <= _FEW:
                return lineage
            self._lineage = lineage
        return self._lineage

    def _read(
        self, repository: Repository, lineage: Lineage, objects: Objects, files: Collection[str], deadline: float
    ) -> dict[str, Provenance]:
        objects.deadline = deadline
        gap: Gap | None = None
        dirty: dict[str, bool | None] = {}
        try:
            lineage.start(objects)
            for file in files:
                if monotonic() > deadline:
                    break
                dirty[file] = None if "\\" in file else _differs(repository, objects, lineage.entries, file)
            lineage.advance(objects, files)
        except TooLong:
            gap = Gap.SLOW
        except Missing:
            gap = Gap.MISSING
        except Damaged:
            gap = Gap.DAMAGED
        partial = repository.is_partial
        return {
            file: Provenance(
                commit=lineage.head.decode(),
                dirty=dirty.get(file),
                author=lineage.authors.get(file) or None,
                gap=_gap_of(lineage, file, gap, partial),
            )
            for file in files
        }


def _gap_of(lineage: Lineage, file: str, gap: Gap | None, partial: bool) -> Gap | None:
    """The reason why the author of a file is not known, if there is one."""
    if file in lineage.authors or "\\" in file:
        return None
    why = lineage.gaps.get(file)
    if why is None and (file in lineage.entries or not lineage.started):
        why = gap
    return Gap.PARTIAL if why is Gap.MISSING and partial else why


def _differs(repository: Repository, objects: Objects, entries: Mapping[str, Entry], file: str) -> bool | None:
    """True if the file differs from the commit; None if it cannot be read now.

    The agent hashes the bytes and applies no filter or attribute. CRLF line ends count as LF.
    """
    entry = entries.get(file)
    if entry is None:
        return True
    path = repository.prefix + file
    whole = f"{repository.top}/{path}"
    try:
        link = os.readlink(whole) if os.path.islink(whole) else None  # noqa: PTH114, PTH115 - no Path objects here
    except OSError:
        return None
    if stat.S_ISLNK(entry[0]) != (link is not None):
        return True
    wanted = entry[1]
    if link is not None:
        if objects.blob_name(os.fsencode(link)) != wanted:
            return True
        target = _target(repository, objects, whole)
        if target is None:
            return True  # its target is in no commit
        path, wanted = target
    content = read_beneath(repository.top, path, Limits().file_bytes)
    if not isinstance(content, Content):
        return True if content in (ReadFailure.MISSING, ReadFailure.OUTSIDE, ReadFailure.IRREGULAR) else None
    return wanted not in {
        objects.blob_name(content.content),
        objects.blob_name(content.content.replace(b"\r\n", b"\n")),
    }


def _target(repository: Repository, objects: Objects, link: str) -> tuple[str, bytes] | None:
    """Path below the top and blob of a link's target; None if it is not in the commit."""
    inside, real = repository.top.rstrip("/") + "/", os.path.realpath(link)
    head = repository.head()
    if not real.startswith(inside) or head is None:
        return None
    path = real.removeprefix(inside)
    lineage = Lineage(head, "", [path], ())
    lineage.start(objects)
    entry = lineage.entries.get(path)
    return (path, entry[1]) if entry is not None and stat.S_ISREG(entry[0]) else None
