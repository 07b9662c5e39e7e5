"""The changes of a store, read without a lock and without reading what did not change."""

import contextlib
from collections.abc import Iterator, Sequence
from time import sleep

from agent.cli.output import print_error
from agent.core.errors import StoreAway
from agent.core.record import Record
from agent.platform.settings import Settings
from agent.store import open_reading, store_identity
from agent.store.reading.reading import Reading

_POLL_SECONDS = 0.25  # between two reads of the version of the file


def watch_requests(places: Sequence[Settings]) -> Iterator[list[Record]]:
    """All requests at first, and then those that changed, again and again. Ends only with an exception.

    The store is the first of the places that exists. The first list is empty if none exists yet. If another store takes
    its place, all requests of that store follow. A database may be away after the first list: a note on stderr says so.
    """
    watched: tuple[int, int] | None = None
    first, away = True, False
    with contextlib.ExitStack() as opened:
        while True:
            try:
                place, identity = next(filter(None, map(_existing, places)), (None, None))
                if place is not None and identity != watched:
                    opened.close()
                    changes = _Changes(opened.enter_context(open_reading(place)))
                    watched = identity
                changed = changes.read() if watched is not None else []
            except StoreAway as error:
                if first:
                    raise
                if not away:
                    print_error(error)
                away = True
            else:
                if changed or first:
                    yield changed
                first = away = False
            sleep(_POLL_SECONDS)


def _existing(settings: Settings) -> tuple[Settings, tuple[int, int]] | None:
    """A store with its identity. None if it does not exist."""
    identity = store_identity(settings)
    return None if identity is None else (settings, identity)


class _Changes:
    """All requests at first, and then those with new events since the last call."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._version: int | None = None
        self._event = 0

    def read(self) -> list[Record]:
        """The requests that changed. While no other connection commits, a call reads no row.

        A commit between two queries is found by the next call. So are all commits since a call that failed.
        """
        version = self._reading.data_version()
        if version == self._version:
            return []
        newest = self._reading.last_event()
        if self._version is None:
            changed = list(self._reading.all())
        else:
            changed = self._reading.changed_after(self._event) if newest > self._event else []
        self._version, self._event = version, newest
        return changed
