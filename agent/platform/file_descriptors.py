"""File descriptors: the limit for connections of listeners that leaves enough for the store and the source."""

import contextlib
import resource

_TARGET_LIMIT = 4096  # not higher: some child processes close every descriptor up to the limit
_MAX_CONNECTIONS = 256  # per listener; it also limits their buffers
_MIN_CONNECTIONS = 16
_RESERVED = 192  # for store, source, images, control socket, backups, child processes and libraries
DEFAULT_LIMIT = 1024  # if the limit cannot be read


def raise_limit() -> None:
    """Raise the soft limit of open files towards the hard limit, if the system allows it."""
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _TARGET_LIMIT if hard == resource.RLIM_INFINITY else min(_TARGET_LIMIT, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_file_limit() -> int:
    """The number of files that this process may have open."""
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return DEFAULT_LIMIT
    return _TARGET_LIMIT if soft == resource.RLIM_INFINITY else soft


def required_limit(calls: int, listeners: int = 2) -> int:
    """The limit of open files that the listeners need, with `calls` simultaneous calls to Assure."""
    return _RESERVED + calls + listeners * _MIN_CONNECTIONS


def connections_per_listener(calls: int, listeners: int = 2) -> int:
    """The maximum of connections per listener, with `calls` simultaneous calls to Assure."""
    return max(_MIN_CONNECTIONS, min(_MAX_CONNECTIONS, (open_file_limit() - _RESERVED - calls) // listeners))
