"""The ports to Assure: the API, and the gate that stops calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.core.answer import Answer
    from agent.core.assure_types import (
        CaptureOptions,
        Depiction,
        DocumentType,
        DossierReading,
        ListedProcess,
        Listing,
        NewProcess,
        ProcessPage,
        ProcessReading,
        ProcessType,
        Status,
    )

PAGE_SIZE = 2000  # rows of a page of processes; Assure returns no more (contract §9)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultReading:
    """GET process as a reading, with the unencrypted claims of an accepted process as JSON. Never printed."""

    reading: ProcessReading
    claims: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture in memory: its bytes and `image/jpeg` or `image/png`. Never printed."""

    content: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"Image({self.media_type}, {len(self.content)} bytes)"


class Remote(Protocol):
    """The Assure API, one method per call. Error answers and lost answers are return values; only cancellation raises.

    Each call is sent once, or twice if a 401 needs a new token. The state machine decides on every other repetition.
    """

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers with the externalReference (§4). Returns the dossier's id."""

    async def create_process(self, dossier_id: str, process_type: ProcessType, document_id: int) -> Answer[NewProcess]:
        """POST processes with provider, processType, documentId and nothing else (§6)."""

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture (§10). Returns the link, a bearer secret."""

    async def upload_images(self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]) -> Answer[None]:
        """POST images as data URLs (§7)."""

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process, the billable act (§8). Returns the status in the response."""

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process (§9)."""

    async def read_result(self, dossier_id: str, process_id: str) -> Answer[ResultReading]:
        """GET process (§9), with its claims when it is accepted."""

    async def read_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[DossierReading]:
        """GET dossier with its processes (§4). `expect_missing`: it was deleted, and a 404 is expected."""

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images?depiction= (§7). Returns the bytes."""

    async def list_dossiers(self) -> Answer[Listing]:
        """GET /dossiers: the last 100 that are not deleted (§4)."""

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes created since `since` (seconds since the epoch) in any of `statuses`, all when empty (§9)."""

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types of PictureID; none is an empty tuple (§5)."""

    async def delete_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[None]:
        """DELETE dossier (§4). A 404 is Refused with `missing`. `expect_missing`: such a 404 is expected."""


class Gate(Protocol):
    """Decides if calls to Assure may begin. A request waits as a row with a time, and occupies no worker [I8]."""

    def is_closed(self, now: float) -> bool:
        """True while the agent sends nothing. A call that begins anyway is answered as busy."""

    def capacity(self, now: float) -> float:
        """How many more calls may begin now. Infinity: no limit."""

    def opens_at(self, now: float) -> float:
        """When more calls may begin. Infinity: unknown, and `wake` is called then."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the gate closes and when it opens."""


async def list_all_processes(remote: Remote, since: float, statuses: tuple[Status, ...]) -> list[ListedProcess] | None:
    """The processes created since then, in any of these statuses (all, when empty). None if a page is missing."""
    from agent.core.answer import Done

    rows: list[ListedProcess] = []
    offset, total = 0, 1
    while offset < total:
        page = await remote.list_processes(since, statuses, offset, PAGE_SIZE)
        if not isinstance(page, Done):
            return None
        rows += page.value.processes
        offset, total = offset + PAGE_SIZE, page.value.total
    return rows
