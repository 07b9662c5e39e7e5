"""Injects faults into answers on the wire: late, false, cut short, or no answer at all (`rules` decides).

ASGI does not expose the connection that a fault must cut. The uvicorn protocol here adds it to the scope.
"""

import asyncio
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from uuid import uuid4

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.sandbox.faults.rules import Kind, Rule, Trouble
from agent.sandbox.model import AssureError, Json, View
from agent.sandbox.tokens import REVOKED

CONNECTION = "sandbox.connection"
FOREIGN = b'{"name":"some-other-service","version":"7.1","items":[{"id":17}],"ok":true}'
GATEWAY: Json = {  # the shape is documented, its values are a choice (contract §2)
    "type": "https://developer.signicat.com/docs/error-codes/",
    "title": "Invalid request parameter",
    "detail": "An error by a fault rule of the sandbox.",
    "code": "invalid_request_parameter",
    "invalidParams": [{"name": "documentId", "reason": "unknown"}],
}
PAGE = b"<!doctype html><html><head><title>Gateway</title></head><body><h1>Please stand by</h1></body></html>"
_TITLES = {
    Kind.TOO_MANY: "Too Many Requests",
    Kind.INTERNAL: "Internal Server Error",
    Kind.BAD_GATEWAY: "Bad Gateway",
    Kind.UNAVAILABLE: "Service Unavailable",
    Kind.GATEWAY_TIMEOUT: "Gateway Timeout",
}

Act = Callable[[View], Response]
Fail = Callable[[AssureError], Response]


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with its connection in the scope."""

    def on_headers_complete(self) -> None:
        """Start the application when the headers are complete."""
        extensions: dict[str, dict[object, object]] = {CONNECTION: {"transport": self.transport}}
        self.scope["extensions"] = extensions
        super().on_headers_complete()


class FaultInjector:
    """Answers calls with their faults. `sleep` waits for the latency."""

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        self._clock = clock
        self._sleep = sleep
        self._hanging: set[asyncio.Transport] = set()

    def close(self) -> None:
        """Cut the hanging calls, so that the server can stop."""
        for connection in self._hanging:
            connection.abort()

    async def answer(self, scope: Scope, receive: Receive, send: Send, trouble: Trouble, act: Act, fail: Fail) -> None:
        """Act and send, as far as the fault permits. `fail` builds the answer of an error."""
        if trouble.latency:
            await self._sleep(trouble.latency)
        rule = trouble.rule
        if rule is None:
            await act(View(lag=trouble.lag))(scope, receive, send)
            return
        acted = act(View(lag=trouble.lag, delivered=False)) if rule.acting else None
        connection: asyncio.Transport = scope["extensions"][CONNECTION]["transport"]
        match rule.kind:
            case Kind.RESET_BEFORE | Kind.RESET_AFTER:
                connection.abort()
                await _close_connection(receive)
            case Kind.HANG:
                self._hanging.add(connection)
                await _close_connection(receive)
                self._hanging.discard(connection)
            case Kind.TRUNCATED:
                await _truncate_body(acted or Response(b"{}", media_type="application/json"), send)
                connection.close()
                await _close_connection(receive)
            case _:
                await self._wrong_answer(rule, fail)(scope, receive, send)

    def _wrong_answer(self, rule: Rule, fail: Fail) -> Response:
        """An answer that replaces the requested one."""
        match rule.kind:
            case Kind.FOREIGN:
                return Response(FOREIGN, rule.status, media_type="application/json")
            case Kind.GATEWAY:
                return JSONResponse(GATEWAY | {"status": rule.status, "traceId": uuid4().hex}, rule.status)
            case Kind.HTML:
                return Response(PAGE, rule.status, media_type="text/html")
            case Kind.REVOKE_TOKEN:
                return fail(REVOKED)
        title = _TITLES[rule.kind]
        response = fail(AssureError(int(rule.kind), title, f"{title}, by a fault rule of the sandbox."))
        if rule.retry_after == "seconds":
            response.headers["retry-after"] = f"{rule.seconds:.0f}"
        elif rule.retry_after == "http-date":
            response.headers["retry-after"] = formatdate(self._clock() + rule.seconds, usegmt=True)
        return response


async def _close_connection(receive: Receive) -> None:
    """Return when the connection has ended. Before that uvicorn would send an answer itself."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _truncate_body(response: Response, send: Send) -> None:
    """Send half of a body under a Content-Length that promises all of it. An empty body also gets such a header."""
    body = bytes(response.body) or b"{}"
    status = 200 if response.status_code == 204 else response.status_code
    headers = [(name, value) for name, value in response.raw_headers if name != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
