"""File descriptors: how many connections the listeners may hold, so that the store and the source always find one."""

import contextlib
import resource

_TARGET_LIMIT = 4096  # of the soft limit; children inherit it, and some close every number up to it
_MAX_CONNECTIONS = 256  # connections of one listener; their buffers are bounded by it as well
_MIN_CONNECTIONS = 16
_RESERVED = 192  # store and its readers, source, images, control socket, backups, children, and the libraries' own
DEFAULT_LIMIT = 1024  # where the limit cannot be read


def raise_limit() -> None:
    """Raise the soft limit of open files towards the hard one. A system that forbids it leaves it as it is."""
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
    """The limit of open files below which the listeners get only the least, with so many calls to Assure at once."""
    return _RESERVED + calls + listeners * _MIN_CONNECTIONS


def connections_per_listener(calls: int, listeners: int = 2) -> int:
    """The connections that each listener may hold at once, beside so many calls to Assure at once."""
    return max(_MIN_CONNECTIONS, min(_MAX_CONNECTIONS, (open_file_limit() - _RESERVED - calls) // listeners))
