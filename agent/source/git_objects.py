"""Commits and trees of a git repository, read from its object folder, verified by their names, limited in size."""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

from dulwich.object_format import ObjectFormat
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, ShaFile, Tree, parse_tree, valid_hexsha
from dulwich.pack import DELTA_TYPES, Pack, PackData

Entry = tuple[int, bytes]  # mode, name of the object in hexadecimal
LIMIT = 64 << 20  # bytes of one commit or tree, and of each of its deltas and bases

_KEPT = 16 << 20  # bytes of trees in the cache
_CACHE = 16 << 20  # bytes of unpacked delta bases, per pack
_LONGEST_ENTRY = 255 + 8  # name and mode
_LARGE = 16 << 10  # with more differing bytes, all entries are compared
_LONGEST_NAME = 200
_TEXT = re.compile(rb"(?i)utf-?8|us-ascii|iso-?8859-\d{1,2}|latin-?\d|(?:windows-|cp)125\d|koi8-[ru]")


class Missing(Exception):
    """An object is missing, as in a partial clone."""


class Damaged(Exception):
    """An object cannot be read, is too large, or does not match its name."""


class TooLong(Exception):
    """The deadline has passed."""


class GitTree:
    """The entries of a tree. A name is searched in its bytes: to unpack all entries is twenty times slower."""

    __slots__ = ("_entries", "_raw", "_width")

    def __init__(self, raw: bytes, width: int) -> None:
        self._raw, self._width = raw, width
        self._entries: Mapping[bytes, Entry] | None = None

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self._raw)

    def entries(self) -> Mapping[bytes, Entry]:
        """All entries. Raises Damaged."""
        if self._entries is None:
            try:
                self._entries = {name: (mode, of) for name, mode, of in parse_tree(self._raw, self._width)}
            except Exception as error:
                raise Damaged from error
        return self._entries

    def get(self, name: bytes) -> Entry | None:
        """One entry. Raises Damaged."""
        raw, key = self._raw, b" " + name + b"\0"
        at = raw.find(key)
        if at < 0:
            return None
        mode = at - 5 if raw[at - 5 : at] == b"40000" and self._begins(at - 5) else at - 6
        of = raw[at + len(key) : at + len(key) + self._width]
        if raw.find(key, at + 1) >= 0 or not raw[mode:at].isdigit() or not self._begins(mode):
            return self.entries().get(name)  # the same bytes are part of a longer name or of a hash
        return int(raw[mode:at], 8), of.hex().encode()

    def unlike(self, other: "GitTree") -> Collection[bytes]:
        """Names whose entries may differ between both trees, and some more. Raises Damaged."""
        one, two = self._raw, other._raw
        start = _same(one, two)
        end = _same(one[start:][::-1], two[start:][::-1])
        margin = _LONGEST_ENTRY + self._width
        names: set[bytes] = set()
        for raw in (one, two):
            part = raw[max(0, start - margin) : len(raw) - end + margin]
            if len(part) > _LARGE:
                return self.entries().keys() | other.entries().keys()
            for piece in part.split(b"\0"):  # ends with mode and name; the bytes before may be a hash
                parts = piece.split(b" ")
                names.update(b" ".join(parts[first:]) for first in range(1, len(parts)))
        return names

    def _begins(self, at: int) -> bool:
        """True if an entry can begin there."""
        return at == 0 or (at > self._width and self._raw[at - self._width - 1] == 0)


def _same(one: bytes, two: bytes) -> int:
    """The length of the common prefix."""
    low, high = 0, min(len(one), len(two))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == two[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Objects:
    """The objects of a repository; a context manager. `deadline`, by the monotonic clock, applies to every read."""

    def __init__(self, folder: str, form: ObjectFormat) -> None:
        self.form = form
        self.deadline = float("inf")
        self._store = _Store(folder, object_format=form, loose_object_size_limit=LIMIT)
        self._folders: dict[bytes, GitTree] = {}
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._store.close()

    def commit(self, name: bytes) -> Commit:
        """A commit. Raises Missing, Damaged, TooLong."""
        raw = self._read(name, Commit)
        try:
            commit = ShaFile.from_raw_string(Commit.type_num, raw, object_format=self.form)
            assert isinstance(commit, Commit)
            assert all(map(valid_hexsha, (commit.tree, *commit.parents)))
            assert isinstance(commit.commit_time, int)
            assert isinstance(commit.author, bytes)
        except Exception as error:
            raise Damaged from error
        return commit

    def folder(self, name: bytes | None) -> GitTree:
        """The tree of a folder; empty for None. Raises the errors of `commit`."""
        if name is None:
            return GitTree(b"", self.form.oid_length)
        known = self._folders.get(name)
        if known is None:
            known = GitTree(self._read(name, Tree), self.form.oid_length)
            if self._size > _KEPT:
                self._folders, self._size = {}, 0
            self._folders[name] = known
            self._size += known.size
        return known

    def blob_name(self, content: bytes) -> bytes:
        """The object name of a file with this content, in hexadecimal."""
        hashed = self.form.hash_func()
        hashed.update(b"blob %d\0" % len(content))
        hashed.update(content)
        return hashed.hexdigest().encode()

    def _read(self, name: bytes, kind: type[ShaFile]) -> bytes:
        if monotonic() > self.deadline:
            raise TooLong
        try:
            number, raw = self._store.get_raw(ObjectID(name))
        except KeyError:
            raise Missing from None
        except Exception as error:  # dulwich raises a dozen types for a damaged file
            raise Damaged from error
        hashed = self.form.hash_func()
        hashed.update(b"%s %d\0" % (kind.type_name, len(raw)))
        hashed.update(raw)
        if number != kind.type_num or hashed.hexdigest().encode() != name:
            raise Damaged
        return raw


def author(commit: Commit) -> str:
    """The author of a commit, as `%an`, printable, at most 200 characters. Empty if the commit names no author."""
    name = commit.author.partition(b"<")[0].strip()[: 4 * _LONGEST_NAME]
    encoding = commit.encoding or b"utf-8"
    try:
        text = name.decode(encoding.decode() if _TEXT.fullmatch(encoding) else "utf-8", "ignore")
    except LookupError:
        text = name.decode("utf-8", "ignore")
    return "".join(c for c in text if c.isprintable())[:_LONGEST_NAME]


class _Store(DiskObjectStore):
    """An object store with a size limit for packed objects: a few hundred pushed bytes can expand to gigabytes.

    A FIFO or a device in place of a file counts as damage, because a read of it would never end.
    """

    def _get_loose_object(self, sha: Any) -> ShaFile | None:
        name = sha if len(sha) == self.object_format.hex_length else sha.hex().encode()
        _refuse_irregular(self._get_shafile_path(name))
        return super()._get_loose_object(sha)

    def _read_alternate_paths(self) -> Iterator[str]:
        _refuse_irregular(os.path.join(self.path, "info", "alternates"))  # noqa: PTH118
        return super()._read_alternate_paths()

    def _update_pack_cache(self) -> list[Pack]:
        new = super()._update_pack_cache()
        for pack in new:
            path, form = pack._data_path, pack.object_format
            pack._data_load = lambda path=path, form=form: _PackData(
                path, object_format=form, delta_base_cache_limit=_CACHE
            )
        return new

    @property
    def alternates(self) -> list[Any]:
        if self._alternates is None:
            paths = [path for path in self._read_alternate_paths() if os.path.isdir(path)]  # noqa: PTH112
            self._alternates = [_Store(path, object_format=self.object_format) for path in paths]
        return self._alternates


def _refuse_irregular(path: str | bytes) -> None:
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - no Path objects here
        raise Damaged


class _PackData(PackData):
    def get_object_at(self, offset: int) -> Any:
        buffer = self._buffer()
        at, size, shift = offset + 1, buffer[offset] & 0x0F, 4
        more = buffer[offset] & 0x80
        while more and shift < 64:
            size |= (buffer[at] & 0x7F) << shift
            more, at, shift = buffer[at] & 0x80, at + 1, shift + 7
        if size > LIMIT:
            raise Damaged
        kind, found = super().get_object_at(offset)
        if kind in DELTA_TYPES:
            delta: Any = found[1]  # after the position of its base
            _check_delta(b"".join(delta))
        return kind, found


def _check_delta(delta: bytes) -> None:
    """Refuse a delta with a large base or result. It begins with both sizes."""
    at = 0
    for _ in range(2):
        size, shift, more = 0, 0, 0x80
        while more and at < len(delta):
            size |= (delta[at] & 0x7F) << shift
            more, at, shift = delta[at] & 0x80, at + 1, shift + 7
        if size > LIMIT:
            raise Damaged
