"""The calls to the simulator and their effects. Tests compare the agent with it. It counts refused calls as well.

`calls` counts every request that arrived. `starts` of a process counts the start requests that took effect or came when
it was not pending. A count of 2 means that the client requested a billable act twice. A start whose answer was lost
counts. A start that was refused for missing images does not.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from agent.sandbox.model import Json, stamp


@dataclass(slots=True, kw_only=True)
class ProcessEntry:
    """One process: its last known status, the number of its starts, and the times of GET process.

    `decided_at`: the time of the final status of a deleted process, or None without a final status.
    """

    process_id: str
    status: str = "pending"
    decided_at: float | None = None
    starts: int = 0
    reads: list[float] = field(default_factory=list)

    def row(self, status: str | None) -> Json:
        """The entry as JSON. `status` is the current one while the process exists."""
        gaps = [later - earlier for earlier, later in pairwise(self.reads)]
        return {
            "processId": self.process_id,
            "status": status or self.status,
            "decidedAt": None if self.decided_at is None else stamp(self.decided_at),
            "starts": self.starts,
            "reads": len(self.reads),
            "minReadGap": min(gaps, default=None),
        }


@dataclass(slots=True, kw_only=True)
class DossierEntry:
    """One dossier. `result_read`: GET process or GET dossier delivered a final status while the dossier existed.
    `missing_profiles`: the captures whose uiProfile named an unknown capture configuration."""

    dossier_id: str
    reference: str | None
    created_at: float
    deleted_at: float | None = None
    result_read: bool = False
    captures: int = 0
    missing_profiles: int = 0
    processes: list[ProcessEntry] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class EventEntry:
    """One event. `attempts`: all deliveries of all its copies, with the time and the status or the error.

    `state`: under-way, acknowledged (at least once), expired (never), dropped (by a scripted fault), lost (at a stop).
    """

    event_id: str
    dossier_id: str
    process_id: str
    reference: str | None
    status: str
    made_at: float
    expires_at: float
    trouble: list[str] = field(default_factory=list)
    state: str = "under-way"
    attempts: list[Json] = field(default_factory=list)

    def row(self) -> Json:
        """The entry as JSON."""
        return {
            "id": self.event_id,
            "dossierId": self.dossier_id,
            "processId": self.process_id,
            "externalReference": self.reference,
            "status": self.status,
            "madeAt": stamp(self.made_at),
            "expiresAt": stamp(self.expires_at),
            "trouble": self.trouble,
            "state": self.state,
            "attempts": self.attempts,
        }


class Ledger:
    """The ledger. `status_of` returns the current status of a process, or None when it is gone. `held_by` returns the
    names of the personal data in a dossier, empty when the dossier is gone."""

    def __init__(self, status_of: Callable[[str], str | None], held_by: Callable[[str], list[str]]) -> None:
        self.calls: Counter[str] = Counter()
        self.violations: list[Json] = []
        self.dossiers: dict[str, DossierEntry] = {}
        self.events: list[EventEntry] = []
        self._processes: dict[str, ProcessEntry] = {}
        self._status_of = status_of
        self._held_by = held_by

    def process(self, process_id: str) -> ProcessEntry:
        """The entry of a process, existing or deleted. KeyError when it is unknown or was reset."""
        return self._processes[process_id]

    def by_reference(self, reference: str) -> list[DossierEntry]:
        """All dossiers created with that externalReference, oldest first."""
        return [entry for entry in self.dossiers.values() if entry.reference == reference]

    def called(self, operation: str) -> None:
        """Count a request that arrived."""
        self.calls[str(operation)] += 1

    def violated(self, kind: str, operation: str, reference: str | None, detail: str, at: float) -> None:
        """Record a breach of the contract, or a call that no agent should make. `detail` contains no value of the
        client."""
        self.violations.append(
            {
                "kind": kind,
                "operation": str(operation),
                "externalReference": reference,
                "detail": detail,
                "at": stamp(at),
            }
        )

    def created(self, dossier_id: str, reference: str | None, at: float) -> None:
        """Record the creation of a dossier."""
        self.enter(DossierEntry(dossier_id=dossier_id, reference=reference, created_at=at))

    def opened(self, dossier_id: str, process_id: str) -> None:
        """Record the creation of a process."""
        entry = ProcessEntry(process_id=process_id)
        self._processes[process_id] = entry
        self.dossiers[dossier_id].processes.append(entry)

    def enter(self, dossier: DossierEntry) -> None:
        """Add an entry, new or restored, with its processes."""
        self.dossiers[dossier.dossier_id] = dossier
        self._processes |= {entry.process_id: entry for entry in dossier.processes}

    def closed(self, process_id: str, status: str, decided_at: float | None) -> None:
        """Record the deletion of a process: its last status, and the time of that status if it is final."""
        self._processes[process_id].status = status
        self._processes[process_id].decided_at = decided_at

    def report(self) -> Json:
        """The whole ledger for GET /sandbox/ledger. `holds` and `missingProfiles` name only dossiers that have any."""
        holds = {dossier_id: self._held_by(dossier_id) for dossier_id in self.dossiers}
        missing = {dossier_id: entry.missing_profiles for dossier_id, entry in self.dossiers.items()}
        return {
            "calls": dict(self.calls),
            "dossiers": [self._row(entry) for entry in self.dossiers.values()],
            "events": [entry.row() for entry in self.events],
            "holds": {dossier_id: names for dossier_id, names in holds.items() if names},
            "missingProfiles": {dossier_id: count for dossier_id, count in missing.items() if count},
            "violations": self.violations,
        }

    def reset(self) -> None:
        """Clear the counts. Existing dossiers stay, with counts of zero."""
        self.calls.clear()
        self.violations.clear()
        self.events.clear()
        living = [entry for entry in self.dossiers.values() if entry.deleted_at is None]
        self.dossiers.clear()
        self._processes.clear()
        for entry in living:
            entry.captures, entry.missing_profiles, entry.result_read = 0, 0, False
            for process in entry.processes:
                process.starts = 0
                process.reads.clear()
            self.enter(entry)

    def _row(self, entry: DossierEntry) -> Json:
        return {
            "dossierId": entry.dossier_id,
            "externalReference": entry.reference,
            "createdAt": stamp(entry.created_at),
            "deletedAt": None if entry.deleted_at is None else stamp(entry.deleted_at),
            "resultRead": entry.result_read,
            "captures": entry.captures,
            "processes": [process.row(self._status_of(process.process_id)) for process in entry.processes],
        }
