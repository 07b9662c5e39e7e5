"""The data of one simulated account and its changes, without timers.

Time comes from `clock` (epoch seconds). Each call first applies the changes that are due. The same account therefore
works behind HTTP and under a virtual clock. The ledger counts every change.
"""

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator

from agent.sandbox import outcome
from agent.sandbox.config import SandboxConfig
from agent.sandbox.ledger import Ledger
from agent.sandbox.model import Dossier, Image, Json, Operation, Process, View, bad_request, not_found


class Account:
    """Dossiers and processes, by id. `changes` grows with each change. The operations are in `World`."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self.clock = clock
        self.changes = 0
        self.dossiers: dict[str, Dossier] = {}
        self.processes: dict[str, Process] = {}
        self.ledger = Ledger(self._status_of, self._held_by)
        # Called with the time of a future change: a final status of a process, or (empty id) an act of a simulated end
        # user.
        self.awaited_processes: Callable[[float, str], None] = lambda at, process_id: None
        self.documents = {document.id: document for document in config.documents}
        self.chance = random.Random(config.seed)  # noqa: S311 - repeatable, nothing secret
        # Ids depend on the time as well. The second run then does not reuse the ids of the first run for other end
        # users.
        self._birth = f"{config.seed}/{clock()}"
        self.ids_made = 0

    def now(self) -> float:
        """Apply all due changes and return the time, in epoch seconds."""
        return self.clock()

    def new_id(self) -> str:
        """Return a new UUID."""
        self.ids_made += 1
        digest = hashlib.sha256(f"{self._birth}/{self.ids_made}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def screen(self, operation: Operation, body: Json, known: frozenset[str], dossier: Dossier | None = None) -> None:
        """Record unknown fields as a violation, and refuse them in strict mode. The message contains names, never
        values."""
        unknown = sorted(set(body) - known)
        if unknown:
            self.violated("unknown-field", operation, dossier, ", ".join(unknown)[:200])
            if self.config.strict:
                raise bad_request(f"Unknown fields: {', '.join(unknown)[:200]}.")

    def dossier(self, dossier_id: str) -> Dossier:
        """Return the dossier. Raise AssureError 404 when it is unknown."""
        if dossier_id not in self.dossiers:
            raise not_found("Dossier")
        return self.dossiers[dossier_id]

    def dossier_and_process(self, dossier_id: str, process_id: str) -> tuple[Dossier, Process]:
        """Return the dossier and its process. Raise AssureError 404 when either is unknown."""
        dossier = self.dossier(dossier_id)
        if process_id not in dossier.process_ids:
            raise not_found("Process")
        return dossier, self.processes[process_id]

    def add_process(self, dossier: Dossier, chosen: str, pages: int, country: str, at: float) -> Process:
        """Add a pending process to the dossier."""
        process = Process(
            process_id=self.new_id(),
            dossier_id=dossier.dossier_id,
            external_id=self.new_id(),
            process_type=chosen,
            pages=pages,
            country=country,
            created_at=at,
            updated_at=at,
        )
        self.processes[process.process_id] = process
        dossier.process_ids.append(process.process_id)
        self.ledger.opened(dossier.dossier_id, process.process_id)
        self.touch(process, at)
        return process

    def verify(self, process: Process, status: str | None, at: float) -> None:
        """Start the verification. `status` decides the outcome, then the images, then chance."""
        images: list[Image] = list(process.images.values())
        ends = status or outcome.marked_outcome(images) or outcome.drawn_outcome(self.config.outcomes, self.chance)
        delay = outcome.marked_delay(images)
        if delay is None:
            delay = self.chance.uniform(*self.config.verification_delay)
        process.verdict = outcome.verdict(ends, at + delay)
        self.ledger.process(process.process_id).starts += 1
        self.touch(process, at)

    def touch(self, process: Process, at: float) -> None:
        """Record the time of a change for the process and its dossier."""
        process.updated_at = self.dossiers[process.dossier_id].updated_at = at
        self.changes += 1
        if process.verdict is not None:
            self.awaited_processes(process.verdict.at, process.process_id)

    def result_read(self, dossier: Dossier) -> None:
        """Record that a client read a result in this dossier."""
        self.ledger.dossiers[dossier.dossier_id].result_read = True
        self.changes += 1

    def processes_of(self, dossier: Dossier) -> Iterator[Process]:
        """Yield the dossier's processes, oldest first."""
        return (self.processes[process_id] for process_id in dossier.process_ids)

    def forget(self, process: Process, now: float) -> None:
        """Remove a deleted process and record its last status in the ledger."""
        decided_at = process.verdict.at if process.verdict is not None and process.verdict.at <= now else None
        self.ledger.closed(process.process_id, process.status(now), decided_at)
        del self.processes[process.process_id]

    def horizon(self, now: float, view: View) -> float:
        """Return the time after which created objects are hidden from this read."""
        return now - max(self.config.read_lag, view.lag)

    def _status_of(self, process_id: str) -> str | None:
        process = self.processes.get(process_id)
        return process.status(self.clock()) if process else None

    def _held_by(self, dossier_id: str) -> list[str]:
        dossier = self.dossiers.get(dossier_id)
        return dossier.holds() if dossier else []

    def violated(self, kind: str, operation: Operation, dossier: Dossier | None, detail: str) -> None:
        """Record a violation of the contract in the ledger."""
        self.ledger.violated(kind, operation, dossier.reference if dossier else None, detail, self.clock())
        self.changes += 1
