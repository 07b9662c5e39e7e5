"""The operations of Assure, without transport (contract §4 to §10, §13).

One method per operation. Bodies in and out are JSON objects. A refusal raises AssureError and changes nothing.
The operations of capture flows, configurations and dossier data are in `flows`, `configurations` and `data`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from agent.sandbox import outcome, validation
from agent.sandbox.account import Account
from agent.sandbox.capture.configurations import Configurations
from agent.sandbox.capture.flow import Flows
from agent.sandbox.config import SandboxConfig
from agent.sandbox.dossier_data import DossierData
from agent.sandbox.model import (
    FINAL,
    PROVIDER,
    Dossier,
    Json,
    Operation,
    Process,
    Verdict,
    View,
    bad_request,
    conflict,
    not_found,
)
from agent.sandbox.process_listing import ListQuery

LISTED_DOSSIERS = 100  # contract §4
PLAIN = View()


class World(Account):
    """One simulated account with its operations."""

    def __init__(self, config: SandboxConfig, clock: Callable[[], float] = time.time) -> None:
        super().__init__(config, clock)
        self.configurations = Configurations(self)
        self.flows = Flows(self, self.configurations)
        self.data = DossierData(self)

    def now(self) -> float:
        """Apply the acts of simulated end users that are due. Return the time, in epoch seconds."""
        now = self.clock()
        self.flows.advance(now)
        return now

    def coming(self) -> list[tuple[float, str]]:
        """The known future changes, in the form that `awaited_processes` reports."""
        now = self.now()
        verdicts = [(entry.verdict.at, entry.process_id) for entry in self.processes.values() if entry.verdict]
        return [*((at, process_id) for at, process_id in verdicts if at > now), *self.flows.coming()]

    # -- dossiers (contract §4)

    def create_dossier(self, body: Json) -> Json:
        """POST dossiers. Every call creates a dossier."""
        now = self.now()
        self.screen(Operation.CREATE_DOSSIER, body, validation.DOSSIER_FIELDS)
        reference = validation.typed(body, "externalReference", str)
        dossier = Dossier(dossier_id=self.new_id(), reference=reference, created_at=now, updated_at=now)
        self.dossiers[dossier.dossier_id] = dossier
        self.ledger.created(dossier.dossier_id, reference, now)
        self.changes += 1
        return dossier.slim()

    def list_dossiers(self, view: View = PLAIN) -> list[Json]:
        """GET dossiers. The last 100 that exist, without paging."""
        limit = self.horizon(self.now(), view)
        seen = (entry for entry in reversed(self.dossiers.values()) if entry.created_at <= limit)
        rows = [dossier.slim() for dossier in islice(seen, LISTED_DOSSIERS)]
        return rows if self.config.dossier_order == "newest-first" else rows[::-1]

    def get_dossier(self, dossier_id: str, view: View = PLAIN) -> Json:
        """GET dossier with its processes, oldest first."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        limit = self.horizon(now, view)
        if dossier.created_at > limit:
            raise not_found("Dossier")
        rows = [entry.slim(now) for entry in self.processes_of(dossier) if entry.created_at <= limit]
        if view.delivered and any(row["status"] in FINAL for row in rows):
            self.result_read(dossier)
        return dossier.slim() | {"processes": rows}

    def delete_dossier(self, dossier_id: str) -> None:
        """DELETE dossier with all its processes. The second call raises 404."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        for process in self.processes_of(dossier):
            self.forget(process, now)
        del self.dossiers[dossier_id]
        self.ledger.dossiers[dossier_id].deleted_at = now
        self.changes += 1

    def delete_all_dossiers(self) -> None:
        """DELETE dossiers/all. It works, as at Assure, but an agent must never call it."""
        self.now()
        self.violated("delete-all", Operation.DELETE_ALL_DOSSIERS, None, "deletes every dossier")
        for dossier_id in list(self.dossiers):
            self.delete_dossier(dossier_id)

    # -- processes (contract §6 to §9)

    def create_process(self, dossier_id: str, body: Json) -> Json:
        """POST processes. Every call creates a process. documentPages decides whether the back is needed."""
        now = self.now()
        dossier = self.dossier(dossier_id)
        self.screen(Operation.CREATE_PROCESS, body, validation.PROCESS_FIELDS, dossier)
        tags = validation.tags(body)
        chosen = validation.process_type(body)
        document = self.documents.get(validation.typed(body, "documentId", int, required=True) or 0)
        if document is None:
            raise bad_request("documentId is not a known document.")
        process = self.add_process(dossier, chosen, document.pages, document.country, now)
        process.tags = tags
        return process.slim(now) | {"documentPages": process.pages}

    def set_images(self, dossier_id: str, process_id: str, body: Json) -> None:
        """POST images. Each replaces the earlier image of its name, until the start."""
        now = self.now()
        dossier, process = self.dossier_and_process(dossier_id, process_id)
        if process.verdict is not None:
            self.violated("upload-after-start", Operation.SET_IMAGES, dossier, process.status(now))
            raise bad_request("Verification already started.", self.config.late_images_status)
        self.screen(Operation.SET_IMAGES, body, validation.IMAGE_FIELDS, dossier)
        images = validation.images(body, self.config)
        if not images:
            raise bad_request("One of front, back and selfie is required.")
        process.images |= images
        self.touch(process, now)

    def start_verification(self, dossier_id: str, process_id: str, body: Json) -> Json:
        """POST process: the billable act. A second call is 400 (contract §8)."""
        now = self.now()
        dossier, process = self.dossier_and_process(dossier_id, process_id)
        self.screen(Operation.START_VERIFICATION, body, validation.VERIFY_FIELDS, dossier)
        if process.verdict is not None:
            self.ledger.process(process_id).starts += 1
            self.violated("start-while-not-pending", Operation.START_VERIFICATION, dossier, process.status(now))
            if self.config.repeated_starts == "accept":
                return {"processId": process_id, "status": process.status(now)}
            raise bad_request("Verification already started.")
        images = process.images or (dossier.files if self.config.start_uses_files else {})
        missing = [name for name in process.needed if name not in images]
        if missing and self.config.start_without_images == "refuse":
            raise bad_request(f"Images are missing: {', '.join(missing)}.")
        process.images = dict(images)
        self.verify(process, "failed" if missing else None, now)
        return {"processId": process_id, "status": process.status(now)}

    def get_process(self, dossier_id: str, process_id: str, view: View = PLAIN) -> Json:
        """GET process with its status, and its result once there is one."""
        now = self.now()
        dossier, process = self.dossier_and_process(dossier_id, process_id)
        if process.created_at > self.horizon(now, view):
            raise not_found("Process")
        self.ledger.process(process_id).reads.append(now)
        body = outcome.process_body(process, now)
        if view.delivered and body["status"] in FINAL:
            self.result_read(dossier)
        return body

    def get_image(self, dossier_id: str, process_id: str, depiction: str | None, view: View = PLAIN) -> bytes:
        """GET images. The bytes as they were sent. PictureID never has a portrait (contract §7)."""
        now = self.now()
        dossier, process = self.dossier_and_process(dossier_id, process_id)
        if depiction not in validation.IMAGE_FIELDS:
            if (depiction or "").lower() == "portrait":
                self.violated("portrait", Operation.GET_IMAGES, dossier, "PictureID has no portrait")
            raise bad_request("depiction is one of front, back and selfie.")
        image = process.images.get(depiction)
        if image is None or image.content is None or process.created_at > self.horizon(now, view):
            raise not_found("Image")
        return image.content

    def set_failed(self, dossier_id: str, process_id: str) -> Json:
        """POST fail. It ends a pending process. Any other status is 409 (contract §9)."""
        now = self.now()
        _, process = self.dossier_and_process(dossier_id, process_id)
        if process.verdict is not None:
            raise conflict()
        process.verdict = Verdict("failed", now, outcome.BY_REQUEST)
        self.touch(process, now)
        reason = {
            "category": "User.Request",
            "reason": "Process.Failed",
            "message": outcome.BY_REQUEST["message"],
        }
        return {"processId": process_id, "status": "failed", "reason": reason}

    def delete_process(self, dossier_id: str, process_id: str) -> None:
        """DELETE process, in any status (contract §9: only Onfido refuses)."""
        now = self.now()
        dossier, process = self.dossier_and_process(dossier_id, process_id)
        dossier.process_ids.remove(process_id)
        self.forget(process, now)
        self.changes += 1

    def get_external_id(self, dossier_id: str, process_id: str) -> Json:
        """GET external-id. The provider's transaction."""
        self.now()
        return {"externalId": self.dossier_and_process(dossier_id, process_id)[1].external_id}

    def list_processes(self, query: Mapping[str, Sequence[str]], view: View = PLAIN) -> Json:
        """GET processes of the last 30 days: one page, filtered, sorted by creation, with the total number."""
        now = self.now()
        asked = ListQuery.parse(query)
        found = asked.select(self.processes.values(), now, self.horizon(now, view))
        page = found[asked.offset : asked.offset + asked.limit]
        rows = [self._listed(process, now) for process in page]
        return {"processes": rows, "filters": asked.filters, "totalResults": len(found)}

    def document_types(self, provider: str) -> list[Json]:
        """GET document-types. The table of the sandbox for PictureID, an empty list for the others (contract §5)."""
        if provider not in validation.LISTED_PROVIDERS:
            raise bad_request("providerName is not valid.")
        return [document.row() for document in self.config.documents] if provider == PROVIDER else []

    def _listed(self, process: Process, now: float) -> Json:
        row = process.slim(now) | {
            "dossier": self.dossiers[process.dossier_id].slim(),
            "externalId": process.external_id,
        }
        if process.verdict and process.verdict.fail_reason and row["status"] == "failed":
            row["failReason"] = process.verdict.fail_reason
        return row
