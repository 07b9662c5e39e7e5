"""Who is at the other end of the control socket: the kernel says it (SO_PEERCRED), so that nobody can claim it."""

import contextlib
import os
import pwd
import socket
import struct
from pathlib import Path
from typing import Any

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_OVERFLOW = 65534  # what the kernel says of a user that this namespace does not have
_NO_LOGIN = 2**32 - 1


def peer_of(connection: Any) -> str:
    """The account that connected, such as `root (uid 0), logged in as alice`; `unknown` where the system cannot say."""
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (OSError, AttributeError):  # not Linux
        return "unknown"
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return account(uid, pid)


def this_process() -> str:
    """The account of this process, in the same words."""
    return account(os.getuid(), os.getpid())


def account(uid: int, pid: int) -> str:
    """The account of a process; after `sudo` or `su`, the one that logged in as well."""
    if uid == _OVERFLOW:
        return f"an account outside of the agent's user namespace (uid {uid})"
    login = _login(pid)
    return _named(uid) if login in (None, uid) else f"{_named(uid)}, logged in as {_named(login)}"


def _named(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def _login(pid: int) -> int | None:
    """The account that logged in, which the kernel keeps; None where there was none, or it is not to be seen."""
    try:
        login = int(Path(f"/proc/{pid}/loginuid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if login == _NO_LOGIN else login
