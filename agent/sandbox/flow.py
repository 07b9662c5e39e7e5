"""The rules of hosted capture flows (contract §10): a link, a person who opens it, and how that ends.

Unless the config is interactive a simulated person opens each link halfway through `capture_delay` and is done at its
end. Those moments wait in a heap; whoever looks at the world next makes them happen, at the time they were due.
"""

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit, urlunsplit

from agent.sandbox import checks, outcome
from agent.sandbox.config import OUTCOMES
from agent.sandbox.model import Capture, Image, Json, Operation, Process, bad_request, not_found
from agent.sandbox.specimen import SPECIMEN

if TYPE_CHECKING:
    from agent.sandbox.world import World

NO_IMAGES: Mapping[str, Image] = {}


class Flows:
    """The capture flows of one world, by token. `base` is the URL in front of every link; the server sets it."""

    def __init__(self, world: "World") -> None:
        self.base = ""
        self.captures: dict[str, Capture] = {}
        self._world = world
        self._due: list[tuple[float, str]] = []

    def start(self, dossier_id: str, body: Json) -> Json:
        """POST capture: the link. It is a bearer secret; Assure does not tell the process's id here."""
        world, now = self._world, self._world.now()
        dossier = world.dossier(dossier_id)
        chosen, document_id = self._asked(dossier_id, body)
        document = world.documents.get(document_id) if document_id is not None else None
        if document_id is not None and document is None:
            raise bad_request("documentId is not a known document.")
        profile = checks.typed(checks.typed(body, "captureParameters", dict) or {}, "uiProfile", str)
        capture = Capture(
            token=world.new_id().replace("-", "") + world.new_id().replace("-", ""),
            dossier_id=dossier_id,
            process_type=chosen,
            pages=document.pages if document else 1,
            country=document.country if document else "NLD",
            redirect_url=checks.redirect_url(body),
            profile=profile or "",
            created_at=now,
        )
        self.captures[capture.token] = capture
        world.ledger.dossiers[dossier_id].captures += 1
        if world.config.capture_process == "at-start":
            self._process(capture, now)
        dossier.updated_at = now
        world.changes += 1
        self.expect(capture)
        return {"url": f"{self.base}/assure/capture/{capture.token}"}

    def expect(self, capture: Capture) -> None:
        """Have the simulated person come to an unfinished flow."""
        if not self._world.config.interactive and not capture.finished:
            delay = self._world.config.capture_delay
            heapq.heappush(self._due, (capture.created_at + delay / 2, capture.token))
            heapq.heappush(self._due, (capture.created_at + delay, capture.token))

    def advance(self, now: float) -> None:
        """Let simulated persons do what they should have done by now."""
        while self._due and self._due[0][0] <= now:
            due, token = heapq.heappop(self._due)
            capture = self.captures[token]
            if capture.finished or capture.dossier_id not in self._world.dossiers:
                continue
            self._process(capture, due)
            wish = outcome.profile_outcome(capture.profile)
            last = due >= capture.created_at + self._world.config.capture_delay
            if last and wish != "abandoned":
                self._end(capture, NO_IMAGES, wish, due)

    def open(self, token: str) -> Capture:
        """The person opens the link; 404 when it is unknown, finished, or its dossier gone."""
        now = self._world.now()
        capture = self.captures.get(token)
        if capture is None or capture.finished or capture.dossier_id not in self._world.dossiers:
            raise not_found("Capture")
        self._process(capture, now)
        return capture

    def finish(self, token: str, images: Mapping[str, Image], wish: str | None = None) -> str:
        """The person is done: images, start. Returns where to go. `wish` is an outcome chosen at the page."""
        capture = self.open(token)
        # A person who is done has not given up, whatever the profile had in mind.
        profile = outcome.profile_outcome(capture.profile)
        planned = profile if profile in OUTCOMES else None
        marked = outcome.marked_outcome(images.values())
        return self._end(capture, images, wish or marked or planned, self._world.clock())

    def _asked(self, dossier_id: str, body: Json) -> tuple[str, int | None]:
        """The process type and document id that a capture request asks for."""
        world, operation = self._world, Operation.CREATE_ARTIFACT
        dossier = world.dossier(dossier_id)
        world.screen(operation, body, checks.CAPTURE_FIELDS, dossier)
        checks.tags(body)
        checks.typed(body, "requestDomain", str)
        sdk = checks.typed(body, "sdk", str, required=world.config.capture_needs_sdk)
        if sdk not in (None, "native", "capture"):
            raise bad_request("sdk is native or capture.")
        parameters = checks.typed(body, "captureParameters", dict) or {}
        world.screen(operation, parameters, checks.CAPTURE_PARAMETER_FIELDS, dossier)
        for name in checks.CAPTURE_PARAMETER_FIELDS - {"uiProfileJSON"}:
            checks.typed(parameters, name, str)
        providers = checks.typed(body, "providers", list, required=True) or []
        if len(providers) != 1 or not isinstance(providers[0], dict):
            raise bad_request("providers holds exactly one provider.")
        world.screen(operation, providers[0], checks.CAPTURE_PROVIDER_FIELDS, dossier)
        return checks.process_type(providers[0]), checks.typed(providers[0], "documentId", int)

    def _process(self, capture: Capture, at: float) -> Process | None:
        """The flow's process, made when it is first needed; None when somebody deleted it."""
        world = self._world
        if capture.process_id is None:
            process = world.add_process(
                world.dossiers[capture.dossier_id], capture.process_type, capture.pages, capture.country, at
            )
            capture.process_id = process.process_id
        return world.processes.get(capture.process_id)

    def _end(self, capture: Capture, images: Mapping[str, Image], wish: str | None, at: float) -> str:
        """Start or cancel the process, unless somebody ended or deleted it, and say where the person goes."""
        world = self._world
        process = self._process(capture, at)
        if process and process.verdict is None:
            if wish == "canceled":
                process.verdict = outcome.verdict("canceled", at)
                world.touch(process, at)
            else:
                process.images |= dict.fromkeys(process.needed, SPECIMEN) | dict(images)
                world.verify(process, wish, at)
        capture.finished = True
        world.changes += 1
        status = process.status(at) if process else "canceled"
        return _redirect(capture, status)


def _redirect(capture: Capture, status: str) -> str:
    """redirectUrl with dossierId, processId and status in its query (contract §10)."""
    parts = urlsplit(capture.redirect_url)
    added = urlencode({"dossierId": capture.dossier_id, "processId": capture.process_id or "", "status": status})
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))
