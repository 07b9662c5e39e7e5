"""Read files with settings and secrets, unless another user can change or replace them.

The rules are those of ssh for its own files. In addition, a file that git tracks is refused: everyone who can push can
change it. The checks use the opened descriptor, so that the checked file is the file that is read.
"""

import grp
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

from agent.core.errors import UntrustedFile
from agent.platform.git_index import tracking_checkout

_LARGEST = 1024**2  # bytes: settings files are much smaller


def read_trusted(path: Path, secret: bool = False, own_only: Callable[[bytes], bool] = lambda content: True) -> bytes:
    """The content of a regular file. `secret`: it contains only a secret, so other users must not read it either.

    If `own_only` rejects the content, it belongs to another program and is returned without checks. Raises OSError if
    the file cannot be read, and UntrustedFile if another user may have written it.
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
        raise UntrustedFile(f"{path} is larger than 1 MiB, so it is not a settings file.", "name another file")
    return content


def readable_by_others(path: Path) -> bool:
    """True if other users can read the file. This is only a warning."""
    return bool(path.stat().st_mode & 0o044)


def _refuse_planted(path: Path, status: os.stat_result, secret: bool) -> None:
    mode = stat.S_IMODE(status.st_mode)
    _refuse_owner(path, status, "")
    if status.st_nlink > 1:
        raise UntrustedFile(
            f"{path} has {status.st_nlink} hard links: another user may have created it under another name.",
            f"check its content, then replace it with a copy (cp {path} {path}.new, mv {path}.new {path})",
        )
    if mode & 0o022:
        raise UntrustedFile(
            f"{path} has mode {mode:04o}: other users can change it.", f"check its content, then chmod 600 {path}"
        )
    readable = 0o004 if _own_group(status.st_gid) else 0o044
    if secret and mode & readable and status.st_uid == os.geteuid() != 0 and not _read_only(path):
        raise UntrustedFile(f"{path} has mode {mode:04o}: other users can read this secret.", f"chmod 600 {path}")
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
            f"check its content, then chown {os.geteuid()} {path}",
        )


def _refuse_folder(path: Path) -> None:
    """Refuse a folder in which another user can replace the file. The sticky bit prevents it.

    Kubernetes lets every user write to the folder of a ConfigMap, and mounts it read-only.
    """
    folder, status = path.parent, path.parent.stat()
    _refuse_owner(folder, status, f" (the folder of {path.name})")
    mode = stat.S_IMODE(status.st_mode)
    by_group = mode & 0o020 and not _own_group(status.st_gid)
    if (mode & 0o002 or by_group) and not mode & stat.S_ISVTX and not _read_only(folder):
        raise UntrustedFile(
            f"The folder {folder} has mode {mode:04o}: other users can replace {path.name}.",
            f"chmod go-w {folder}",
        )


def _read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _own_group(group: int) -> bool:
    """True for a group with this user as its only member. Many systems combine it with umask 002.

    A container may run as a user of the host that it has no entry for. Then the group has the number of the user.
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
            f"{path} is tracked by git (in {root}): everyone who can push can change it.",
            f"git -C {root} rm --cached {path.relative_to(root)}, and add it to .gitignore; change the secrets in it",
        )
    raise UntrustedFile(
        f"{path} is in the checkout {root}, whose index cannot be read: git may track it.",
        "keep the file outside of the checkout, and name its new place (--env-file PATH)",
    )
