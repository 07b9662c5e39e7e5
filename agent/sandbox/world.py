"""The state and the rules of Assure, without transport and without timers (contract §4 to §10, §13).

Time comes in as `clock` (epoch seconds) and nothing ever fires: what should have happened by now is worked out when
somebody looks. So the same world runs behind HTTP and under a virtual clock. Every act goes to the ledger.
One method per operation; bodies in and out are JSON objects; a refusal is an AssureError and changes nothing.
"""

import hashlib
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

from agent.sandbox import checks, outcome
from agent.sandbox.config import SandboxConfig
from agent.sandbox.flow import Flows
from agent.sandbox.ledger import Ledger
from agent.sandbox.listing import ListQuery
from agent.sandbox.model import (
    FINAL,
    PROVIDER,
    AssureError,
    Dossier,
    Image,
    Json,
    Operation,
    Process,
    Verdict,
    View,
    bad_request,
    not_found,
)

LISTED_DOSSIERS = 100  # contract §4
PLAIN = View()


class World:
    """All that one simulated account holds. `changes` grows with every change; whoever saves the world watches it."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self.clock = clock
        self.changes = 0
        self.dossiers: dict[str, Dossier] = {}
        self.processes: dict[str, Process] = {}
        self.ledger = Ledger(self._status_of)
        self.flows = Flows(self)
        # Told when something will have happened: a process final, or, without an id, a simulated person at the page.
        self.awaited: Callable[[float, str], None] = lambda at, process_id: None
        self.documents = {document.id: document for document in config.documents}
        self.chance = random.Random(config.seed)  # noqa: S311 - repeatable, nothing secret
        # Ids depend on the time, too, or a second run would hand out those of the first to other people.
        self._birth = f"{config.seed}/{clock()}"
        self.ids_made = 0

    # -- dossiers (contract §4)

    def create_dossier(self, body: Json) -> Json:
        """POST dossiers: always another one."""
        now = self.now()
        self.screen(Operation.CREATE_DOSSIER, body, checks.DOSSIER_FIELDS)
        reference = checks.typed(body, "externalReference", str)
        dossier = Dossier(dossier_id=self.new_id(), reference=reference, created_at=now, updated_at=now)
        self.dossiers[dossier.dossier_id] = dossier
        self.ledger.created(dossier.dossier_id, reference, now)
        self.changes += 1
        return dossier.slim()

    def list_dossiers(self, view: View = PLAIN) -> list[Json]:
        """GET dossiers: the last 100 that are not deleted, no paging."""
        limit = self._horizon(self.now(), view)
        seen = (entry for entry in reversed(self.dossiers.values()) if entry.created_at <= limit)
        rows = [dossier.slim() for dossier in islice(seen, LISTED_DOSSIERS)]
        return rows if self.config.dossier_order == "newest-first" else rows[::-1]

    def get_dossier(self, dossier_id: str, view: View = PLAIN) -> Json:
        """GET dossier with its processes, oldest first."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        limit = self._horizon(now, view)
        if dossier.created_at > limit:
            raise not_found("Dossier")
        rows = [entry.slim(now) for entry in self._of(dossier) if entry.created_at <= limit]
        if view.delivered and any(row["status"] in FINAL for row in rows):
            self._result_read(dossier)
        return dossier.slim() | {"processes": rows}

    def delete_dossier(self, dossier_id: str) -> None:
        """DELETE dossier with all its processes; the second time it is not there."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        for process in self._of(dossier):
            self._forget(process, now)
        del self.dossiers[dossier_id]
        self.ledger.dossiers[dossier_id].deleted_at = now
        self.changes += 1

    def delete_all_dossiers(self) -> None:
        """DELETE dossiers/all: it works, as it does there; an agent that calls it has gone wrong."""
        self.now()
        self._violated("delete-all", Operation.DELETE_ALL_DOSSIERS, None, "deletes every dossier")
        for dossier_id in list(self.dossiers):
            self.delete_dossier(dossier_id)

    # -- processes (contract §6 to §9)

    def create_process(self, dossier_id: str, body: Json) -> Json:
        """POST processes: always another one; documentPages says whether the back is needed."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        self.screen(Operation.CREATE_PROCESS, body, checks.PROCESS_FIELDS, dossier)
        tags = checks.tags(body)
        chosen = checks.process_type(body)
        document = self.documents.get(checks.typed(body, "documentId", int, required=True) or 0)
        if document is None:
            raise bad_request("documentId is not a known document.")
        process = self.add_process(dossier, chosen, document.pages, document.country, now)
        process.tags = tags
        return process.slim(now) | {"documentPages": process.pages}

    def set_images(self, dossier_id: str, process_id: str, body: Json) -> None:
        """POST images: each replaces the earlier one of its name, until the start."""
        now = self.now()
        dossier, process = self.both(dossier_id, process_id)
        if process.verdict is not None:
            self._violated("upload-after-start", Operation.SET_IMAGES, dossier, process.status(now))
            raise bad_request("Verification already started.", self.config.late_images_status)
        self.screen(Operation.SET_IMAGES, body, checks.IMAGE_FIELDS, dossier)
        images = {name: checks.image(name, body[name], self.config) for name in body if name in checks.IMAGE_FIELDS}
        if not images:
            raise bad_request("One of front, back and selfie is required.")
        process.images |= images
        self.touch(process, now)

    def start_verification(self, dossier_id: str, process_id: str, body: Json) -> Json:
        """POST process: the billable act. Once; the second time it is 400 (contract §8)."""
        now = self.now()
        dossier, process = self.both(dossier_id, process_id)
        self.screen(Operation.START_VERIFICATION, body, checks.VERIFY_FIELDS, dossier)
        if process.verdict is not None:
            self.ledger.process(process_id).starts += 1
            self._violated("start-while-not-pending", Operation.START_VERIFICATION, dossier, process.status(now))
            raise bad_request("Verification already started.")
        missing = [name for name in process.needed if name not in process.images]
        if missing and self.config.start_without_images == "refuse":
            raise bad_request(f"Images are missing: {', '.join(missing)}.")
        self.verify(process, "failed" if missing else None, now)
        return {"processId": process_id, "status": process.status(now)}

    def get_process(self, dossier_id: str, process_id: str, view: View = PLAIN) -> Json:
        """GET process: its status, and its result once there is one."""
        now = self.now()
        dossier, process = self.both(dossier_id, process_id)
        if process.created_at > self._horizon(now, view):
            raise not_found("Process")
        self.ledger.process(process_id).reads.append(now)
        body = outcome.process_body(process, now)
        if view.delivered and body["status"] in FINAL:
            self._result_read(dossier)
        return body

    def get_image(self, dossier_id: str, process_id: str, depiction: str | None, view: View = PLAIN) -> bytes:
        """GET images: the bytes as they came. PictureID never has a portrait (contract §7)."""
        now = self.now()
        dossier, process = self.both(dossier_id, process_id)
        if depiction not in checks.IMAGE_FIELDS:
            if (depiction or "").lower() == "portrait":
                self._violated("portrait", Operation.GET_IMAGES, dossier, "PictureID has no portrait")
            raise bad_request("depiction is one of front, back and selfie.")
        image = process.images.get(depiction)
        if image is None or image.content is None or process.created_at > self._horizon(now, view):
            raise not_found("Image")
        return image.content

    def set_failed(self, dossier_id: str, process_id: str) -> Json:
        """POST fail: gives up a pending process; any other is 409 (contract §9)."""
        now = self.now()
        _, process = self.both(dossier_id, process_id)
        if process.verdict is not None:
            raise AssureError(409, "Conflict", "Conflict found while processing the request.")
        process.verdict = Verdict("failed", now, outcome.BY_REQUEST)
        self.touch(process, now)
        reason = {
            "category": "User.Request",
            "reason": "Process.Failed",
            "message": outcome.BY_REQUEST["message"],
        }
        return {"processId": process_id, "status": "failed", "reason": reason}

    def delete_process(self, dossier_id: str, process_id: str) -> None:
        """DELETE process, in any status (contract §9: only Onfido minds)."""
        now = self.now()
        dossier, process = self.both(dossier_id, process_id)
        dossier.process_ids.remove(process_id)
        self._forget(process, now)
        self.changes += 1

    def get_external_id(self, dossier_id: str, process_id: str) -> Json:
        """GET external-id: the provider's transaction."""
        self.now()
        return {"externalId": self.both(dossier_id, process_id)[1].external_id}

    def list_processes(self, query: Mapping[str, Sequence[str]], view: View = PLAIN) -> Json:
        """GET processes of the last 30 days: filtered, sorted by creation, one page of them and how many there are."""
        now = self.now()
        asked = ListQuery.parse(query)
        found = asked.select(self.processes.values(), now, self._horizon(now, view))
        page = found[asked.offset : asked.offset + asked.limit]
        rows = [self._listed(process, now) for process in page]
        return {"processes": rows, "filters": asked.filters, "totalResults": len(found)}

    def document_types(self, provider: str) -> list[Json]:
        """GET document-types: our table for PictureID, nothing for the others (contract §5)."""
        return [document.row() for document in self.config.documents] if provider == PROVIDER else []

    # -- what the capture flows use, too

    def now(self) -> float:
        """The time, after everything that simulated persons should have done by now has been done."""
        now = self.clock()
        self.flows.advance(now)
        return now

    def coming(self) -> list[tuple[float, str]]:
        """What will have happened later than now, and is known already; as `awaited` would be told."""
        now = self.now()
        verdicts = [(entry.verdict.at, entry.process_id) for entry in self.processes.values() if entry.verdict]
        return [*((at, process_id) for at, process_id in verdicts if at > now), *self.flows.coming()]

    def new_id(self) -> str:
        """Another UUID."""
        self.ids_made += 1
        digest = hashlib.sha256(f"{self._birth}/{self.ids_made}".encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=4))

    def screen(self, operation: Operation, body: Json, known: frozenset[str], dossier: Dossier | None = None) -> None:
        """Unknown fields are a violation, and refused when the config is strict. Their names are told, no values."""
        unknown = sorted(set(body) - known)
        if unknown:
            self._violated("unknown-field", operation, dossier, ", ".join(unknown)[:200])
            if self.config.strict:
                raise bad_request(f"Unknown fields: {', '.join(unknown)[:200]}.")

    def dossier(self, dossier_id: str) -> Dossier:
        """The dossier, or 404."""
        if dossier_id not in self.dossiers:
            raise not_found("Dossier")
        return self.dossiers[dossier_id]

    def both(self, dossier_id: str, process_id: str) -> tuple[Dossier, Process]:
        """The dossier and its process, or 404."""
        dossier = self.dossier(dossier_id)
        if process_id not in dossier.process_ids:
            raise not_found("Process")
        return dossier, self.processes[process_id]

    def add_process(self, dossier: Dossier, chosen: str, pages: int, country: str, at: float) -> Process:
        """A new pending process in the dossier."""
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
        """Start it. It ends as `status` says, or else its images, or else chance."""
        images: list[Image] = list(process.images.values())
        ends = status or outcome.marked_outcome(images) or outcome.drawn_outcome(self.config.outcomes, self.chance)
        delay = outcome.marked_delay(images)
        if delay is None:
            delay = self.chance.uniform(*self.config.verification_delay)
        process.verdict = outcome.verdict(ends, at + delay)
        self.ledger.process(process.process_id).starts += 1
        self.touch(process, at)

    def touch(self, process: Process, at: float) -> None:
        """It changed then, and its dossier with it."""
        process.updated_at = self.dossiers[process.dossier_id].updated_at = at
        self.changes += 1
        if process.verdict is not None:
            self.awaited(process.verdict.at, process.process_id)

    def _result_read(self, dossier: Dossier) -> None:
        self.ledger.dossiers[dossier.dossier_id].result_read = True
        self.changes += 1

    def _of(self, dossier: Dossier) -> Iterator[Process]:
        return (self.processes[process_id] for process_id in dossier.process_ids)

    def _forget(self, process: Process, now: float) -> None:
        self.ledger.closed(process.process_id, process.status(now))
        del self.processes[process.process_id]

    def _horizon(self, now: float, view: View) -> float:
        """Reads hide what was created after this."""
        return now - max(self.config.read_lag, view.lag)

    def _listed(self, process: Process, now: float) -> Json:
        row = process.slim(now) | {
            "dossier": self.dossiers[process.dossier_id].slim(),
            "externalId": process.external_id,
        }
        if process.verdict and process.verdict.fail_reason and row["status"] == "failed":
            row["failReason"] = process.verdict.fail_reason
        return row

    def _status_of(self, process_id: str) -> str | None:
        process = self.processes.get(process_id)
        return process.status(self.clock()) if process else None

    def _violated(self, kind: str, operation: Operation, dossier: Dossier | None, detail: str) -> None:
        self.ledger.violated(kind, operation, dossier.reference if dossier else None, detail, self.clock())
        self.changes += 1
