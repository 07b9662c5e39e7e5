"""The account at the other end of the control socket. The kernel reports it (SO_PEERCRED); it cannot be forged."""

import contextlib
import os
import pwd
import socket
import struct
from pathlib import Path
from typing import Any

_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
_OVERFLOW_UID = 65534  # the kernel reports it for a user outside of this namespace
_UNSET_LOGIN_UID = 2**32 - 1


def peer_account(connection: Any) -> str:
    """The account that connected, such as `root (uid 0), logged in as alice`; `unknown` if the system reports none."""
    try:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except (OSError, AttributeError):  # not Linux
        return "unknown"
    pid, uid, _ = _CREDENTIALS.unpack(credentials)
    return account_of_process(uid, pid)


def own_account() -> str:
    """The account of this process, in the same form."""
    return account_of_process(os.getuid(), os.getpid())


def account_of_process(uid: int, pid: int) -> str:
    """The account of a process, and after `sudo` or `su` also the account that logged in."""
    if uid == _OVERFLOW_UID:
        return f"an account outside of the agent's user namespace (uid {uid})"
    login = _login_uid(pid)
    return _display_name(uid) if login in (None, uid) else f"{_display_name(uid)}, logged in as {_display_name(login)}"


def _display_name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    return f"uid {uid}"


def _login_uid(pid: int) -> int | None:
    """The account that logged in, as the kernel stores it; None if there is none or it cannot be read."""
    try:
        login = int(Path(f"/proc/{pid}/loginuid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if login == _UNSET_LOGIN_UID else login
