"""Assure Events: `POST /events`, the webhook for finished processes (contract §11).

An event only wakes one request: the agent then reads the process itself. So a false, repeated, late or reordered event
does no harm. The agent verifies the signature of the raw body and checks the id. One transaction then commits the step
of the request and the receipt of the event (inbox pattern). The answer follows, and waits for nothing else. A crash
neither loses an acknowledged event nor processes it twice.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from agent.core.errors import Moved, StoreError
from agent.core.event_result import EventResult
from agent.core.observations import ResultAvailable
from agent.platform.callbacks import isolated
from agent.ports import Clock, DeliverEvent, Inbox, Receipt
from agent.web.request_body import IncompleteError, OversizedError, receive_body

PATHS = ("/events", "/events/")  # also with a slash: senders follow no redirect, so a 307 would lose every event
MAX_BODY_BYTES = 64 * 1024  # bytes of an event; a usual one has less than 1000
_REMEMBER_SECONDS = 86400.0  # seconds that an id is remembered
_COMPLETE = "process.complete"
_STATUS = {EventResult.FORGED: 401, EventResult.OVERSIZED: 413, EventResult.UNREADABLE: 400}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSignature:
    """The signature of events: HMAC-SHA256 of the raw body. Header, encoding and prefix are undocumented (§11)."""

    secrets: tuple[str, ...]  # any of them is valid, for rotation
    header: str
    encoding: str  # hex | base64
    prefix: str

    def __repr__(self) -> str:
        return f"Signature({self.header}, {self.encoding})"

    def matches(self, headers: Mapping[str, str], body: bytes | bytearray) -> bool:
        """True if the body is signed with one of the secrets. Runs in constant time."""
        given = headers.get(self.header, "").strip()
        value = given.removeprefix(self.prefix) if given.startswith(self.prefix) else ""
        value = value.lower() if self.encoding == "hex" else value
        found = [hmac.compare_digest(self._expected(secret, body), value.encode()) for secret in self.secrets]
        return any(found)

    def _expected(self, secret: str, body: bytes | bytearray) -> bytes:
        mac = hmac.new(secret.encode(), body, hashlib.sha256)
        return mac.hexdigest().encode() if self.encoding == "hex" else base64.b64encode(mac.digest())


class AssureEventEndpoint:
    """Receives events. `on_result` gets the result of each."""

    def __init__(
        self,
        signature: EventSignature,
        inbox: Inbox,
        deliver: DeliverEvent,
        clock: Clock,
        on_result: Callable[[EventResult], None],
        refuse_away: Callable[[], None],
    ) -> None:
        """`refuse_away` raises StoreAway while the server of the database does not answer."""
        self._refuse_away = refuse_away
        self._signature = signature
        self._inbox = inbox
        self._deliver = deliver
        self._clock = clock
        self._on_result = isolated(on_result)

    def routes(self) -> list[Route]:
        """`POST /events`, also with a trailing slash."""
        return [Route(path, self._respond, methods=["POST"]) for path in PATHS]

    async def _respond(self, request: Request) -> Response:
        try:
            received = await self._receive(request)
        except (StoreError, Moved):
            return PlainTextResponse("busy\n", status_code=503)  # the sender repeats the event
        self._on_result(received)
        status = _STATUS.get(received, 200)
        return PlainTextResponse(f"{received}\n" if status >= 400 else "ok\n", status_code=status)

    async def _receive(self, request: Request) -> EventResult:
        body = bytearray()
        try:
            await receive_body(request, MAX_BODY_BYTES, body.extend)
        except OversizedError:
            return EventResult.OVERSIZED
        except IncompleteError:
            return EventResult.UNREADABLE
        if not self._signature.matches(request.headers, body):
            return EventResult.FORGED
        self._refuse_away()
        envelope = _envelope(body)
        return EventResult.UNREADABLE if envelope is None else await self._process(envelope)

    async def _process(self, envelope: Mapping[str, Any]) -> EventResult:
        digest = hashlib.sha256(envelope["id"].encode()).hexdigest()[:32]
        if await self._inbox.is_known(digest):
            return EventResult.DUPLICATE
        now = self._clock.now()
        forget_before = now - _REMEMBER_SECONDS if self._clock.confirmed else 0.0
        receipt = Receipt(digest=digest, at=now, forget_before=forget_before)
        complete = envelope["eventName"] == _COMPLETE
        data = _text(envelope, "dossierId"), _text(envelope, "externalReference")
        uid = await self._inbox.find_request(*data) if complete else None
        if uid is None:
            await self._inbox.remember_event(receipt)
            return EventResult.UNMATCHED if complete else EventResult.UNKNOWN
        if await self._deliver({uid: ResultAvailable(at=now)}, receipt=receipt):
            raise Moved(uid)  # a replica waits for a call of this request
        return EventResult.ACCEPTED


def _envelope(body: bytearray) -> Mapping[str, Any] | None:
    """The envelope, if it has `id`, `eventName` and an optional object `eventData`. Otherwise None."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(envelope, dict) or not isinstance(envelope.get("eventData"), dict | None):
        return None
    named = all(isinstance(envelope.get(key), str) and envelope[key] for key in ("id", "eventName"))
    return envelope if named else None


def _text(envelope: Mapping[str, Any], key: str) -> str | None:
    value = (envelope.get("eventData") or {}).get(key)
    return value if isinstance(value, str) and value else None
