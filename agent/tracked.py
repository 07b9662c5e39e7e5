"""Does git track a file? Read from the index of the checkouts around it; no command and nothing of theirs is run.

An index that is damaged, split or sparse is "not known".
"""

import contextlib
import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dulwich.object_format import ObjectFormat


def tracking(path: Path) -> tuple[Path, bool | None] | None:
    """The checkout that tracks this file, or a link or folder on its way, or whose index cannot be read (None).

    None when no checkout around it tracks it. All of them are asked: a checkout may stand in another.
    """
    for root, git in _checkouts(path):
        files = tracked_files(git / "index")
        if files is None:
            return root, None
        parts = path.relative_to(root).parts
        if any(os.fsencode("/".join(parts[:count])) in files for count in range(1, len(parts) + 1)):
            return root, True
    return None


def tracked_files(index: Path) -> frozenset[bytes] | None:
    """The paths in an index, below the root of its checkout; None where it cannot be read. No index holds no path."""
    from dulwich.object_format import SHA1, SHA256  # late: most settings are in no checkout

    try:
        content = index.read_bytes()
    except FileNotFoundError:
        return frozenset() if index.parent.is_dir() else None
    except OSError:
        return None
    for form in (SHA1, SHA256):  # the index itself does not say which
        with contextlib.suppress(Exception):  # whatever the library meets: it is another form, or damaged
            return _names(content, form)
    return None


def _checkouts(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each checkout around the file: its root, and the folder with its index."""
    for root in path.parents:
        git = root / ".git"
        try:
            if git.is_dir():
                yield root, git
            elif git.is_file():  # a worktree or a submodule
                place = git.read_text().removeprefix("gitdir:").strip()
                yield root, root / place
        except (OSError, ValueError):
            yield root, git / "unreadable"


def _names(content: bytes, form: "ObjectFormat") -> frozenset[bytes]:
    """The paths. Raises ValueError for parts that are cut off, and for those that may hold more paths."""
    from dulwich.index import read_index

    file = io.BytesIO(content)
    names = frozenset(entry.name for entry in read_index(file, form))
    at, end = file.tell(), len(content) - form.oid_length  # a checksum is the last of it
    while at < end:
        signature, size = struct.unpack_from(">4sI", content, at)
        if not signature[:1].isupper():  # it changes what the index means, such as `link` of a split index
            raise ValueError(signature)
        at += 8 + size
    if at != end:
        raise ValueError(at)
    return names
