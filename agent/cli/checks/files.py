"""Checks of the state folder: permissions, free space, and files that `restore` replaced."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.cli.checks import Check, problem, warning
from agent.core.timestamps import format_optional_timestamp
from agent.store.sqlite.replaced_files import replaced

OWNER_HINT = "run as the owner of {0}, or give that folder and its files to this user (chown -R)"
_MIN_FREE_BYTES, _LOW_FREE_BYTES = 2**20, 50 * 2**20


def permissions(path: Path) -> Iterator[Check]:
    """The modes of the state folder and of the folder of claims keys (0700), of the state file and its key (0600)."""
    for name, file, expected in (
        ("state folder", path.parent, 0o700),
        ("state file", path, 0o600),
        ("key file", path.with_name("agent.key"), 0o600),
        ("claims keys", path.with_name("keys"), 0o700),
    ):
        try:
            exists = file.exists()
        except OSError as error:
            yield problem(name, f"{file} cannot be read: {error.strerror}", OWNER_HINT.format(path.parent))
            continue
        if not exists:
            when = " when it first stores claims" if name == "claims keys" else ""
            yield Check(name=name, message=f"{file} does not exist yet; the agent creates it{when}")
            continue
        if name == "state file" and (links := file.stat().st_nlink) > 1:
            yield problem(name, f"{file} has {links} names (hard links)", f"find / -xdev -samefile {file}; keep one")
        else:
            yield _mode(name, file, expected)


def _mode(name: str, file: Path, expected: int) -> Check:
    found = file.stat()
    too_much = stat.S_IMODE(found.st_mode) & 0o777 & ~expected
    message = f"{file} has mode {stat.S_IMODE(found.st_mode):04o}"
    if not too_much:
        return Check(name=name, message=message)
    own = os.geteuid() in (0, found.st_uid)
    hint = f"chmod {expected:o} {file}" if own else f"as the user with uid {found.st_uid}: chmod {expected:o} {file}"
    if not too_much & 0o007 and _group_of_volume(file if file.is_dir() else file.parent, found.st_gid):
        return warning(
            name,
            f"{message}: this user's group {found.st_gid} has access, as fsGroup of Kubernetes sets it",
            f"give group {found.st_gid} to no other pod or user",
        )
    if file.is_dir() and not too_much & 0o022:
        return warning(name, f"{message}: other users can list its files", hint)
    return problem(name, f"{message}: other users have access", hint)


def _group_of_volume(folder: Path, group: int) -> bool:
    """True if the folder has the setgid bit and a group of this user: the kubelet sets both at each mount."""
    found = folder.stat()
    setgid = bool(found.st_mode & stat.S_ISGID) and found.st_gid == group
    return setgid and group in {os.getegid(), *os.getgroups()}


def writable(folder: Path) -> Check:
    """The agent can create files in the state folder, and its file system has free space."""
    name = "state folder, written"
    existing = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        return problem(name, f"this user cannot write to {existing}", OWNER_HINT.format(existing))
    found = os.statvfs(existing)
    if not found.f_blocks:  # the file system does not report its size
        return Check(name=name, message="this user can write to it")
    free, no_inodes = found.f_frsize * found.f_bavail, bool(found.f_files and not found.f_favail)
    left = "no inodes" if no_inodes else f"{free / 2**20:,.1f} MiB"
    hint = f"free at least 10 MiB on the file system of {existing}, or set STATE_URL to another file system"
    if no_inodes or free < _MIN_FREE_BYTES:
        return problem(name, f"its file system has no free space: {left} left", hint)
    if free < _LOW_FREE_BYTES:
        return warning(name, f"its file system has little free space: {left} left", hint)
    return Check(name=name, message=f"this user can write to it; {left} free")


def replaced_files(path: Path) -> Iterator[Check]:
    """State files that `restore` replaced. They contain names until the operator removes them."""
    try:
        kept = [(one.name, one.stat().st_mtime) for one in replaced(path)]
    except OSError:
        return  # `permissions` reports it
    if kept:
        oldest = format_optional_timestamp(min(at for _, at in kept))
        message = f"`restore` kept {len(kept)} replaced state files, which contain names; the oldest is of {oldest}"
        hint = f"remove the files that you do not need: {', '.join(name for name, _ in kept[:5])}"
        yield warning("replaced state files", message, f"{hint}, in {path.parent}")
