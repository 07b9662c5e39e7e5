"""Where records live, and what else is kept beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.core.admission import ScanNote
from agent.core.record import Record
from agent.core.retry import holds_new_work
from agent.core.step import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingSummary:
    """Requests that wait for a result: how many, and when the first of them was begun (seconds since the epoch)."""

    count: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What a person tells the agent. `id` is made by who sends it: the same command sent twice is obeyed once.

    `sender` is the account of the operating system that sent it (`agent/daemon/peer_credentials.py`).
    """

    id: str
    verb: str
    uid: str | None = None
    sender: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """A received Assure Event: the digest of its id, when it came, and until when older receipts are forgotten."""

    digest: str
    at: float
    forget_before: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A store that is not what it was, since `at`. `cause`: lost, older (than its mark), restored (from a backup)."""

    at: float
    cause: str
    scanned_at: float | None = None  # Assure was asked for what it still has
    approved_at: float | None = None  # a person said to go on

    @property
    def holds_new_work(self) -> bool:
        """True while nothing may be begun."""
        return holds_new_work(self.cause)


class Recoveries(Protocol):
    """What is on record of a store that is not what it was."""

    fresh: bool  # the store was made just now: it has no past

    def open(self) -> Recovery | None:
        """The recovery that goes on, or None: all is as usual."""

    def possibly_stale(self) -> list[str]:
        """The uids of what is not done: all of it may be behind what happened."""

    def held_history_lost(self, unsearched: bool = False) -> list[str]:
        """The uids of those held because nothing is known of their past; with `unsearched` those not looked for yet."""

    async def record_search(self, at: float, unclaimed: Iterable[tuple[str, str]]) -> None:
        """Assure was asked; `unclaimed` are dossiers that no request explains: id and reference."""

    async def suspect(self, uid: str, reference: str, dossier_id: str, at: float) -> None:
        """An empty dossier of an earlier attempt: its deletion is intended from here on."""

    def last_scan_at(self) -> float | None:
        """When Assure was last asked in an earlier recovery: what was there before is settled. None: never."""

    def previously_unclaimed(self, dossiers: Sequence[str]) -> set[str]:
        """Those of these dossiers that an earlier recovery saw and left alone."""

    async def begin(self, at: float) -> None:
        """The store was found to be behind while it was in use: a recovery as for an older copy."""

    async def approve(self, at: float) -> None:
        """A person says to go on."""

    async def close(self, at: float) -> None:
        """All is as usual again."""


class Store(Protocol):
    """Where records live. Whatever a coroutine of it returned from is durable [I4]; reads see what is durable."""

    async def commit(self, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        """Make these steps and the receipt of their event durable, all or none. Raises StoreError."""

    def get(self, uid: str) -> Record | None:
        """The record of this uid."""

    def claim(self, now: float, limit: int, busy: set[str], started_only: bool = False) -> list[Record]:
        """At most `limit` records that are due and not busy: new work first, then what is tried again, then looks.

        With `started_only` only those that wait for their result or their deletion.
        """

    def next_due(self, busy: set[str], started_only: bool = False) -> float | None:
        """When the next record that is not busy is due; of those begun, or of all."""

    def overdue(self, now: float, limit: int, busy: set[str]) -> list[Record]:
        """At most `limit` records that are not busy, and whose deadline or hold has run out before their outcome."""

    def creating(self) -> list[Record]:
        """Those without a dossier whose creation was asked for at least once."""

    def unsettled(self, started_only: bool = False) -> bool:
        """True while some request goes on by itself: not held, not suspended, not queued, not in retention."""

    def waiting(self) -> WaitingSummary:
        """What waits for a result."""

    def waiting_in(self, dossiers: Sequence[str]) -> list[str]:
        """The uids of those that wait for a result in one of these dossiers."""

    def least_recently_polled(self, limit: int) -> list[str]:
        """Those that wait for a result, the ones that were looked at longest ago first."""

    def starts_since(self, at: float) -> int:
        """How many starts were reserved since then, or made or begun without a brake."""

    def awaiting_budget_or_images(self) -> list[str]:
        """The uids of those that wait for the budget, or for their images."""

    def present(self, source: str) -> dict[str, str]:
        """The names of a source whose files are there, as far as we know, with their uids."""

    def withdrawn_since(self, at: float) -> int:
        """How many files were taken away before the outcome since then, those that are back among them."""

    async def record_scan(
        self,
        source: str,
        at: float,
        files: int,
        complete: bool,
        waiting: int,
        refusals: Iterable[tuple[str, int, int, str, str, str | None]] | None,
        scan_notes: Iterable[ScanNote] | None = None,
    ) -> None:
        """Store the result of a scan. `refusals` (file, line, column, message, hint, name) and `scan_notes` replace
        the earlier ones, if given.
        """

    def recall(self, key: str) -> str | None:
        """What was remembered of this account under this key."""

    async def remember(self, key: str, value: str) -> None:
        """Keep a text for this account; it is forgotten when the store is bound to another one."""

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """Possible orphans that are open: reference, since, and the dossier's id when it showed."""

    def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """Whose these dossiers are: the uid of the request that is not done and has it, by dossier."""

    async def found_orphan(self, reference: str, dossier_id: str) -> None:
        """A possible orphan showed; its deletion is intended from here on, unless it is somebody's."""

    async def close_orphan(self, reference: str, at: float, dossier_id: str | None) -> None:
        """A possible orphan was deleted and confirmed, or never showed."""
