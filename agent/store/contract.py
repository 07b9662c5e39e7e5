"""The store as a running agent uses it. Every engine implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from agent.ports import (
    AdmissionStore,
    CommandStore,
    DueRecords,
    Duties,
    Inbox,
    KeyValue,
    Orphans,
    Outbox,
    SharedStore,
    Starts,
    WaitingRecords,
)
from agent.ports.store import RevisionStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.core.step import Step
    from agent.ports import Command
    from agent.store.audit.checkpoints import Checkpoint
    from agent.store.claims_keyring import ClaimsKeyring
    from agent.store.identity_key import Keys
    from agent.store.read_results import ImageDeletion, SupersededImage
    from agent.store.stored_claims import StoredClaims


class StoredClaimsTable(Protocol):
    """The encrypted claims."""

    @property
    def keyring(self) -> ClaimsKeyring:
        """The keys that encrypt claims."""

    async def expired(self, now: float, limit: int = 1000) -> list[StoredClaims]:
        """Expired claims, oldest first."""

    async def make_unreadable(self, expiring: Sequence[StoredClaims]) -> list[StoredClaims]:
        """Destroy the keys of these claims. Returns the claims that are unreadable now. Try the others again later."""

    async def erase(self, unreadable: Sequence[StoredClaims]) -> None:
        """Delete the rows of unreadable claims, and their copies."""

    async def tidy(self) -> None:
        """Remove the copies of erased claims, if that was not possible at once."""

    async def sweep(self, now: float) -> None:
        """Destroy keys of past days that no row names. A crash or a restored copy can leave such keys."""


class DeletableImages(Protocol):
    """The image files that the agent deletes."""

    async def due(self, now: float) -> list[ImageDeletion]:
        """The due deletions, oldest first. Infinity: all."""

    async def failed(self, deletion: ImageDeletion, now: float, cause: str, how: Mapping[str, str]) -> None:
        """Record that a deletion failed. The pauses between tries grow."""

    async def superseded(self, now: float) -> list[SupersededImage]:
        """The due files of earlier generations, oldest first. Infinity: all."""

    async def superseded_failed(self, one: SupersededImage, now: float, cause: str) -> None:
        """Record that the deletion of a file failed. The pauses between tries grow."""

    async def superseded_done(self, one: SupersededImage, now: float, how: str) -> None:
        """Record the result for a file: it is deleted, or its content has changed."""


class PendingNotifications(Outbox, Protocol):
    """The pending notifications of all sinks."""

    async def keep_only(self, sinks: Sequence[str]) -> int:
        """Drop the notifications of all other sinks. Returns their number."""


class Store(
    DueRecords,
    WaitingRecords,
    Starts,
    Orphans,
    AdmissionStore,
    CommandStore,
    RevisionStore,
    Duties,
    SharedStore,
    KeyValue,
    Protocol,
):
    """The store of a running agent, or of a command. A process that may no longer write has no effect [I7]."""

    @property
    def simulated(self) -> bool:
        """True if its account is the built-in sandbox."""

    @property
    def keys(self) -> Keys:
        """The key next to the store."""

    @property
    def claims(self) -> StoredClaimsTable:
        """The encrypted claims."""

    @property
    def inbox(self) -> Inbox:
        """The receipts of Assure Events."""

    @property
    def outbox(self) -> PendingNotifications:
        """The pending notifications."""

    @property
    def image_deletions(self) -> DeletableImages:
        """The image files that the agent deletes."""

    @property
    def database_time(self) -> Callable[[], float] | None:
        """The time of the server, in seconds since the epoch. None: the clock of the host is used."""

    @property
    def behind(self) -> bool:
        """True if the store lacks an event that this process knows to be durable."""

    @property
    def away(self) -> bool:
        """True while the server of the database does not answer: what reads or writes waits."""

    def watch(self, failed: Callable[[Exception], None], changed: Callable[[str | None], None]) -> None:
        """Wait for the server from now on, however long it is away. Opening fails instead.

        Call `failed` when another process has taken the store or removed the lease. Call `changed` with the cause when
        the server goes away, and with None when it answers again.
        """

    async def confirm_ownership(self) -> bool:
        """True if no other process can have taken the store or removed the lease now. Waits for the server.

        Ask before each call that changes Assure: the process may have been stopped since it committed the intent.
        """

    @property
    def epoch(self) -> str:
        """The id of the life of this process on a database; empty with a state file."""

    @property
    def lease_until(self) -> float:
        """The end of the lease in seconds of boot time, by the clock of this machine; infinite with a state file."""

    @property
    def lease_remaining(self) -> float:
        """Seconds until this process may no longer call Assure without a renewal; infinite with a state file."""

    def begin_end(self) -> None:
        """Wait for the server at most some seconds from now on, because the agent ends."""

    async def aclose(self) -> None:
        """Write the queued work, and let another process have the store."""

    async def check_integrity(self) -> None:
        """Check what was not checked at opening, while the store is in use. Raises StoreDamaged."""

    async def last_event_at(self) -> float:
        """The time of the last event, in seconds since the epoch; 0 without events."""

    async def other_source(self, source: str) -> str | None:
        """Another source of the store, if the store has no file of this one."""

    async def source_read_at(self, source: str) -> float | None:
        """When a replica last scanned this source completely, or last fetched it; None if none did."""

    async def unsettled(self, started_only: bool = False) -> bool:
        """True while a request continues without a decision: not held, not suspended, not queued, not in retention."""

    async def count_progressing(self) -> int:
        """How many requests continue without a decision."""

    async def open_requests(self) -> list[str]:
        """The uids of the requests that are not done."""

    async def awaiting_budget_or_images(self) -> list[str]:
        """The uids of the requests that wait for the daily budget or for their images."""

    async def needed_images(self) -> dict[str, set[str]]:
        """The uids of open and held requests by image. Each image has two keys: its path and its digest."""

    async def apply_command(self, command: Command, answer: str, at: float, steps: Sequence[Step] = ()) -> None:
        """Write a command, its answer and its steps in one transaction, so that the command is executed once."""

    async def checkpoint(self, at: float) -> tuple[Checkpoint, ...]:
        """Add a checkpoint if the journal grew since the last one [I5]. Raises MalformedCheckpoint."""

    async def record_restore(self, at: float) -> Checkpoint:
        """Add a checkpoint for a restore by the operator: the journal continues at an earlier event."""

    async def tidy(self) -> bool:
        """Remove the old rows of erased data. False: they are still there (`leftover`)."""
