"""The changes of a state file, read without a lock and without reading what did not change."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import sleep

from agent.core.record import Record
from agent.store.sqlite.readonly import ReadOnlyStore

_POLL_SECONDS = 0.25  # between two reads of the version of the file


def watch_requests(paths: Sequence[Path]) -> Iterator[list[Record]]:
    """All requests at first, and then those that changed, again and again. Ends only with an exception.

    The store is the first of the paths that exists. The first list is empty if none exists yet. If another file takes
    its place, all requests of that file follow.
    """
    watched: tuple[int, int] | None = None
    first = True
    with contextlib.ExitStack() as opened:
        while True:
            path, identity = next(filter(None, map(_existing, paths)), (None, None))
            if path is not None and identity != watched:
                opened.close()
                changes = _changes(opened.enter_context(ReadOnlyStore(path)))
                watched = identity
            changed = next(changes) if watched is not None else []
            if changed or first:
                yield changed
            first = False
            sleep(_POLL_SECONDS)


def _existing(path: Path) -> tuple[Path, tuple[int, int]] | None:
    """A file with its file system and inode. None if it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return path, (found.st_dev, found.st_ino)


def _changes(reading: ReadOnlyStore) -> Iterator[list[Record]]:
    """All requests at first, and then those with new events since the last call.

    While no other connection commits, a call reads no row. A commit between two reads is found by the next call.
    """
    version, event = reading.data_version(), reading.last_event()
    yield list(reading.all())
    while True:
        if (current := reading.data_version()) == version:
            yield []
            continue
        version, newest = current, reading.last_event()
        yield reading.changed_after(event) if newest > event else []
        event = newest
