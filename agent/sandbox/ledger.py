"""What really happened: the oracle of every test. It judges nothing; it counts what came, also what was refused.

`calls` counts requests that arrived, whatever became of them. `starts` of a process counts the requests to start it
that had an effect or came when it was no longer pending: 2 means that somebody asked twice for a billable act.
A start that is acted on and then lost on the wire counts; one that was refused for missing images does not.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from agent.sandbox.model import Json, stamp


@dataclass(slots=True, kw_only=True)
class ProcessEntry:
    """One process: the last status we know, how often it was started, and when GET process read it.

    `decided_at`: of one that was deleted, when its last status came, if that was a final one.
    """

    process_id: str
    status: str = "pending"
    decided_at: float | None = None
    starts: int = 0
    reads: list[float] = field(default_factory=list)

    def row(self, status: str | None) -> Json:
        """The entry as JSON; `status` is the present one while the process exists."""
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
    """One dossier. `result_read`: a final status was delivered, by GET process or GET dossier, while it existed.
    `missing_profiles`: of its captures, those whose uiProfile named no capture configuration."""

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
    """One event that was made. `attempts` are all deliveries of all its copies: when, and the status or why not.

    `state`: under-way, acknowledged (at least once), expired (never), dropped (by scripted trouble), lost (at a stop).
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
    """The book. `status_of` gives the present status of a process, or None when it is gone; `held_by` gives the names
    of the personal data that a dossier holds now, none when it is gone."""

    def __init__(self, status_of: Callable[[str], str | None], held_by: Callable[[str], list[str]]) -> None:
        self.calls: Counter[str] = Counter()
        self.violations: list[Json] = []
        self.dossiers: dict[str, DossierEntry] = {}
        self.events: list[EventEntry] = []
        self._processes: dict[str, ProcessEntry] = {}
        self._status_of = status_of
        self._held_by = held_by

    def process(self, process_id: str) -> ProcessEntry:
        """The entry of a process, living or deleted. KeyError when it never was, or was reset away."""
        return self._processes[process_id]

    def by_reference(self, reference: str) -> list[DossierEntry]:
        """All dossiers that were created with that externalReference, oldest first."""
        return [entry for entry in self.dossiers.values() if entry.reference == reference]

    def called(self, operation: str) -> None:
        """A request arrived."""
        self.calls[str(operation)] += 1

    def violated(self, kind: str, operation: str, reference: str | None, detail: str, at: float) -> None:
        """The client did what the contract forbids, or what no agent should do. `detail` holds no value it sent."""
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
        """A dossier exists."""
        self.enter(DossierEntry(dossier_id=dossier_id, reference=reference, created_at=at))

    def opened(self, dossier_id: str, process_id: str) -> None:
        """A process exists."""
        entry = ProcessEntry(process_id=process_id)
        self._processes[process_id] = entry
        self.dossiers[dossier_id].processes.append(entry)

    def enter(self, dossier: DossierEntry) -> None:
        """Take up an entry with its processes; also one that was saved."""
        self.dossiers[dossier.dossier_id] = dossier
        self._processes |= {entry.process_id: entry for entry in dossier.processes}

    def closed(self, process_id: str, status: str, decided_at: float | None) -> None:
        """A process was deleted; that was its last status, and if it is a final one, when it came."""
        self._processes[process_id].status = status
        self._processes[process_id].decided_at = decided_at

    def report(self) -> Json:
        """Everything, as GET /sandbox/ledger sends it. `holds` and `missingProfiles` are by dossier, and name only
        those that have any."""
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
        """Forget what happened, but not what exists: living dossiers stay, with their counts at nought."""
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
