"""What the loops need of the outside. Each port states its contract; adapters live in store, assure and source."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agent.core.admission import Remark
from agent.core.answer import Answer
from agent.core.document_types import Resolution
from agent.core.effect import ImageRef, Keeping
from agent.core.machine import Step
from agent.core.notice import Notice
from agent.core.observation import Sealed
from agent.core.record import Record
from agent.core.remote import (
    CaptureOptions,
    Depiction,
    DocumentKey,
    DocumentType,
    DossierReading,
    ListedDossier,
    NewProcess,
    ProcessPage,
    ProcessReading,
    ProcessType,
    Status,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultReading:
    """GET process as a reading, and the claims of an accepted one as JSON: in clear, to be sealed, never printed."""

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
    """The Assure API, one method per call. Never raises for an answer or for the lack of one: it returns what is known.

    Each call is sent at most once, but for once more with a new token after a 401; repeating is decided elsewhere.
    Only cancellation raises.
    """

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers with our externalReference; done: the dossier's id (§4)."""

    async def create_process(self, dossier_id: str, process_type: ProcessType, document_id: int) -> Answer[NewProcess]:
        """POST processes with provider, processType, documentId and nothing else (§6)."""

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture; done: the link, a bearer secret (§10)."""

    async def upload_images(self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]) -> Answer[None]:
        """POST images as data URLs (§7)."""

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process: the billable act (§8); done: the status it replied with."""

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process (§9)."""

    async def read_result(self, dossier_id: str, process_id: str) -> Answer[ResultReading]:
        """GET process (§9), with its claims when it is accepted."""

    async def read_dossier(self, dossier_id: str, gone: bool = False) -> Answer[DossierReading]:
        """GET dossier with its processes (§4). `gone`: it was deleted, and a 404 is expected."""

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images?depiction= (§7); done: the bytes."""

    async def list_dossiers(self) -> Answer[tuple[ListedDossier, ...]]:
        """GET /dossiers: the last 100 that are not deleted (§4)."""

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes created since `since` (seconds since the epoch) in any of `statuses`, all when empty (§9)."""

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types of PictureID; none is an empty tuple (§5)."""

    async def delete_dossier(self, dossier_id: str, gone: bool = False) -> Answer[None]:
        """DELETE dossier: 204; a 404 is Refused with `missing` (§4). `gone`: such a 404 is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Requests that wait for a result: how many, and when the first of them was begun (seconds since the epoch)."""

    count: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """An image that cannot be sent. `reason` is a token: missing, changed, outside, format, too-large, unreadable."""

    depiction: Depiction
    reason: str


class Pictures(Protocol):
    """The images folder."""

    async def read(self, images: Sequence[ImageRef]) -> Mapping[Depiction, Image] | Unfit:
        """The images as they were admitted, or the first that is not so any more."""


class Unsealable(Exception):
    """Claims that cannot be sealed. `reason` is a token: no-key, disk."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Seals(Protocol):
    """Encrypts claims."""

    def seal(self, keeping: Keeping, claims: bytes, at: float) -> Sealed:
        """The claims of this moment, sealed until their time is over. Blocking, for milliseconds. Raises Unsealable.

        What was sealed can be opened again only once it was committed.
        """


class Gate(Protocol):
    """May calls to Assure begin? Whoever asks before it begins waits as a row with a time, not as a worker [I8]."""

    def shut(self, now: float) -> bool:
        """True while nothing is sent: what is asked for all the same is busy."""

    def room(self, now: float) -> float:
        """How many more calls may begin now; infinity: any number."""

    def opens_at(self, now: float) -> float:
        """When there will be room; infinity: `wake` is called then."""

    def listen(self, wake: Callable[[], None]) -> None:
        """Call this whenever nothing may be sent any more, or everything again."""


class Budget(Protocol):
    """The starts of a day."""

    def take(self) -> float | None:
        """Take one; None when there was one, otherwise when the next day's budget begins."""


class DocumentTypes(Protocol):
    """Assure's document types, as of today."""

    async def resolve(self, wanted: DocumentKey) -> Resolution | None:
        """What is meant, by a list of at most a day; None while no such list can be had. Returns within seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A store that is not what it was, since `at`. `why`: lost, older (than its mark), restored (from a backup)."""

    at: float
    why: str
    looked_at: float | None = None  # Assure was asked for what it still has
    approved_at: float | None = None  # a person said to go on

    @property
    def gated(self) -> bool:
        """True while nothing may be begun: a copy knows of work that may have gone further since it was made."""
        return self.why != "lost"


class Recoveries(Protocol):
    """What is on record of a store that is not what it was."""

    fresh: bool  # the store was made just now: it has no past

    def open(self) -> Recovery | None:
        """The recovery that goes on, or None: all is as usual."""

    def doubtful(self) -> list[str]:
        """The uids of what is not done: all of it may be behind what happened."""

    def unproven(self, unseen: bool = False) -> list[str]:
        """The uids of those held because nothing is known of their past; with `unseen` those not looked for yet."""

    async def looked(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Assure was asked; `unclaimed` are dossiers that no request explains: id and reference."""

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """An empty dossier of an earlier attempt: its deletion is intended from here on."""

    def looked_last(self) -> float | None:
        """When Assure was last asked in an earlier recovery: what was there before is settled. None: never."""

    def explained(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that a record has, or that an earlier recovery saw and left alone."""

    async def begin(self, at: float) -> None:
        """The store was found to be behind while it was in use: a recovery as for an older copy."""

    async def approve(self, at: float) -> None:
        """A person says to go on."""

    async def close(self, at: float) -> None:
        """All is as usual again."""


class Clock(Protocol):
    """Time. Tests use one that jumps."""

    def now(self) -> float:
        """Wall-clock time in seconds since the epoch, UTC."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a person tells the agent. `id` is made by who sends it: the same command sent twice is obeyed once."""

    id: str
    verb: str
    uid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notice that is owed to a sink. `event` is the same however often it is sent; `name` is None once forgotten."""

    id: int
    event: str
    uid: str
    name: str | None
    mode: str
    notice: Notice

    def __repr__(self) -> str:
        return f"Delivery({self.id}, {self.notice.type} of {self.uid})"


class Sink(Protocol):
    """Somebody who wants to be told."""

    async def send(self, delivery: Delivery) -> bool:
        """Tell it; True when the sink took it. Never raises for an answer or for the lack of one."""


class Store(Protocol):
    """Where records live. Whatever a coroutine of it returned from is durable [I4]; reads see what is durable."""

    async def commit(self, steps: Sequence[Step]) -> None:
        """Make these steps durable, all or none. Raises StoreError."""

    def get(self, uid: str) -> Record | None:
        """The record of this uid."""

    def claim(self, now: float, limit: int, busy: set[str], begun: bool = False) -> list[Record]:
        """At most `limit` records that are due and not busy: new work first, then what is tried again, then looks.

        With `begun` only those that wait for their result or their deletion.
        """

    def next_due(self, busy: set[str], begun: bool = False) -> float | None:
        """When the next record that is not busy is due; of those begun, or of all."""

    def overdue(self, now: float, limit: int, busy: set[str]) -> list[Record]:
        """At most `limit` records that are not busy, and whose deadline or hold has run out before their outcome."""

    def creating(self) -> list[Record]:
        """Those without a dossier whose creation was asked for at least once."""

    def unsettled(self, begun: bool = False) -> bool:
        """True while some request goes on by itself: not held, not suspended, not queued, not in retention."""

    def waiting(self) -> Waiting:
        """What waits for a result."""

    def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of those that wait for a result in one of these dossiers."""

    def oldest_looks(self, limit: int) -> list[str]:
        """Those that wait for a result, the ones that were looked at longest ago first."""

    def reserved_since(self, at: float) -> int:
        """How many starts were reserved since then."""

    def patient(self) -> list[str]:
        """The uids of those that wait for the budget, or for their images."""

    def present(self, source: str) -> dict[str, str]:
        """The names of a source whose files are there, as far as we know, with their uids."""

    def withdrawn_since(self, at: float) -> int:
        """How many files were taken away before the outcome since then, those that are back among them."""

    async def scanned(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        remarks: Iterable[Remark] | None = None,
    ) -> None:
        """Note what a scan saw. `refusals` (file, line, column, message, hint, name) and `remarks` replace the earlier
        ones, if given.
        """

    def recall(self, key: str) -> str | None:
        """What was remembered of this account under this key."""

    async def remember(self, key: str, value: str) -> None:
        """Keep a text for this account; it is forgotten when the store is bound to another one."""

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """Possible orphans that are open: reference, since, and the dossier's id when it showed."""

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """A possible orphan showed; its deletion is intended from here on."""

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """A possible orphan was deleted and confirmed, or never showed."""
