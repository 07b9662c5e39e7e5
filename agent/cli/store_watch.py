"""The changes of a store, read without a lock and without reading what did not change."""

import contextlib
from collections.abc import Iterator, Sequence
from time import sleep

from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading, store_identity
from agent.store.reading.reading import Reading

_POLL_SECONDS = 0.25  # between two reads of the version of the file


def watch_requests(places: Sequence[Settings]) -> Iterator[list[Record]]:
    """All requests at first, and then those that changed, again and again. Ends only with an exception.

    The store is the first of the places that exists. The first list is empty if none exists yet. If another store takes
    its place, all requests of that store follow.
    """
    watched: tuple[int, int] | None = None
    first = True
    with contextlib.ExitStack() as opened:
        while True:
            place, identity = next(filter(None, map(_existing, places)), (None, None))
            if place is not None and identity != watched:
                opened.close()
                changes = _changes(opened.enter_context(open_reading(place)))
                watched = identity
            changed = next(changes) if watched is not None else []
            if changed or first:
                yield changed
            first = False
            sleep(_POLL_SECONDS)


def _existing(settings: Settings) -> tuple[Settings, tuple[int, int]] | None:
    """A store with its identity. None if it does not exist."""
    identity = store_identity(settings)
    return None if identity is None else (settings, identity)


def _changes(reading: Reading) -> Iterator[list[Record]]:
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
