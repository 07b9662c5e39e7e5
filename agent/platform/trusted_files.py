"""Files that settings and secrets are read from: only those that nobody else can write or put in their place.

The rules are those of ssh for its own files, and one of ours: a file that git tracks is whoever's who may push. They
are checked on the opened descriptor, so that the file that was checked is the one that is read.
"""

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

from agent.core.errors import UntrustedFile
from agent.platform.git_index import tracking_checkout

_LARGEST = 1024**2  # bytes: no file of settings comes near


def read_trusted(path: Path, secret: bool = False, own_only: Callable[[bytes], bool] = lambda content: True) -> bytes:
    """The content of a regular file. `secret`: it holds nothing but a secret, so others may not read it either.

    Raises OSError where it cannot be read, and Untrusted where somebody else may have written it; a content
    that `own_only` rejects belongs to another program, and is returned unchecked.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise UntrustedFile(f"{path} is not a regular file.", "name a regular file, or remove it")
        content = file.read(_LARGEST + 1)
    if not own_only(content):
        return content
    _refuse_planted(path, status, secret)
    if len(content) > _LARGEST:
        raise UntrustedFile(f"{path} is larger than 1 MiB: this is not a file of settings.", "name another file")
    return content


def readable_by_others(path: Path) -> bool:
    """True where others than its owner may read the file, which is a reason to look and not to refuse."""
    return bool(path.stat().st_mode & 0o044)


def _refuse_planted(path: Path, status: os.stat_result, secret: bool) -> None:
    mode = stat.S_IMODE(status.st_mode)
    _refuse_owner(path, status, "")
    if status.st_nlink > 1:
        raise UntrustedFile(
            f"{path} has {status.st_nlink} hard links: the file may have been made under another name.",
            f"check what it says, then replace it with a copy (cp {path} {path}.new, mv {path}.new {path})",
        )
    if mode & 0o022:
        raise UntrustedFile(
            f"{path} has mode {mode:04o}: others can change it.", f"check what it says, then chmod 600 {path}"
        )
    readable = 0o004 if _own_group(status.st_gid) else 0o044
    if secret and mode & readable and status.st_uid == os.geteuid() != 0 and not _read_only(path):
        raise UntrustedFile(f"{path} has mode {mode:04o}: others can read this secret.", f"chmod 600 {path}")
    named, real = Path(os.path.abspath(path)), path.resolve()  # noqa: PTH100 - resolve() would follow links
    if named.is_symlink():
        _refuse_owner(named, named.lstat(), " (the link itself)")
    for place in dict.fromkeys((named, real)):
        _refuse_folder(place)
        _refuse_tracked(place)


def _refuse_owner(path: Path, status: os.stat_result, part: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise UntrustedFile(
            f"{path}{part} belongs to uid {status.st_uid}, not to root or to this user (uid {os.geteuid()}).",
            f"check what it says, then chown {os.geteuid()} {path}",
        )


def _refuse_folder(path: Path) -> None:
    """Who may write into the folder can put another file in this one's place; with the sticky bit only their own.

    Kubernetes opens the folder of a ConfigMap to everybody, and mounts it read-only.
    """
    folder, status = path.parent, path.parent.stat()
    _refuse_owner(folder, status, f" (the folder of {path.name})")
    mode = stat.S_IMODE(status.st_mode)
    by_group = mode & 0o020 and not _own_group(status.st_gid)
    if (mode & 0o002 or by_group) and not mode & stat.S_ISVTX and not _read_only(folder):
        raise UntrustedFile(
            f"The folder {folder} has mode {mode:04o}: others can put another file in the place of {path.name}.",
            f"chmod go-w {folder}",
        )


def _read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _own_group(group: int) -> bool:
    """True for the group of this user alone, which umask 002 of many systems counts on.

    A container may run as a user of the host, whom it has no entry for: then the group has the number of the user.
    """
    try:
        user = pwd.getpwuid(os.geteuid())
        members = grp.getgrgid(group).gr_mem
    except KeyError:
        return group == os.geteuid() == os.getegid()
    return user.pw_gid == group and set(members) <= {user.pw_name}


def _refuse_tracked(path: Path) -> None:
    found = tracking_checkout(path)
    if found is None:
        return
    root, known = found
    if known:
        raise UntrustedFile(
            f"{path} is tracked by git (in {root}): who may push can change it.",
            f"git -C {root} rm --cached {path.relative_to(root)}, and add it to .gitignore; change the secrets in it",
        )
    raise UntrustedFile(
        f"{path} is in the checkout {root}, whose index cannot be read: git may track it.",
        "keep the file outside of the checkout, and name its new place (--env-file PATH)",
    )
