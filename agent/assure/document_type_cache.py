"""Assure's document types, kept: in memory, in the store across restarts, and asked for again when they are needed.

Nothing is asked before some document needs it. A list serves for a day; a lookup that it cannot answer asks again, at
most once a minute. Who waits for an answer waits for seconds, never for a call that hangs [I9].
"""

import asyncio
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

from agent.core.answer import Answer, Busy, Done, Evidence
from agent.core.assure_types import DocumentKey, DocumentType
from agent.core.document_types import Resolution, resolve
from agent.ports import Clock, Remote, Store

_KEY = "document-types"
_MAX_AGE = 86_400.0  # seconds that a list is good for
_MIN_INTERVAL = 60.0  # between two lists
_FAILED_INTERVAL = 5.0  # after a call that brought none
_CALL_TIMEOUT = 5.0  # real seconds that anybody waits for one call


@dataclass(frozen=True, slots=True)
class _CachedList:
    """The list and when it was received."""

    at: float
    types: tuple[DocumentType, ...]


_LIST: TypeAdapter[_CachedList] = TypeAdapter(_CachedList)


class OfflineDocumentTypes:
    """Whoever cannot ask Assure: what is remembered has to do."""

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """Not now."""
        return Busy(evidence=Evidence(cause="offline"))


class DocumentTypeCache:
    """Implements `agent.ports.DocumentTypes`. Close it with `aclose`."""

    def __init__(self, remote: Remote | OfflineDocumentTypes, store: Store, clock: Clock) -> None:
        self._remote = remote
        self._store = store
        self._clock = clock
        self._list: _CachedList | None = None
        self._loaded = False
        self._failed_at: float | None = None
        self._refreshing: asyncio.Task[None] | None = None
        self._retry_at = 0.0  # by the loop's time: no request waits longer for the call under way

    async def aclose(self) -> None:
        """Give up the call under way."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)

    async def resolve(self, key: DocumentKey) -> Resolution | None:
        """What is meant, by a list of at most a day; None while no such list can be had. Returns within seconds."""
        found = self._cached(key)
        if not isinstance(found, DocumentType) and self._may_refresh():
            await self._await_refresh()
            found = self._cached(key)
        return found

    def _cached(self, wanted: DocumentKey) -> Resolution | None:
        if not self._loaded:
            self._loaded, self._list = True, _read(self._store.recall(_KEY))
        known = self._list
        return resolve(known.types, wanted) if known is not None and self._since(known.at, _MAX_AGE) else None

    def _may_refresh(self) -> bool:
        if self._refreshing is not None:
            return True  # wait with the others
        if self._failed_at is not None:
            return not self._since(self._failed_at, _FAILED_INTERVAL)
        return self._list is None or not self._since(self._list.at, _MIN_INTERVAL)

    def _since(self, at: float, seconds: float) -> bool:
        """True less than so many seconds after; a time in the future was told by a clock that was wrong."""
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
                await self._store.remember(_KEY, orjson.dumps(self._list).decode())
            else:
                self._failed_at = self._clock.now()
        finally:
            self._refreshing = None


def _consume_error(refreshing: asyncio.Task[None]) -> None:
    """Whoever waited has given up: a store that failed meanwhile is told by whoever writes next."""
    if not refreshing.cancelled():
        refreshing.exception()


def _read(text: str | None) -> _CachedList | None:
    try:
        return None if text is None else _LIST.validate_json(text)
    except ValidationError:
        return None  # written by another version: ask for it
