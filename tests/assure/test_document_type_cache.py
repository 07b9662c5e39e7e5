"""The list of document types: requested when it is needed, and never waited for long (contract §5)."""

import asyncio
import gc

import pytest

from agent.assure import document_type_cache
from agent.assure.document_type_cache import DocumentTypeCache
from agent.core.answer import Answer, Done, Evidence
from agent.core.assure_types import DocumentType
from agent.core.document_types import DocumentKey
from agent.core.errors import StoreError
from agent.platform.clock import SystemClock


class Late:
    """An Assure that answers when the test allows it."""

    def __init__(self) -> None:
        self.now = asyncio.Event()

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        await self.now.wait()
        return Done(value=(), evidence=Evidence())


class Full:
    """A store on a full disk."""

    async def recall(self, _: str) -> str | None:
        return None

    async def remember(self, _: str, __: str) -> None:
        raise StoreError("The state file could not be written: the disk is full.")


class Ready:
    """An Assure that answers at once."""

    def __init__(self, rows: tuple[DocumentType, ...]) -> None:
        self.rows, self.calls = rows, 0

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        self.calls += 1
        return Done(value=self.rows, evidence=Evidence())


class Memory(Full):
    """A store that accepts every value."""

    async def remember(self, _: str, __: str) -> None:
        pass


async def test_a_list_that_cannot_be_stored_causes_no_traceback_after_all_waits_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next write reports the full disk."""
    monkeypatch.setattr(document_type_cache, "_CALL_TIMEOUT", 0.0)
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    remote = Late()
    kept = DocumentTypeCache(remote, Full(), SystemClock())  # type: ignore[arg-type]
    assert await kept.resolve(DocumentKey("NLD", "passport")) is None
    remote.now.set()
    assert kept._refreshing is not None
    await asyncio.wait({kept._refreshing})
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


@pytest.mark.parametrize(("ids", "known"), [((), None), ((137, 58), frozenset({137, 58}))])
async def test_the_listed_ids_need_no_call(ids: tuple[int, ...], known: frozenset[int] | None) -> None:
    """An empty list proves nothing about an id."""
    rows = tuple(DocumentType(id=number, country="NLD", type="passport", name="") for number in ids)
    store, remote = Memory(), Ready(rows)
    cache = DocumentTypeCache(remote, store, SystemClock())  # type: ignore[arg-type]
    assert (await cache.listed_ids(), remote.calls) == (None, 0)
    await cache.resolve(DocumentKey("NLD", "passport"))
    assert (await cache.listed_ids(), remote.calls) == (known, 1)
