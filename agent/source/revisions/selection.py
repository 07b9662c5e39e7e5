"""The entries of a revision that a scan reads: request files, links, the ignore list, and names that are near misses.

A link may lead to an entry that the scan itself passes over. Such a file or folder is selected as well. The scan reads
its content only through a link with the name of a request file.
"""

import os
import re
import stat
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from agent.core.source_revision import FetchFailure
from agent.source.ignore import IGNORE_FILE, is_near_miss, is_request_file
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.mirror import Mirror, TreeEntry

LONGEST_TARGET = 4095  # bytes of a link, as in Linux
MOST_LINKS = 40  # links that one link leads through, as in Linux
_LONGEST_PATH = 2048  # bytes; the path of the exported folder comes before it
_DEEPEST = 100  # folders; each is an open file while its content is written
_MOST_ENTRIES = 1_000_000
_MOST_STEPS = 1_000_000  # parts of the paths of all links of a revision

_TWICE = "two entries of a folder have the same name"
_FORBIDDEN = re.compile(rb"(?:^|/)(?:\.{0,2}|\.git)(?:/|$)", re.IGNORECASE)


class Kind(Enum):
    """How an entry is exported."""

    CONTENT = "content"  # the file
    EMPTY = "empty"  # an empty file: the scan needs no more than its name
    LINK = "link"
    FOLDER = "folder"  # a folder that a link leads to, and that may be empty


class Selected(NamedTuple):
    """A selected entry. `blob` is empty if the content does not matter."""

    kind: Kind
    blob: str = ""


_EMPTY = Selected(Kind.EMPTY)
_FOLDER = Selected(Kind.FOLDER)


@dataclass(slots=True)
class Changes:
    """How the exported folder of one revision becomes that of another: remove, then write."""

    removed: list[bytes] = field(default_factory=list)  # paths that may exist
    written: dict[bytes, Selected] = field(default_factory=dict)
    folders: list[bytes] = field(default_factory=list)  # every folder that must exist, though it may be empty


def select_all(mirror: Mirror, commit: str, path: str) -> dict[bytes, Selected]:
    """The selected entries of a revision by their path below the folder `path`. Raises FetchError."""
    selected: dict[bytes, Selected] = {}
    others: dict[bytes, str] = {}  # the blob of every entry without content; empty for a submodule
    for number, entry in enumerate(mirror.entries(commit, path)):
        _check_number(number)
        if entry.path in selected or entry.path in others:
            raise FetchError(FetchFailure.DAMAGED, _TWICE)
        found = _select(entry)
        if found is not None:
            selected[entry.path] = found
        if found is None or found is _EMPTY:
            others[entry.path] = entry.blob if stat.S_ISREG(entry.mode) else ""
    if any(entry.kind is Kind.LINK for entry in selected.values()):
        selected |= _link_targets(mirror, selected, others)
    return selected


def select_changes(mirror: Mirror, old: str, new: str, path: str) -> Changes | None:
    """The changes between two revisions without links; None if the new one contains a link. Raises FetchError.

    The old revision must not contain a link: a link may lead to an entry that is selected for this reason only.
    """
    changes = Changes()
    for number, (name, entry) in enumerate(mirror.changed_entries(old, new, path)):
        _check_number(number)
        if is_selected_name(name):
            changes.removed.append(name)
        if entry is not None and (found := _select(entry)) is not None:
            if found.kind is Kind.LINK:
                return None
            if name in changes.written:
                raise FetchError(FetchFailure.DAMAGED, _TWICE)
            changes.written[name] = found
    return changes


def compare(old: Mapping[bytes, Selected], new: Mapping[bytes, Selected]) -> Changes:
    """The changes between two revisions of which all selected entries are known."""
    return Changes(
        removed=[name for name, entry in old.items() if new.get(name) != entry],
        written={name: entry for name, entry in new.items() if old.get(name) != entry},
        folders=[name for name, entry in new.items() if entry.kind is Kind.FOLDER],
    )


def _check_number(number: int) -> None:
    if number >= _MOST_ENTRIES:
        raise FetchError(FetchFailure.TOO_LARGE, f"more than {_MOST_ENTRIES} entries are new in the folder")


def is_selected_name(path: bytes) -> bool:
    """True if a file of this path is selected by its name."""
    return _is_read(path) or is_near_miss(os.fsdecode(path.rpartition(b"/")[2]))


def _select(entry: TreeEntry) -> Selected | None:
    """How an entry is selected by its name; None if it is not. Raises FetchError for a path that is not exported."""
    path = entry.path
    if _FORBIDDEN.search(path):
        raise FetchError(FetchFailure.DAMAGED, "a folder contains an entry with an invalid name")
    if stat.S_ISLNK(entry.mode):
        found = Selected(Kind.LINK, entry.blob)
    elif not stat.S_ISREG(entry.mode) or not is_selected_name(path):
        return None
    else:
        found = Selected(Kind.CONTENT, entry.blob) if _is_read(path) else _EMPTY
    if len(path) > _LONGEST_PATH or path.count(b"/") > _DEEPEST:
        raise FetchError(FetchFailure.DAMAGED, "a path is too long")
    return found


def _is_read(path: bytes) -> bool:
    return is_request_file(os.fsdecode(path)) or path == os.fsencode(IGNORE_FILE)


def _link_targets(
    mirror: Mirror, selected: Mapping[bytes, Selected], others: Mapping[bytes, str]
) -> dict[bytes, Selected]:
    """The files and folders that links lead to, if they are not selected, or without their content."""
    links = {path: entry.blob for path, entry in selected.items() if entry.kind is Kind.LINK}
    blobs = list(dict.fromkeys(links.values()))
    mirror.fetch_blobs(blobs)
    targets = {blob: target for blob, target in mirror.contents(blobs, LONGEST_TARGET) if isinstance(target, bytes)}
    tree = _Tree(selected.keys() | others.keys(), {path: targets.get(blob, b"") for path, blob in links.items()})
    tree.folders |= {path for path, blob in others.items() if not blob}
    found: dict[bytes, Selected] = {}
    for link in links:
        target = tree.destination(link)
        if not target:
            continue
        if target in tree.folders:
            found[target] = _FOLDER
        elif target in others and _is_read(link):
            found[target] = Selected(Kind.CONTENT, others[target])
        elif target in others:
            found.setdefault(target, _EMPTY)
    return found


class _Tree:
    """The paths of a revision, to follow links in it."""

    def __init__(self, paths: Set[bytes], links: Mapping[bytes, bytes]) -> None:
        self._files, self._links, self._steps = paths, links, 0
        self.folders: set[bytes] = {b""}
        for path in paths:
            while (path := path.rpartition(b"/")[0]) not in self.folders:
                self.folders.add(path)

    def destination(self, link: bytes) -> bytes | None:
        """The path of the file or folder that a link leads to; None if it leads out of the tree, or nowhere.

        As for `os.path.realpath`, with which a scan follows links, `.` and `..` may also come after a file.
        """
        here, parts, followed = link.rpartition(b"/")[0], [link.rpartition(b"/")[2]], 0
        while parts:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                raise FetchError(FetchFailure.TOO_LARGE, "the folder contains too many links")
            part = parts.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if not here:
                    return None
                here = here.rpartition(b"/")[0]
                continue
            path = here + b"/" + part if here else part
            target = self._links.get(path)
            if target is not None:
                followed += 1
                if followed > MOST_LINKS or not target or target.startswith(b"/"):
                    return None
                parts += reversed(target.split(b"/"))
            elif path in self.folders or path in self._files:
                here = path
            else:
                return None
        return here
