"""Merge commits that decide something that their parents did not.

A clean merge takes each file from the parents that changed it since their merge base. Everything else is a decision of
its author: another content, and also a version of one parent in place of a change by another parent. Without this rule,
a merge with an old commit could bring back every old request, and its author would not count.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from agent.source.git_objects import Entry, Objects

Bases = Callable[[str, str], Sequence[str]]  # all merge bases of two commits

_FOLDER = 0o040000
_Path = tuple[bytes, ...]


def decides(objects: Objects, folder: str, merge: str, bases: Bases) -> bool:
    """True if the merge decides about a file below the folder. Raises Missing, Damaged, TooLong."""
    parents = [parent.decode() for parent in objects.commit(merge.encode()).parents]
    roots = [_folder_of(objects, name, folder) for name in (merge, *parents)]
    for path, (now, *before) in _differences(objects, roots):
        kept = [parent for parent, entry in zip(parents, before, strict=True) if entry == now]
        for parent, entry in zip(parents, before, strict=True):
            if entry != now and not any(
                _unchanged(objects, folder, path, entry, bases(parent, other)) for other in kept
            ):
                return True
    return False


def _unchanged(objects: Objects, folder: str, path: _Path, entry: Entry | None, bases: Sequence[str]) -> bool:
    """True if a parent has the file as in every merge base. Without a base, it must have no such file."""
    earlier = [_file(_entry(objects, _folder_of(objects, base, folder), path)) for base in bases]
    return all(one == entry for one in earlier or [None])


def _folder_of(objects: Objects, commit: str, folder: str) -> Entry | None:
    path = tuple(part.encode() for part in folder.split("/") if part)
    return _entry(objects, (_FOLDER, bytes(objects.commit(commit.encode()).tree)), path)


def _entry(objects: Objects, at: Entry | None, path: _Path) -> Entry | None:
    for name in path:
        at = _names(objects, at).get(name)
    return at


def _names(objects: Objects, at: Entry | None) -> Mapping[bytes, Entry]:
    return objects.folder(at[1]).entries() if at is not None and at[0] == _FOLDER else {}


def _file(entry: Entry | None) -> Entry | None:
    return None if entry is not None and entry[0] == _FOLDER else entry


def _differences(
    objects: Objects, versions: Sequence[Entry | None], path: _Path = ()
) -> Iterator[tuple[_Path, list[Entry | None]]]:
    """Every path of a file that differs, with its entry in each version."""
    files = [_file(one) for one in versions]
    if any(one != files[0] for one in files):
        yield path, files
    folders = [_names(objects, one) for one in versions]
    for name in set[bytes]().union(*folders):
        below = [names.get(name) for names in folders]
        if any(one != below[0] for one in below):
            yield from _differences(objects, below, (*path, name))
