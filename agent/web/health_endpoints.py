"""The open endpoints: /metrics, /healthz, /readyz."""

import asyncio
from collections.abc import Awaitable, Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from agent.platform.log import logger


def health_routes(registry: CollectorRegistry, ready: Callable[[], Awaitable[str | None]]) -> list[BaseRoute]:
    """The routes. `ready` returns the reason why the agent is not ready, or None."""

    exposition = _Exposition(registry)

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            body = await exposition(encode, content_type)
        except Exception as error:  # for example an unreadable store: the scrape fails, and the agent continues
            logger().error("the metrics failed", error=type(error).__name__, hint="see the other lines of the log")
            return PlainTextResponse("the metrics cannot be read now\n", status_code=503)
        return Response(body, headers={"Content-Type": content_type})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = await ready()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(reason + "\n", status_code=503)

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]


class _Exposition:
    """The metrics as text, encoded by one thread at a time: a flood of scrapes must not take the threads of the agent.

    Requests that wait for their turn share the next encoding; nothing in an answer is older than its request.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = asyncio.Lock()
        self._encodings = 0  # number of encodings
        self._last = (0, "", b"")  # number, content type and text of the last one that succeeded

    async def __call__(self, encode: Callable[[CollectorRegistry], bytes], content_type: str) -> bytes:
        """The metrics in this content type."""
        before = self._encodings
        async with self._lock:
            number, made, text = self._last
            if number > before and made == content_type:
                return text
            self._encodings = number = self._encodings + 1
            text = await asyncio.to_thread(encode, self._registry)
            self._last = number, content_type, text
            return text
