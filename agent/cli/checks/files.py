"""Checks of the state folder: permissions, free space, and files that `restore` or `store copy` set aside."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.cli.checks import Check, problem, warning
from agent.core.timestamps import format_optional_timestamp
from agent.platform.settings import Settings
from agent.store.sqlite.copying import moved
from agent.store.sqlite.replaced_files import replaced

OWNER_HINT = "run as the owner of {0}, or give that folder and its files to this user (chown -R)"
_VOLATILE = {"tmpfs": "machine", "ramfs": "machine", "overlay": "container"}
_MIN_FREE_BYTES, _LOW_FREE_BYTES = 2**20, 50 * 2**20


def permissions(settings: Settings) -> Iterator[Check]:
    """The modes of the state folder and of the folder of claims keys (0700), of the state file and its key (0600)."""
    folder = settings.local_path.parent
    places = [("state folder", folder, 0o700)]
    if not settings.uses_database:
        places.append(("state file", settings.state_path, 0o600))
    if settings.key_file is None:
        places.append(("key file", settings.key_path, 0o600))
    if not settings.uses_database or settings.keys_dir is not None:
        places.append(("claims keys", settings.claims_keys_dir, 0o700))
    for name, file, expected in places:
        try:
            exists = file.exists()
        except OSError as error:
            yield problem(name, f"{file} cannot be read: {error.strerror}", OWNER_HINT.format(folder))
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


def writable(folder: Path, setting: str = "STATE_URL") -> Check:
    """The agent can create files in the state folder, and its file system has free space.

    `setting` names the folder.
    """
    name = "state folder, written"
    existing = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not os.access(existing, os.W_OK | os.X_OK):
        return problem(name, f"this user cannot write to {existing}", OWNER_HINT.format(existing))
    found = os.statvfs(existing)
    if not found.f_blocks:  # the file system does not report its size
        return Check(name=name, message="this user can write to it")
    free, no_inodes = found.f_frsize * found.f_bavail, bool(found.f_files and not found.f_favail)
    left = "no inodes" if no_inodes else f"{free / 2**20:,.1f} MiB"
    hint = f"free at least 10 MiB on the file system of {existing}, or set {setting} to another file system"
    if no_inodes or free < _MIN_FREE_BYTES:
        return problem(name, f"its file system has no free space: {left} left", hint)
    if free < _LOW_FREE_BYTES:
        return warning(name, f"its file system has little free space: {left} left", hint)
    return Check(name=name, message=f"this user can write to it; {left} free")


def file_system(folder: Path) -> Check:
    """The file system of STATE_DIR keeps its files after a restart of the machine or the container."""
    name, found = "state folder, kept", _type_of_file_system(folder)
    if found in _VOLATILE:
        return warning(
            name,
            f"{folder} is on {found}, which does not outlast the {_VOLATILE[found]}: the agent would lose its key",
            "set STATE_DIR to a folder on a disk or a volume",
        )
    return Check(name=name, message=f"{folder} is on {found or 'a file system of unknown type'}")


def _type_of_file_system(folder: Path) -> str | None:
    """The type, such as ext4. None: the system does not report it."""
    place = folder.resolve()
    found: tuple[int, str] | None = None
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        mounted, _, described = line.partition(" - ")
        point = Path(mounted.split()[4].replace("\\040", " "))
        if place.is_relative_to(point) and (found is None or len(point.parts) >= found[0]):
            found = len(point.parts), described.split()[0]
    return None if found is None else found[1]


def replaced_files(path: Path) -> Iterator[Check]:
    """State files that `restore` or `store copy` set aside. They contain names until the operator removes them.

    `path`: the state file, or the path that the names of the local files begin with.
    """
    for command, what, listed in (("restore", "replaced", replaced), ("store copy", "moved", moved)):
        try:
            kept = [(one.name, one.stat().st_mtime) for one in listed(path)]
        except OSError:
            return  # `permissions` reports it
        if kept:
            oldest = format_optional_timestamp(min(at for _, at in kept))
            message = f"`{command}` kept {len(kept)} {what} state files, which contain names; the oldest is of {oldest}"
            if what == "moved" or path.suffix != ".db":
                message += "; `forget` does not erase there"
            hint = f"remove the files that you do not need: {', '.join(name for name, _ in kept[:5])}"
            yield warning(f"{what} state files", message, f"{hint}, in {path.parent}")
