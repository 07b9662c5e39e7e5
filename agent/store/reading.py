"""The store, read-only: for commands, metrics, the API and the status page. Every engine implements it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from agent.ports import StoreStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.core.admission import ScanNote
    from agent.core.record import Origin, Record
    from agent.core.source_revision import RevisionState
    from agent.ports import MetaKey
    from agent.ports.store import Attempt, FailedImageDeletion
    from agent.store.read_results import Filter, HistoryEntry, Page, Refusal, SourceState
    from agent.store.stored_claims import StoredClaims


class Records(Protocol):
    """Reads of single requests and of their history."""

    def get(self, uid: str) -> Record | None:
        """The record of this uid, also after its name was forgotten."""

    def present(self, source: str) -> dict[str, str]:
        """The names and uids of the requests of a source that have a file, according to the last scan."""

    def other_source(self, source: str) -> str | None:
        """Another source of the store, if the store has no file of this one."""

    def revision_state(self, source: str) -> RevisionState:
        """The state of this git source; empty if it never was one."""

    def owners(self, dossiers: Sequence[str]) -> dict[str, str]:
        """The uid of the request that is not done and has the dossier, by dossier."""

    def orphans(self) -> list[tuple[str, float, str | None]]:
        """The open possible orphans: reference, since, and the dossier's id once Assure showed it."""

    def starts_since(self, at: float) -> int:
        """How many starts count since then: reserved ones, and those made or begun without a budget."""

    def withdrawn_since(self, at: float) -> int:
        """How many files were removed before the outcome since then, also those that are back."""

    def last_event_at(self) -> float:
        """The time of the last event, in seconds since the epoch; 0 without events."""

    def recall(self, key: MetaKey) -> str | None:
        """The text of this key."""

    def recall_time(self, key: MetaKey) -> float | None:
        """The time of this key, in seconds since the epoch."""

    def all(self) -> Iterator[Record]:
        """Every record that still has its name, by name. Read row by row, because there may be many."""

    def find(self, name: str) -> list[Record]:
        """The records of this name, one for each source that has it. If there is none: the record of this uid."""

    def changed_after(self, event: int) -> list[Record]:
        """The requests that have events after this one, by their last event. Every step has an event."""

    def names(self, start: str, limit: int) -> list[str]:
        """At most `limit` names of requests that begin with `start`, in order."""

    def names_around(self, name: str, limit: int) -> list[str]:
        """At most `limit` names before this one and `limit` after it. It costs two seeks in any number of names."""

    def by_state(self, state: str, limit: int, oldest: bool = False) -> list[Record]:
        """Requests in this state, by their last progress: the latest first, or the oldest."""

    def history(self, uid: str, most: int) -> list[HistoryEntry]:
        """The last entries of the audit history, oldest first."""

    def origin(self, uid: str, generation: int) -> Origin | None:
        """The origin of the file of a generation, as far as it is known."""

    def attempts(self, uid: str, most: int) -> list[Attempt]:
        """The last attempts of a request, oldest first."""

    def link(self, uid: str) -> str | None:
        """The capture link while the end user may still use it: a bearer secret."""

    def has_lost_link(self, record: Record) -> bool:
        """True if the end user has not finished, and the link was lost with the state file. Backups have no links."""

    def claims(self, uid: str) -> StoredClaims | None:
        """The encrypted claims of the newest generation that has any."""

    def failed_image_deletion_of(self, uid: str) -> FailedImageDeletion | None:
        """The failed deletion of this request's image files."""

    def refusals(self) -> list[Refusal]:
        """The documents that the last scan refused, by file and line."""

    def refused(self, name: str) -> list[Refusal]:
        """The documents of this name that the last scan refused."""

    def scan_notes(self, uid: str) -> list[ScanNote]:
        """The notes of the last scan about a request. Its record does not have them."""

    def strays(self) -> list[str]:
        """The names of requests whose file answers no open hold, according to the last scan."""


class Lists(Protocol):
    """Reads of lists, page by page."""

    def page(self, wanted: Filter, limit: int, *, after: str = "", before: str = "") -> Page:
        """At most `limit` requests by uid, that meet the filter. The keys of pages are uids."""

    def latest(self, state: str, limit: int, *, after: str = "", before: str = "") -> Page:
        """At most `limit` requests in a state, the latest progress first. Raises ValueError for an invalid key.

        The keys of pages are times and row numbers. A request that progresses meanwhile moves to the first page.
        """


class Figures(StoreStatistics, Protocol):
    """Reads of counts."""

    def states(self) -> dict[str, int]:
        """Requests by state."""

    def progress_counts(self) -> tuple[int, int, int]:
        """How many requests there are, how many continue without a decision, and how many are held."""

    def sources(self) -> list[SourceState]:
        """The last scan of each source."""

    def waiting_withdrawals(self) -> int:
        """How many withdrawals wait for an approval."""

    def overdue_deletions(self, now: float) -> int:
        """How many dossiers should have been deleted more than 15 minutes ago."""

    def failed_image_deletions(self) -> list[tuple[str, int]]:
        """The causes of failed deletions of image files (names of errnos), with the number of their requests."""

    def concerns(self, now: float) -> dict[str, int]:
        """Counts that are 0 when all is well: refused documents, overdue deletions, orphans, pending notifications."""


class Reading(Records, Lists, Figures, Protocol):
    """The store, read-only, through a connection of its own. An agent may use the store. A context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None: ...

    def freeze(self) -> None:
        """Begin a snapshot: later commits of an agent stay invisible."""

    def data_version(self) -> int:
        """A number that changes with each commit of another connection. SQLite reads no row for it."""

    def last_event(self) -> int:
        """The id of the newest event, 0 without events."""

    def check_integrity(self) -> None:
        """Read every page. Raises StoreDamaged."""

    def migrations(self) -> set[str]:
        """The names of the applied migrations."""

    def account(self) -> str | None:
        """The Assure account of the file."""

    def recovery(self) -> tuple[str, bool, bool] | None:
        """The recovery in progress, or the one that `run` would begin: its cause, if Assure's lists were read, and if
        the operator approved. None without a recovery.

        Call it first in a snapshot: the files next to the state file must not be newer than the snapshot.
        """

    def carried_key(self) -> str | None:
        """The key in hex, in a backup that no agent has opened yet."""
