"""Does git track a file? Read from the index of the checkouts around it; no command and nothing of theirs is run.

The format is that of git's documentation (gitformat-index, versions 2 to 4); dulwich reads version 4 wrongly where two
neighbours differ in more than 127 bytes. An index that is damaged or split is "not known".
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct(">4sII")
_FIXED = 40  # bytes of times, device, inode, mode, owner and size before the object id of an entry
_EXTENDED = 0x4000


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
    try:
        if not stat.S_ISREG(index.stat().st_mode):  # a FIFO or a device would never end
            return None
        content = index.read_bytes()
    except FileNotFoundError:
        return frozenset() if index.parent.is_dir() else None
    except OSError:
        return None
    try:
        for digest in (20, 32):  # SHA-1, SHA-256
            try:
                return frozenset(_entries(content, digest))
            except (ValueError, IndexError):
                continue
    except struct.error:
        pass
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


def _entries(content: bytes, digest: int) -> Iterator[bytes]:
    """The paths; ValueError for what is no such index, and for parts of it that may hold more paths."""
    signature, version, count = _HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError
    at, name = _HEADER.size, b""
    for _ in range(count):
        begin = at
        at += _FIXED + digest
        (flags,) = struct.unpack_from(">H", content, at)
        at += 4 if flags & _EXTENDED else 2
        kept = 0
        if version == 4:
            cut, at = _varint(content, at)
            kept = len(name) - cut
        end = content.index(b"\0", at)
        name = name[: max(kept, 0)] + content[at:end]
        if kept < 0 or not name or (flags & 0xFFF) != min(len(name), 0xFFF):
            raise ValueError
        yield name.rstrip(b"/")  # a folder of a sparse index ends in a slash
        at = end + 1 if version == 4 else begin + (end - begin + 8) // 8 * 8
    _refuse_more(content, at, digest)


def _refuse_more(content: bytes, at: int, digest: int) -> None:
    """Extensions with a small first letter change what the index means, such as `link` of a split index."""
    while at < len(content) - digest:
        name, size = struct.unpack_from(">4sI", content, at)
        if name not in (b"sdir",) and not name[:1].isupper():
            raise ValueError
        at += 8 + size
    if at != len(content) - digest:
        raise ValueError


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of git's: seven bits in a byte, each further one counts from one."""
    value = content[at] & 0x7F
    while content[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (content[at] & 0x7F)
    return value, at + 1
