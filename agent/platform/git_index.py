"""Find a git checkout and read the files that git tracks. No command and no code of the checkout runs.

The format is documented in gitformat-index, versions 2 to 4. The index reader of dulwich misreads version 4 if two
neighbouring paths differ in more than 127 bytes.
"""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

_HEADER = struct.Struct(">4sII")
_FIXED = 40  # bytes of times, device, inode, mode, owner and size before the object id of an entry
_EXTENDED = 0x4000
_POINTER_BYTES = 4096  # of a `.git` file


def tracking_checkout(path: Path) -> tuple[Path, bool | None] | None:
    """The checkout that tracks this file, or a link or folder on its path, and True; None if no checkout does.

    Checkouts can be nested, so all folders above the file are searched. With None in place of True, the index of that
    checkout cannot be read.
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
    """The paths in an index, below the root of its checkout; empty if there is no index.

    None if the index cannot be read, is damaged, or is split, so that other files hold some of its paths.
    """
    try:
        if not stat.S_ISREG(index.stat().st_mode):  # a read of a FIFO or a device would never end
            return None
        content = index.read_bytes()
    except FileNotFoundError:
        return frozenset() if index.parent.is_dir() else None
    except OSError:
        return None
    try:
        paths, extensions = parse_index(content)
    except ValueError:
        return None
    # An extension with a small first letter changes the meaning of the index. `sdir` adds folders as entries.
    return paths if all(name == b"sdir" or name[:1].isupper() for name in extensions) else None


def parse_index(content: bytes) -> tuple[frozenset[bytes], frozenset[bytes]]:
    """The paths and the extensions of an index. Raises ValueError if it is damaged."""
    for digest in (20, 32):  # SHA-1, SHA-256
        try:
            paths, at = _entries(content, digest)
            return paths, _extensions(content, at, digest)
        except (ValueError, IndexError, struct.error):
            continue
    raise ValueError("damaged index")


def git_folder(root: str) -> str | None:
    """The resolved git folder of the checkout with this root; None if there is no checkout.

    `.git` is that folder, or the file of a worktree or a submodule that names it. Raises OSError if `.git` cannot be
    read, and ValueError if it is neither.
    """
    git = os.path.join(root, ".git")  # noqa: PTH118 - the callers walk up many folders
    try:
        mode = os.stat(git).st_mode  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(mode):
        return os.path.realpath(git)
    pointer = b""
    if stat.S_ISREG(mode):  # a read of a FIFO or a device would never end
        with open(git, "rb") as file:  # noqa: PTH123
            pointer = file.read(_POINTER_BYTES + 1)
    if not pointer.startswith(b"gitdir: ") or len(pointer) > _POINTER_BYTES:
        raise ValueError(f"{git} is neither a folder nor a file that names one")
    return os.path.realpath(os.path.join(root, os.fsdecode(pointer[8:].rstrip(b"\r\n"))))  # noqa: PTH118


def _checkouts(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each checkout that contains the file: its root, and the folder with its index."""
    for root in path.parents:
        try:
            folder = git_folder(str(root))
        except (OSError, ValueError):
            folder = str(root / ".git/unreadable")
        if folder is not None:
            yield root, Path(folder)


def _entries(content: bytes, digest: int) -> tuple[frozenset[bytes], int]:
    """The paths, and the position after them. Raises ValueError, IndexError or struct.error if damaged."""
    signature, version, count = _HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError
    paths: set[bytes] = set()
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
        paths.add(name.rstrip(b"/"))  # a folder of a sparse index ends in a slash
        at = end + 1 if version == 4 else begin + (end - begin + 8) // 8 * 8
    return frozenset(paths), at


def _extensions(content: bytes, at: int, digest: int) -> frozenset[bytes]:
    """The signatures of the extensions."""
    names: set[bytes] = set()
    while at < len(content) - digest:
        name, size = struct.unpack_from(">4sI", content, at)
        names.add(name)
        at += 8 + size
    if at != len(content) - digest:
        raise ValueError
    return frozenset(names)


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A variable-width number and the position after it: seven bits per byte, as in git's `offset` encoding."""
    value = content[at] & 0x7F
    while content[at] & 0x80:
        at += 1
        value = ((value + 1) << 7) | (content[at] & 0x7F)
    return value, at + 1
