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
_SERVES = 86_400.0  # seconds that a list is good for
_PAUSE = 60.0  # between two lists
_FAILED_PAUSE = 5.0  # after a call that brought none
_PATIENCE = 5.0  # real seconds that anybody waits for one call


@dataclass(frozen=True, slots=True)
class _List:
    """The list and when it was received."""

    at: float
    types: tuple[DocumentType, ...]


_LIST: TypeAdapter[_List] = TypeAdapter(_List)


class Silence:
    """Whoever cannot ask Assure: what is remembered has to do."""

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """Not now."""
        return Busy(evidence=Evidence(cause="offline"))


class Catalogue:
    """Implements `agent.ports.DocumentTypes`. Close it with `aclose`."""

    def __init__(self, remote: Remote | Silence, store: Store, clock: Clock) -> None:
        self._remote = remote
        self._store = store
        self._clock = clock
        self._list: _List | None = None
        self._recalled = False
        self._failed_at: float | None = None
        self._asking: asyncio.Task[None] | None = None
        self._until = 0.0  # of the loop's time: nobody waits longer for the call under way

    async def aclose(self) -> None:
        """Give up the call under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def resolve(self, wanted: DocumentKey) -> Resolution | None:
        """What is meant, by a list of at most a day; None while no such list can be had. Returns within seconds."""
        found = self._look(wanted)
        if not isinstance(found, DocumentType) and self._may_ask():
            await self._ask()
            found = self._look(wanted)
        return found

    def _look(self, wanted: DocumentKey) -> Resolution | None:
        if not self._recalled:
            self._recalled, self._list = True, _read(self._store.recall(_KEY))
        known = self._list
        return resolve(known.types, wanted) if known is not None and self._since(known.at, _SERVES) else None

    def _may_ask(self) -> bool:
        if self._asking is not None:
            return True  # wait with the others
        if self._failed_at is not None:
            return not self._since(self._failed_at, _FAILED_PAUSE)
        return self._list is None or not self._since(self._list.at, _PAUSE)

    def _since(self, at: float, seconds: float) -> bool:
        """True less than so many seconds after; a time in the future was told by a clock that was wrong."""
        return 0 <= self._clock.now() - at < seconds

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        if self._asking is None:
            self._until = loop.time() + _PATIENCE
            self._asking = asyncio.create_task(self._refresh())
            self._asking.add_done_callback(_heard)
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=max(0.0, self._until - loop.time()))
        if done:
            asking.result()  # raises StoreError

    async def _refresh(self) -> None:
        try:
            answer = await self._remote.list_document_types()
            if isinstance(answer, Done):
                self._list, self._failed_at = _List(self._clock.now(), answer.value), None
                await self._store.remember(_KEY, orjson.dumps(self._list).decode())
            else:
                self._failed_at = self._clock.now()
        finally:
            self._asking = None


def _heard(asking: asyncio.Task[None]) -> None:
    """Whoever waited has given up: a store that failed meanwhile is told by whoever writes next."""
    if not asking.cancelled():
        asking.exception()


def _read(text: str | None) -> _List | None:
    try:
        return None if text is None else _LIST.validate_json(text)
    except ValidationError:
        return None  # written by another version: ask for it
