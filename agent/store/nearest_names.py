"""The error for an unknown request, with the most similar name in the store."""

import contextlib
from typing import TYPE_CHECKING

from agent.core.errors import StoreError, UnknownRequest
from agent.store import open_reading, store_exists

if TYPE_CHECKING:
    from agent.platform.settings import Settings

_NEIGHBOURS = 500  # names on each side that are compared, at about 60 us each


def unknown_request(settings: "Settings", name: str, reason: str = "", audit: bool = False) -> UnknownRequest:
    """The error for a name that is not in the store, which may be missing or unreadable."""
    similar: list[str] = []
    with contextlib.suppress(StoreError):
        if store_exists(settings):
            with open_reading(settings) as reading:
                similar = reading.names_around(name, _NEIGHBOURS)
    return UnknownRequest(name, reason, audit, similar)
