"""The last commit that changed a file: the result of `git log -1 -- FILE`, for many files at once in small steps.

At each commit, the walk follows a file to the first parent with the same file. Without one, this commit changed it.
"""

import heapq
import os
from collections.abc import Collection, Iterable, Iterator
from enum import StrEnum
from typing import Union

from dulwich.objects import Commit

from agent.source.git_objects import Damaged, Entry, Missing, Objects, author

Wanted = dict[bytes, Union["Wanted", str]]  # by the names in a tree: a folder, or a requested file

_FOLDER = 0o040000
_FEW = 8  # names that are searched one by one


class Gap(StrEnum):
    """Why the author of a file is not known."""

    SHALLOW = "shallow clone"
    MISSING = "objects are missing"
    PARTIAL = "partial clone"
    DAMAGED = "damaged repository"
    SLOW = "reading took too long"
    UNREADABLE = "the repository cannot be read"


class Lineage:
    """A walk back from a commit. The deadline of the objects can interrupt it; a later call continues it."""

    def __init__(self, head: bytes, prefix: str, files: Collection[str], shallow: Collection[bytes]) -> None:
        self.head = head
        self.entries: dict[str, Entry] = {}  # of the files in the commit
        self.authors: dict[str, str] = {}
        self.commits: dict[str, str] = {}  # the last commit that changed each file, in hexadecimal
        self.gaps: dict[str, Gap] = {}
        # a printable path with a backslash may be escaped, so the file cannot be found by it
        self._files = {file: os.fsencode(prefix + file) for file in files if "\\" not in file}
        self._open: set[str] = set()
        self._shallow = shallow
        self._groups: dict[bytes, tuple[Commit, Wanted]] = {}  # files that did not change since that commit
        self._queue: list[tuple[int, bytes]] = []  # the newest commit first
        self.started = False

    def follows(self, files: Iterable[str]) -> bool:
        """True if these files are part of the walk."""
        return all(file in self._files or "\\" in file for file in files)

    def start(self, objects: Objects) -> None:
        """Find the files in the commit. Raises Missing, Damaged, TooLong."""
        if self.started:
            return
        commit = objects.commit(self.head)
        wanted = _wanted(self._files.items())
        self.entries = dict(_found(objects, commit.tree, wanted))
        self._open = set(self.entries)
        if self._open:
            self._add(self.head, commit, _wanted((file, self._files[file]) for file in self._open))
        self.started = True

    def advance(self, objects: Objects, files: Collection[str]) -> None:
        """Walk back until the last commits of these files are known, or cannot be known. Raises TooLong."""
        while self._queue and not self._open.isdisjoint(files):
            name = self._queue[0][1]
            commit, wanted = self._groups[name]
            try:
                self._step(objects, name, commit, wanted)
            except (Missing, Damaged) as error:
                self._close(wanted, Gap.MISSING if isinstance(error, Missing) else Gap.DAMAGED)
                del self._groups[name]
                self._queue = [one for one in self._queue if one[1] != name]
                heapq.heapify(self._queue)

    def _step(self, objects: Objects, name: bytes, commit: Commit, wanted: Wanted) -> None:
        """Move the files of one commit to its parents. All objects are read before any state changes."""
        if name in self._shallow:
            self._pop(name)
            self._close(wanted, Gap.SHALLOW)
            return
        parents = [(parent, objects.commit(parent)) for parent in commit.parents]
        rest, moves = wanted, []
        for parent, before in parents:
            changed = list(_changed(objects, commit.tree, before.tree, rest))
            moves.append((parent, before, rest, changed))
            if not changed:
                break
            rest = _wanted((file, self._files[file]) for file in changed)
        self._pop(name)
        for parent, before, given, changed in moves:
            for file in changed:
                _remove(given, self._files[file])
            if given:
                self._add(parent, before, given)
        touched = moves[-1][3] if moves else list(_files(wanted))
        if touched:
            self.authors |= dict.fromkeys(touched, author(commit))
            self.commits |= dict.fromkeys(touched, name.decode())
        self._open.difference_update(touched)

    def _pop(self, name: bytes) -> None:
        heapq.heappop(self._queue)
        del self._groups[name]

    def _add(self, name: bytes, commit: Commit, wanted: Wanted) -> None:
        if name in self._groups:
            _merge(self._groups[name][1], wanted)
        else:
            self._groups[name] = commit, wanted
            heapq.heappush(self._queue, (-commit.commit_time, name))

    def _close(self, wanted: Wanted, gap: Gap) -> None:
        for file in _files(wanted):
            self.gaps[file] = gap
            self._open.discard(file)


def _wanted(files: Iterable[tuple[str, bytes]]) -> Wanted:
    wanted: Wanted = {}
    for file, path in files:
        *folders, name = path.split(b"/")
        at = wanted
        for folder in folders:
            inner = at.setdefault(folder, {})
            if isinstance(inner, str):  # a file and a folder of one name: one of them was deleted
                break
            at = inner
        else:
            at.setdefault(name, file)
    return wanted


def _files(wanted: Wanted) -> Iterator[str]:
    for one in wanted.values():
        if isinstance(one, str):
            yield one
        else:
            yield from _files(one)


def _remove(wanted: Wanted, path: bytes) -> None:
    name, _, rest = path.partition(b"/")
    inner = wanted.get(name)
    if isinstance(inner, dict):
        _remove(inner, rest)
        if inner:
            return
    wanted.pop(name, None)


def _merge(wanted: Wanted, more: Wanted) -> None:
    for name, one in more.items():
        known = wanted.setdefault(name, one)
        if known is not one and isinstance(known, dict) and isinstance(one, dict):
            _merge(known, one)


def _found(objects: Objects, tree: bytes | None, wanted: Wanted) -> Iterator[tuple[str, Entry]]:
    entries = objects.folder(tree).entries()
    for name, one in wanted.items():
        entry = entries.get(name)
        if entry is None:
            continue
        if isinstance(one, dict):
            if entry[0] == _FOLDER:
                yield from _found(objects, entry[1], one)
        elif entry[0] != _FOLDER:
            yield one, entry


def _changed(objects: Objects, now: bytes | None, before: bytes | None, wanted: Wanted) -> Iterator[str]:
    """The files that differ between two trees."""
    if now == before:
        return
    new, old = objects.folder(now), objects.folder(before)
    names: Collection[bytes] = wanted if len(wanted) <= _FEW else new.unlike(old)
    for name in names:
        if name not in wanted:
            continue
        one, entry, earlier = wanted[name], new.get(name), old.get(name)
        if entry == earlier:
            continue
        if isinstance(one, str):
            yield one
        else:
            yield from _changed(objects, _folder(entry), _folder(earlier), one)


def _folder(entry: Entry | None) -> bytes | None:
    return entry[1] if entry is not None and entry[0] == _FOLDER else None
