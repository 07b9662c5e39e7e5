"""A cache of Assure's document types, in memory and, across restarts, in the store.

The first lookup reads the list from Assure. A list is valid for a day. A lookup that it cannot answer reads it again,
at most once a minute. A lookup waits a few seconds at most, even if the call hangs [I9].
"""

import asyncio
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

from agent.core.answer import Answer, Busy, Done, Evidence
from agent.core.assure_types import DocumentKey, DocumentType
from agent.core.document_types import Resolution, resolve
from agent.ports import Clock, KeyValue, MetaKey, Remote

_MAX_AGE = 86_400.0  # seconds that a list is valid
_MIN_INTERVAL = 60.0  # seconds between two calls
_FAILED_INTERVAL = 5.0  # seconds after a failed call
_CALL_TIMEOUT = 5.0  # seconds of real time that a lookup waits for one call


@dataclass(frozen=True, slots=True)
class _CachedList:
    """The list and the time at which it was received."""

    at: float
    types: tuple[DocumentType, ...]


_LIST: TypeAdapter[_CachedList] = TypeAdapter(_CachedList)


class OfflineDocumentTypes:
    """A remote that is always busy, for offline commands: only the cached list is used."""

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """Always busy."""
        return Busy(evidence=Evidence(cause="offline"))


class DocumentTypeCache:
    """Implements `agent.ports.DocumentTypes`. Close it with `aclose`."""

    def __init__(self, remote: Remote | OfflineDocumentTypes, store: KeyValue, clock: Clock) -> None:
        self._remote = remote
        self._store = store
        self._clock = clock
        self._list: _CachedList | None = None
        self._loaded = False
        self._failed_at: float | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._retry_at = 0.0  # loop time until which lookups wait for the call in flight

    async def aclose(self) -> None:
        """Cancel the call in flight."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def resolve(self, wanted: DocumentKey | int) -> Resolution | None:
        """The resolution by a valid list; None until Assure has sent a list. Returns within seconds."""
        await self._load()
        found = self._cached(wanted)
        if not isinstance(found, DocumentType) and self._may_refresh():
            await self._await_refresh()
            found = self._cached(wanted)
        return found

    async def listed_ids(self) -> frozenset[int] | None:
        """The ids of a valid list, without a call. None if there is no such list, or if it is empty."""
        await self._load()
        types = self._valid_types()
        return frozenset(row.id for row in types) if types else None

    def _cached(self, wanted: DocumentKey | int) -> Resolution | None:
        types = self._valid_types()
        return resolve(types, wanted) if types is not None else None

    async def _load(self) -> None:
        """Read the stored list, once. A list that Assure sends meanwhile is newer."""
        if not self._loaded:
            stored = _read(await self._store.recall(MetaKey.DOCUMENT_TYPES))
            if not self._loaded:
                self._loaded, self._list = True, stored

    def _valid_types(self) -> tuple[DocumentType, ...] | None:
        known = self._list
        return known.types if known is not None and self._since(known.at, _MAX_AGE) else None

    def _may_refresh(self) -> bool:
        if self._refreshing is not None:
            return True  # join the call in flight
        if self._failed_at is not None:
            return not self._since(self._failed_at, _FAILED_INTERVAL)
        return self._list is None or not self._since(self._list.at, _MIN_INTERVAL)

    def _since(self, at: float, seconds: float) -> bool:
        """True if `at` is less than `seconds` ago. A time in the future comes from a wrong clock and counts as old."""
        return 0 <= self._clock.now() - at < seconds

    async def _await_refresh(self) -> None:
        loop = asyncio.get_running_loop()
        if self._refreshing is None:
            self._retry_at = loop.time() + _CALL_TIMEOUT
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(_consume_error)
        asking = self._refreshing
        done, _ = await asyncio.wait({asking}, timeout=max(0.0, self._retry_at - loop.time()))
        if done:
            asking.result()  # raises StoreError

    async def _refresh(self) -> None:
        try:
            answer = await self._remote.list_document_types()
            if isinstance(answer, Done):
                self._list, self._failed_at = _CachedList(self._clock.now(), answer.value), None
                await self._store.remember(MetaKey.DOCUMENT_TYPES, orjson.dumps(self._list).decode())
            else:
                self._failed_at = self._clock.now()
        finally:
            self._refreshing = None


def _consume_error(refreshing: asyncio.Task[None]) -> None:
    """Retrieve the exception, so that asyncio does not log it. A failed store fails the next write as well."""
    if not refreshing.cancelled():
        refreshing.exception()


def _read(text: str | None) -> _CachedList | None:
    try:
        return None if text is None else _LIST.validate_json(text)
    except ValidationError:
        return None  # written by another version: read it again
