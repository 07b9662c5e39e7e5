"""A sink over HTTP: CloudEvents 1.0 in structured JSON mode, signed as in Standard Webhooks.

The header `webhook-signature` contains `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. ID is in
`webhook-id`, TIMESTAMP (seconds) in `webhook-timestamp`. During a rotation there are two signatures, separated by a
space. `agent.platform.settings_types.signing_keys` reads the keys from SINK_SECRET.
"""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from agent.assure.http.messages import ExchangeError, Origin, header_lines, path_of
from agent.assure.http.pool import Pool
from agent.core.timestamps import format_timestamp
from agent.platform.endpoint_health import EndpointTrouble, by_status, unanswered
from agent.ports import Clock, Delivery
from agent.ports.sink import sink_id

OnResult = Callable[[EndpointTrouble | None], None]

_DELIVERY_SECONDS = 10.0
_CONNECTIONS = 100
_MAX_BODY = 64 * 1024  # bytes of an answer that are read, so that its connection can be used again
_TYPE = "application/cloudevents+json; charset=utf-8"


class HttpSink:
    """One URL. Implements `agent.ports.Sink`."""

    def __init__(
        self, url: str, keys: Sequence[bytes], agent_id: str, clock: Clock, on_result: OnResult = lambda trouble: None
    ) -> None:
        """`on_result` receives the trouble of each delivery, or None if the sink accepted it."""
        self._url = url
        self._on_result = on_result
        self._keys = keys
        self._source = f"/assure-agent/{agent_id}"
        self._clock = clock
        self._origin = Origin.of(url)
        self._target = path_of(url)
        self._pool = Pool(connections=_CONNECTIONS)

    def __repr__(self) -> str:
        return f"HttpSink({sink_id(self._url)})"

    async def send(self, delivery: Delivery) -> bool:
        """Post the notification. True: 2xx within ten seconds. Follows no redirect, and ignores the body."""
        body = orjson.dumps(cloud_event(delivery, self._source))
        headers = {"Content-Type": _TYPE, "User-Agent": "assure-agent", **self._signature_headers(delivery.event, body)}
        fields = header_lines(self._origin, headers)
        try:
            async with asyncio.timeout(_DELIVERY_SECONDS):
                reply = await self._pool.send(self._origin, "POST", self._target, fields, body, _MAX_BODY)
            status = reply.status
        except ExchangeError as error:
            status = error.status
            if not status:
                self._on_result(unanswered(error.cause))
                return False
        except TimeoutError:
            self._on_result(unanswered("timeout"))
            return False
        taken = 200 <= status < 300
        self._on_result(None if taken else EndpointTrouble(cause=by_status(status), status=status))
        return taken

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()

    def _signature_headers(self, event: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock.now()))
        content = f"{event}.{at}.".encode() + body
        made = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in self._keys]
        return {
            "webhook-id": event,
            "webhook-timestamp": at,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
        }


def cloud_event(delivery: Delivery, source: str) -> dict[str, Any]:
    """The event. It never contains the capture link. Absent values are null."""
    notice = delivery.notice
    return {
        "specversion": "1.0",
        "id": delivery.event,
        "source": source,
        "type": notice.type,
        "subject": delivery.uid,
        "time": format_timestamp(notice.at),
        "datacontenttype": "application/json",
        "data": {
            "name": delivery.name,
            "uid": delivery.uid,
            "generation": notice.generation,
            "mode": delivery.mode,
            "outcome": notice.outcome,
            "reason": notice.reason,
            "holdId": notice.hold_id,
        },
    }
