"""What the loops need of the outside. Each port states its contract; adapters live in store, assure and source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from agent.core.answer import Answer
from agent.core.remote import (
    CaptureOptions,
    Depiction,
    DossierReading,
    ListedDossier,
    NewProcess,
    ProcessPage,
    ProcessReading,
    ProcessType,
    Status,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One picture in memory: its bytes and `image/jpeg` or `image/png`. Never printed."""

    content: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"Image({self.media_type}, {len(self.content)} bytes)"


class Remote(Protocol):
    """The Assure API, one method per call. Never raises for an answer or for the lack of one: it returns what is known.

    Each call is sent at most once; repeating is decided elsewhere. Only cancellation raises.
    """

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers with our externalReference; done: the dossier's id (§4)."""

    async def create_process(
        self, dossier_id: str, process_type: ProcessType, document_id: int
    ) -> Answer[NewProcess]:
        """POST processes with provider, processType, documentId and nothing else (§6)."""

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture; done: the link, a bearer secret (§10)."""

    async def upload_images(
        self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]
    ) -> Answer[None]:
        """POST images as data URLs (§7)."""

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process: the billable act (§8); done: the status it replied with."""

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process (§9)."""

    async def read_dossier(self, dossier_id: str) -> Answer[DossierReading]:
        """GET dossier with its processes (§4)."""

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images?depiction= (§7); done: the bytes."""

    async def list_dossiers(self) -> Answer[tuple[ListedDossier, ...]]:
        """GET /dossiers: the last 100 that are not deleted (§4)."""

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes created since `since` (seconds since the epoch), in any of `statuses` (all when empty) (§9)."""

    async def delete_dossier(self, dossier_id: str) -> Answer[None]:
        """DELETE dossier: 204; a 404 is Refused with `missing` (§4)."""


class Clock(Protocol):
    """Time. Tests use one that jumps."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after that much time."""
