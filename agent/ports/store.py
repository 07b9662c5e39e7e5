"""The store, as one Protocol for each consumer. Every coroutine returns when its change is durable [I4].

Reads see committed data. Every method may raise StoreError.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent.ports.duties import MissingImages
from agent.ports.key_value import KeyValue

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from agent.core.admission import ScanNote
    from agent.core.record import Record
    from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionState
    from agent.core.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSummary:
    """The requests that wait for a result: their number, and the oldest first create call (seconds since the epoch)."""

    count: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A received Assure Event: the digest of its id, when it arrived, and the time before which receipts expire."""

    digest: str
    at: float
    forget_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call that changes something at Assure, with its answer. `result` is None until Assure answers."""

    number: int
    generation: int
    effect: str
    intended_at: float
    answered_at: float | None
    result: str | None  # done | refused | busy | unknown
    status: int | None  # HTTP
    trouble: str | None
    cause: str | None
    trace_id: str | None
    shape: str | None  # the keys of the answer's body, with their types
    digest: str | None  # of the answer's body
    words: str | None  # the known words of an error body


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedImageDeletion:
    """A failed deletion of image files. `cause` is the name of an errno, or `changing`."""

    tries: int
    since: float  # when the files became deletable
    due_at: float  # the next try
    cause: str


class IdentityKey(Protocol):
    """The key of the store, for uids and digests."""

    def uid(self, source: str, name: str) -> str:
        """The uid of a request."""

    def digest(self, content: bytes) -> str:
        """A salted digest."""


class Records(Protocol):
    """The records of requests."""

    async def get(self, uid: str) -> Record | None:
        """The record of this uid."""

    async def get_many(self, uids: Sequence[str]) -> dict[str, Record]:
        """The records of these uids, by uid; without those that the store does not have."""

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Write these steps and the receipt of their event, all or none.

        Raises Moved if a stored record is no longer the one before its step.
        """


class DrivenRecords(Records, Protocol):
    """Records that replicas may be processing."""

    async def is_driven(self, uid: str) -> bool:
        """True if a replica that lives has claimed the record. False with a state file."""


class DueRecords(DrivenRecords, MissingImages, Protocol):
    """The records that the reconciler drives."""

    @property
    def shared(self) -> bool:
        """True if other replicas may process records of the store, so that new work appears without an event here."""

    @property
    def running_since(self) -> float:
        """Since when agents have processed the records without a gap, in seconds since the epoch.

        Infinity: this process is the first one.
        """

    async def claim(
        self,
        now: float,
        limit: int,
        busy: set[str],
        started_only: bool = False,
        working: Collection[str] = (),
        wanted: Collection[str] = (),
    ) -> list[Record]:
        """At most `limit` due records that are not busy: first new work, then retries and deletions, then polls.

        With `started_only` only those that wait for their result or their deletion. `working` are the busy records that
        this replica processes: it keeps their claims, and releases all others. `wanted` records are claimed although
        they are not due.
        """

    async def release(self, working: Collection[str]) -> None:
        """Release all claims of this replica but these."""

    async def next_due(self, busy: set[str], started_only: bool = False) -> float | None:
        """When the next record that is not busy is due."""

    async def overdue(self, now: float, limit: int, busy: set[str], working: Collection[str] = ()) -> list[Record]:
        """Claim at most `limit` records that are not busy, and whose deadline or hold has expired before their outcome.

        `working` as in `claim`.
        """

    async def creating(self) -> list[Record]:
        """The records without a dossier whose creation was intended at least once."""


class WaitingRecords(Protocol):
    """The records that wait for a result."""

    async def waiting(self) -> WaitingSummary:
        """How many wait."""

    async def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of those that wait for a result in one of these dossiers."""

    async def least_recently_polled(self, limit: int) -> list[str]:
        """The uids of those whose last poll is longest ago, oldest first."""


class Starts(Protocol):
    """The billable starts."""

    @property
    def shared(self) -> bool:
        """True if other replicas take starts as well."""

    async def take_start(self, uid: str, generation: int, day: float, limit: int) -> tuple[bool, int]:
        """Take one start of the budget that all replicas share. A repetition for the same generation takes no other.

        `day` is the time when the day began. Returns whether the start was taken, and how many are taken of the day.
        """

    async def starts_since(self, at: float) -> int:
        """How many starts count since then: reserved ones, and those made or begun without a budget."""


class DossierOwners(Protocol):
    """The use of dossiers."""

    async def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """The uid of the request that is not done and has the dossier, by dossier."""

    async def orphans(self) -> list[tuple[str, float, str | None]]:
        """The open possible orphans: reference, since, and the dossier's id once Assure showed it."""


class Orphans(DossierOwners, Protocol):
    """The possible orphans: dossiers whose creation was not answered."""

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """Record the dossier of a possible orphan. The agent deletes it, unless a request has it."""

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """Close a possible orphan: its deletion is confirmed, or it never appeared."""


class AdmissionStore(DossierOwners, KeyValue, Protocol):
    """The store, as admission uses it."""

    async def get_many(self, uids: Sequence[str]) -> dict[str, Record]:
        """The records of these uids, by uid; without those that the store does not have."""

    async def present(self, source: str) -> dict[str, str]:
        """The names and uids of the requests of a source that have a file, according to the last scan."""

    async def withdrawn_since(self, at: float) -> int:
        """How many files were removed before the outcome since then, also those that are back."""

    async def record_scan(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        scan_notes: Iterable[ScanNote] | None = None,
        revision: Revision | None = None,
    ) -> None:
        """Store the result of a scan. `refusals` (file, line, column, message, hint, name) and `scan_notes` replace
        the earlier ones, if given. `revision` of a git source becomes the one that the agent acts on.
        """


class RevisionStore(Protocol):
    """The state of a git source."""

    async def revision_state(self, source: str) -> RevisionState:
        """The state of this source; empty if it never was a git source."""

    async def record_refresh(
        self, source: str, at: float, fetched: bool, refused: RefusedRevision | None, failure: FetchFailure | None
    ) -> None:
        """Record the result of a refresh. `fetched`: the server reported its head. Writes nothing if nothing
        changed, but `fetched_at` once a minute. A failed refresh clears no refusal. The same refusal or failure keeps
        the time when it began.
        """


class Inbox(Protocol):
    """The receipts of Assure Events."""

    async def is_known(self, digest: str) -> bool:
        """True if the store has a receipt of an event with this id."""

    async def remember_event(self, receipt: Receipt) -> None:
        """Record the receipt of an event that no step belongs to."""

    async def find_request(self, dossier_id: str | None, reference: str | None) -> str | None:
        """The uid of the open request that has this dossier or this external reference now."""


class StoreStatistics(Protocol):
    """The figures of the store, for metrics."""

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""

    def counts(self) -> dict[tuple[str, str], int]:
        """Requests by phase and state."""

    def counters(self, counter: str) -> list[tuple[str, str, str, int]]:
        """A persistent counter (outcome, start): mode, process type, outcome, value."""

    def held(self) -> list[tuple[str, int]]:
        """Held requests by reason."""

    def gauges(self, now: float) -> dict[str, float]:
        """The values of STORE_GAUGES, without those that the engine does not know."""
