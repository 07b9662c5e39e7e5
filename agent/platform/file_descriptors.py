"""File descriptors: how many connections the listeners may hold, so that the store and the source always find one."""

import contextlib
import resource

_WANTED = 4096  # of the soft limit; children inherit it, and some close every number up to it
_MOST = 256  # connections of one listener; their buffers are bounded by it as well
_LEAST = 16
_REST = 192  # store and its readers, source, images, control socket, backups, children, and the libraries' own
USUAL = 1024  # where the limit cannot be read


def raise_limit() -> None:
    """Raise the soft limit of open files towards the hard one. A system that forbids it leaves it as it is."""
    with contextlib.suppress(OSError, ValueError):
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def limit() -> int:
    """The number of files that this process may have open."""
    try:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    except OSError:
        return USUAL
    return _WANTED if soft == resource.RLIM_INFINITY else soft


def needed(calls: int, listeners: int = 2) -> int:
    """The limit of open files below which the listeners get only the least, with so many calls to Assure at once."""
    return _REST + calls + listeners * _LEAST


def connections_each(calls: int, listeners: int = 2) -> int:
    """The connections that each listener may hold at once, beside so many calls to Assure at once."""
    return max(_LEAST, min(_MOST, (limit() - _REST - calls) // listeners))
