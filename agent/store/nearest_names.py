"""The error for an unknown request, with the most similar name in the store."""

import contextlib
from pathlib import Path

from agent.core.errors import StoreError, UnknownRequest
from agent.store.sqlite.readonly import ReadOnlyStore

_NEIGHBOURS = 500  # names on each side that are compared, at about 60 us each


def unknown_request(path: Path, name: str, reason: str = "", audit: bool = False) -> UnknownRequest:
    """The error for a name that is not in this state file, which may be missing or unreadable."""
    similar: list[str] = []
    if path.exists():
        with contextlib.suppress(StoreError), ReadOnlyStore(path) as reading:
            similar = reading.names_around(name, _NEIGHBOURS)
    return UnknownRequest(name, reason, audit, similar)
