"""The rules of hosted capture flows (contract §10): a link, an end user who opens it, and its end.

Unless the config is interactive, a simulated end user opens each link halfway through `capture_delay` and finishes at
its end. A heap holds these times. The next access to the account applies the acts that are due, with their due times.
"""

import heapq
from collections.abc import Mapping
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from agent.sandbox import outcome, validation
from agent.sandbox.account import Account
from agent.sandbox.capture.configurations import Configurations
from agent.sandbox.capture.profile import PictureId
from agent.sandbox.capture.specimen import SPECIMEN
from agent.sandbox.config import OUTCOMES, DocumentType
from agent.sandbox.model import Capture, Image, Json, Operation, Process, bad_request, not_found

PAGE = "/assure/capture/"
NO_IMAGES: Mapping[str, Image] = {}


class Flows:
    """The capture flows of one account, by token. The server sets `base`, the URL in front of every link."""

    def __init__(self, account: Account, configurations: Configurations) -> None:
        self.base = ""
        self.captures: dict[str, Capture] = {}
        self._account = account
        self._configurations = configurations
        self._due: list[tuple[float, str]] = []

    def start(self, dossier_id: str, body: Json) -> Json:
        """POST capture. Return the link, which is a secret. Assure does not report the process's id here."""
        account, now = self._account, self._account.now()
        dossier = account.dossier(dossier_id)
        chosen, document_id = self._asked(dossier_id, body)
        document = account.documents.get(document_id) if document_id is not None else None
        if document_id is not None and document is None:
            raise bad_request("documentId is not a known document.")
        parameters = validation.typed(body, "captureParameters", dict) or {}
        profile = parameters.get("uiProfile") or ""
        missing = self._missing(profile)
        settings = self._settings(profile, parameters)
        allowed = self._allowed(settings)
        wanted = parameters.get("defaultCountry") or settings.default_country
        capture = Capture(
            token=account.new_id().replace("-", "") + account.new_id().replace("-", ""),
            dossier_id=dossier_id,
            process_type=chosen,
            pages=document.pages if document else 1,
            country=document.country if document else self._first_country(allowed, wanted),
            redirect_url=validation.redirect_url(body),
            profile=profile,
            profile_missing=missing,
            allowed_ids=allowed,
            upload=settings.allow_file_upload != [],
            photo=settings.allow_take_photo != [],
            created_at=now,
            document_id=document_id,
            named=document is not None,
            tags=validation.tags(body),
        )
        self.captures[capture.token] = capture
        entry = account.ledger.dossiers[dossier_id]
        entry.captures += 1
        entry.missing_profiles += missing
        if account.config.capture_process == "at-start":
            self._process(capture, now)
        dossier.updated_at = now
        account.changes += 1
        self.expect(capture)
        return {"url": self._link(capture, validation.request_domain(body))}

    def expect(self, capture: Capture) -> None:
        """Schedule the simulated end user for an unfinished flow."""
        if not self._account.config.interactive and not capture.finished:
            delay = self._account.config.capture_delay
            for at in (capture.created_at + delay / 2, capture.created_at + delay):
                heapq.heappush(self._due, (at, capture.token))
                self._account.awaited_processes(at, "")

    def coming(self) -> list[tuple[float, str]]:
        """The times at which simulated end users will act."""
        return [(at, "") for at, _ in self._due]

    def advance(self, now: float) -> None:
        """Apply the acts of simulated end users that are due."""
        while self._due and self._due[0][0] <= now:
            due, token = heapq.heappop(self._due)
            capture = self.captures[token]
            if capture.finished or capture.dossier_id not in self._account.dossiers:
                continue
            self._process(capture, due)
            wish = outcome.profile_outcome(capture.profile)
            last = due >= capture.created_at + self._account.config.capture_delay
            if last and wish != "abandoned":
                self._end(capture, NO_IMAGES, wish, due)

    def open(self, token: str) -> Capture:
        """Open the link. Raise AssureError 404 when it is unknown or finished, or its dossier is deleted."""
        now = self._account.now()
        capture = self.captures.get(token)
        if capture is None or capture.finished or capture.dossier_id not in self._account.dossiers:
            raise not_found("Capture")
        self._process(capture, now)
        return capture

    def process(self, capture: Capture) -> Process:
        """The process of the flow. Raise AssureError 404 when it ended or was deleted."""
        process = self._process(capture, self._account.clock())
        if process is None or process.verdict is not None:
            raise not_found("Capture")
        return process

    def choose_country(self, token: str, country: str) -> None:
        """Set the issuing country. A different country reopens the document step."""
        capture = self.open(token)
        if country not in self.countries(capture):
            raise bad_request("Choose one of the countries.")
        if country != capture.country:
            capture.document_id = None
        capture.country, capture.country_chosen = country, True
        self._account.changes += 1

    def choose_document(self, token: str, document_id: str) -> None:
        """Set the document. Pictures of another document are dropped."""
        capture, process = self.open(token), self.process(self.open(token))
        document = next((row for row in self.documents(capture) if str(row.id) == document_id), None)
        if document is None:
            raise bad_request("Choose one of the documents.")
        if document.id != capture.document_id:
            process.images.clear()
        capture.document_id = document.id
        capture.pages = process.pages = document.pages
        process.country = document.country
        self._account.touch(process, self._account.clock())

    def picture(self, token: str, depiction: str, image: Image) -> None:
        """Store one picture and replace an earlier one."""
        process = self.process(self.open(token))
        process.images[depiction] = image
        self._account.touch(process, self._account.clock())

    def countries(self, capture: Capture) -> dict[str, str]:
        """The countries for which the flow has documents: names by alpha-3 code, in the table's order."""
        return {row.country: row.country_name for row in self._offered(capture.allowed_ids)}

    def documents(self, capture: Capture) -> list[DocumentType]:
        """The documents of the flow's country."""
        return [row for row in self._offered(capture.allowed_ids) if row.country == capture.country]

    def finish(self, token: str, images: Mapping[str, Image], wish: str | None = None) -> str:
        """Submit the images and start the verification. Return the redirect URL. `wish` is an outcome chosen on the
        page."""
        capture = self.open(token)
        # An end user who submits has not abandoned the flow, even if the profile asks for that.
        profile = outcome.profile_outcome(capture.profile)
        planned = profile if profile in OUTCOMES else None
        process = self._process(capture, self._account.clock())
        marked = outcome.marked_outcome({**(process.images if process else {}), **images}.values())
        return self._end(capture, images, wish or marked or planned, self._account.clock())

    def _asked(self, dossier_id: str, body: Json) -> tuple[str, int | None]:
        """The process type and document id of a capture request."""
        account, operation = self._account, Operation.CREATE_ARTIFACT
        dossier = account.dossier(dossier_id)
        account.screen(operation, body, validation.CAPTURE_FIELDS, dossier)
        validation.request_domain(body)
        sdk = validation.typed(body, "sdk", str, required=account.config.capture_needs_sdk)
        if sdk not in (None, "native", "capture"):
            raise bad_request("sdk is native or capture.")
        parameters = validation.typed(body, "captureParameters", dict) or {}
        account.screen(operation, parameters, validation.CAPTURE_PARAMETER_FIELDS, dossier)
        for name in validation.CAPTURE_PARAMETER_FIELDS - {"uiProfileJSON"}:
            validation.typed(parameters, name, str)
        providers = validation.typed(body, "providers", list, required=True) or []
        if len(providers) != 1 or not isinstance(providers[0], dict):
            raise bad_request("providers holds exactly one provider.")
        account.screen(operation, providers[0], validation.CAPTURE_PROVIDER_FIELDS, dossier)
        return validation.process_type(providers[0]), validation.typed(providers[0], "documentId", int)

    def _missing(self, profile: str) -> bool:
        """True if uiProfile names an unknown configuration. `sandbox-outcome-...` needs no configuration."""
        known = not profile or profile in self._configurations.known
        missing = not known and outcome.profile_outcome(profile) is None
        if missing and self._account.config.unknown_profile == "refuse":
            raise bad_request("uiProfile is not a known capture configuration.")
        return missing

    def _settings(self, profile: str, parameters: Json) -> PictureId:
        override = validation.typed(parameters, "uiProfileJSON", dict) or {}
        checked = self._configurations.checked(Operation.CREATE_ARTIFACT, override)
        return self._configurations.settings(profile, checked)

    def _allowed(self, settings: PictureId) -> list[int]:
        """The ids in allowedIdTypes that the table has. Without a match the flow allows the whole table: a choice."""
        return [number for number in settings.allowed_id_types or () if number in self._account.documents]

    def _first_country(self, allowed: list[int], wanted: str | None) -> str:
        """Return defaultCountry when it is offered, else the first country: a choice."""
        countries = [row.country for row in self._offered(allowed)]
        return wanted if wanted in countries else next(iter(countries), "NLD")

    def _offered(self, allowed: list[int]) -> list[DocumentType]:
        return [row for row in self._account.config.documents if not allowed or row.id in allowed]

    def _link(self, capture: Capture, domain: str) -> str:
        """Build the link in the vendor's form. requestDomain replaces the simulator's host, but not its scheme and
        port."""
        base = urlsplit(self.base)
        host = base.netloc
        if domain:
            host = f"{domain}:{base.port}" if base.port else domain
        return urlunsplit(SplitResult(base.scheme, host, PAGE, "", f"/artifact={capture.token}"))

    def _process(self, capture: Capture, at: float) -> Process | None:
        """The flow's process, created on first use. None when it was deleted."""
        account = self._account
        if capture.process_id is None:
            process = account.add_process(
                account.dossiers[capture.dossier_id], capture.process_type, capture.pages, capture.country, at
            )
            process.tags = capture.tags
            capture.process_id = process.process_id
        return account.processes.get(capture.process_id)

    def _end(self, capture: Capture, images: Mapping[str, Image], wish: str | None, at: float) -> str:
        """Start or cancel the process unless it ended or was deleted. Return the redirect URL."""
        account = self._account
        process = self._process(capture, at)
        if process and process.verdict is None:
            if wish == "canceled":
                process.verdict = outcome.verdict("canceled", at)
                account.touch(process, at)
            else:
                process.images = dict.fromkeys(process.needed, SPECIMEN) | process.images | dict(images)
                account.verify(process, wish, at)
        capture.finished = True
        account.changes += 1
        status = process.status(at) if process else "canceled"
        return _redirect(capture, status)


def _redirect(capture: Capture, status: str) -> str:
    """Return redirectUrl with dossierId, processId and status in its query (contract §10)."""
    parts = urlsplit(capture.redirect_url)
    added = urlencode({"dossierId": capture.dossier_id, "processId": capture.process_id or "", "status": status})
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))
