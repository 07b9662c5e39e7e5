"""Commits and trees of a git repository: read from its object folder, checked against their names, bounded in size."""

import os
import re
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

from dulwich.object_format import ObjectFormat
from dulwich.object_store import DiskObjectStore
from dulwich.objects import Commit, ObjectID, Tree, parse_tree
from dulwich.pack import DELTA_TYPES, Pack, PackData

Entry = tuple[int, bytes]  # mode, name of the object in hexadecimal
LIMIT = 64 << 20  # bytes of one commit or tree, and of each delta and base that it is made of

_KEPT = 400_000  # entries of trees that are kept to be compared again
_LONGEST_NAME = 200
_TEXT = re.compile(rb"(?i)utf-?8|us-ascii|iso-?8859-\d{1,2}|latin-?\d|(?:windows-|cp)125\d|koi8-[ru]")


class Missing(Exception):
    """An object is not there, as in a partial clone."""


class Damaged(Exception):
    """An object cannot be read, is too large, or is not what its name says."""


class TooLong(Exception):
    """The time is over."""


class Objects:
    """The objects of a repository; a context manager. `deadline` by the monotonic clock holds for every read."""

    def __init__(self, folder: str, form: ObjectFormat) -> None:
        self.form = form
        self.deadline = float("inf")
        self._store = _Store(folder, object_format=form, loose_object_size_limit=LIMIT)
        self._trees: dict[bytes, Mapping[bytes, Entry]] = {}
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._store.close()

    def commit(self, name: bytes) -> Commit:
        """A commit. Raises Missing, Damaged, TooLong."""
        found = self._read(name)
        if not isinstance(found, Commit):
            raise Damaged
        return found

    def tree(self, name: bytes | None) -> Mapping[bytes, Entry]:
        """What is in a folder; nothing is in None. Raises as `commit` does."""
        if name is None:
            return {}
        known = self._trees.get(name)
        if known is None:
            found = self._read(name)
            if not isinstance(found, Tree):
                raise Damaged
            try:
                entries = parse_tree(found.as_raw_string(), self.form.oid_length)
                known = {entry: (mode, of) for entry, mode, of in entries}
            except Exception as error:
                raise Damaged from error
            if self._size > _KEPT:
                self._trees, self._size = {}, 0
            self._trees[name] = known
            self._size += len(known)
        return known

    def blob_name(self, content: bytes) -> bytes:
        """How git names a file of this content, in hexadecimal."""
        hashed = self.form.hash_func()
        hashed.update(b"blob %d\0" % len(content))
        hashed.update(content)
        return hashed.hexdigest().encode()

    def _read(self, name: bytes) -> Any:
        if monotonic() > self.deadline:
            raise TooLong
        try:
            return self._store[ObjectID(name)]
        except KeyError:
            raise Missing from None
        except Exception as error:  # the library has a dozen kinds for what may be wrong in a file
            raise Damaged from error


def author(commit: Commit) -> str:
    """Who wrote a commit, as `%an`: printable, at most 200 characters; empty when it does not say."""
    name = commit.author.partition(b"<")[0].strip()[: 4 * _LONGEST_NAME]
    encoding = commit.encoding or b"utf-8"
    try:
        text = name.decode(encoding.decode() if _TEXT.fullmatch(encoding) else "utf-8", "ignore")
    except LookupError:
        text = name.decode("utf-8", "ignore")
    return "".join(c for c in text if c.isprintable())[:_LONGEST_NAME]


class _Store(DiskObjectStore):
    """Objects in packs have a limit as well: a few hundred bytes that somebody pushes can stand for gigabytes."""

    def _update_pack_cache(self) -> list[Pack]:
        new = super()._update_pack_cache()
        for pack in new:
            path, form = pack._data_path, pack.object_format
            pack._data_load = lambda path=path, form=form: _PackData(path, object_format=form)
        return new

    @property
    def alternates(self) -> list[Any]:
        if self._alternates is None:
            paths = [path for path in self._read_alternate_paths() if os.path.isdir(path)]  # noqa: PTH112
            self._alternates = [_Store(path, object_format=self.object_format) for path in paths]
        return self._alternates


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
            delta: Any = found[1]  # after the place of its base
            _check_delta(b"".join(delta))
        return kind, found


def _check_delta(delta: bytes) -> None:
    """A delta begins with the sizes of its base and of its result."""
    at = 0
    for _ in range(2):
        size, shift, more = 0, 0, 0x80
        while more and at < len(delta):
            size |= (delta[at] & 0x7F) << shift
            more, at, shift = delta[at] & 0x80, at + 1, shift + 7
        if size > LIMIT:
            raise Damaged
