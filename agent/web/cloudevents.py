"""A sink over HTTP: CloudEvents 1.0 in structured JSON mode, signed as in Standard Webhooks.

The header `webhook-signature` contains `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`. ID is in
`webhook-id`, TIMESTAMP (seconds) in `webhook-timestamp`. During a rotation there are two signatures, separated by a
space. `agent.platform.settings_types.signing_keys` reads the keys from SINK_SECRET.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import ssl
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx
import orjson

from agent import __version__
from agent.core.notifications import EVENT_TYPE_PREFIX
from agent.core.timestamps import format_timestamp
from agent.platform.connection_errors import connect_refusal, connection_error_code
from agent.platform.endpoint_health import EndpointTrouble, by_status, unanswered
from agent.platform.proxy import Proxy
from agent.platform.tls import tls_context
from agent.ports import Clock, Delivery
from agent.ports.sink import sink_id

OnResult = Callable[[EndpointTrouble | None], None]

_DELIVERY_SECONDS = 10.0
_LIMITS = httpx.Limits(max_connections=100, keepalive_expiry=15.0)  # idle seconds; many servers close after them
_MAX_BODY = 64 * 1024  # bytes of an answer that are read, so that its connection can be used again
_HEADERS = {
    "Content-Type": "application/cloudevents+json; charset=utf-8",
    "User-Agent": f"assure-agent/{__version__}",
    "Accept-Encoding": "identity",
}


class HttpSink:
    """One URL. Implements `agent.ports.Sink`."""

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        agent_id: str,
        clock: Clock,
        on_result: OnResult = lambda trouble: None,
        tls: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        """`on_result` receives the trouble of each delivery, or None if the sink accepted it.

        `tls` verifies the sink, by default by the system's authorities.
        """
        self._url = url
        self._behind_proxy = proxy is not None
        self._on_result = on_result
        self._keys = keys
        self._source = f"/assure-agent/{agent_id}"
        self._clock = clock
        self._http = httpx.AsyncClient(
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),  # keep none
            verify=tls or tls_context(),
            proxy=_of_httpx(proxy) if proxy is not None else None,
            timeout=None,  # noqa: S113 - `send` limits the whole delivery
            limits=_LIMITS,
            trust_env=False,
        )

    def __repr__(self) -> str:
        return f"HttpSink({sink_id(self._url)})"

    async def send(self, delivery: Delivery) -> bool:
        """Post the notification. True: 2xx within ten seconds. Follows no redirect, and ignores the body."""
        body = orjson.dumps(cloud_event(delivery, self._source))
        try:
            async with asyncio.timeout(_DELIVERY_SECONDS):
                status = await self._post(body, self._signature_headers(delivery.event, body))
        except (httpx.HTTPError, OSError) as error:
            self._on_result(unanswered(self._code(error)))
            return False
        taken = 200 <= status < 300
        self._on_result(None if taken else EndpointTrouble(cause=by_status(status), status=status))
        return taken

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _post(self, body: bytes, headers: dict[str, str]) -> int:
        """The status of the answer. It counts as soon as the head is complete. Raises httpx.HTTPError or OSError."""
        async with self._http.stream("POST", self._url, content=body, headers=headers) as reply:
            read = 0
            with contextlib.suppress(httpx.HTTPError):
                async for part in reply.aiter_raw():
                    read += len(part)
                    if read > _MAX_BODY:
                        break
            return reply.status_code

    def _code(self, error: Exception) -> str:
        """The code of the cause. Until the tunnel is open, the only peer is the proxy."""
        code = connection_error_code(error)
        if isinstance(error, httpx.ProxyError):
            status = re.match(r"[1-5]\d\d ", str(error))  # httpcore's text: the status and its reason
            return (connect_refusal(int(status[0])) if status is not None else None) or "proxy-answer"
        unconnected = self._behind_proxy and isinstance(error, httpx.ConnectError) and not code.startswith("tls")
        return f"proxy-connect-{code}" if unconnected else code

    def _signature_headers(self, event: str, body: bytes) -> dict[str, str]:
        at = str(int(self._clock.now()))
        content = f"{event}.{at}.".encode() + body
        made = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in self._keys]
        return {
            "webhook-id": event,
            "webhook-timestamp": at,
            "webhook-signature": " ".join(f"v1,{signature}" for signature in made),
        }


def _of_httpx(proxy: Proxy) -> httpx.Proxy:
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": proxy.authorization} if proxy.authorization else None)


def cloud_event(delivery: Delivery, source: str) -> dict[str, Any]:
    """The event. It never contains the capture link. Absent values are null."""
    notice = delivery.notice
    return {
        "specversion": "1.0",
        "id": delivery.event,
        "source": source,
        "type": EVENT_TYPE_PREFIX + notice.type,
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
