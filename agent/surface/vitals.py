"""The open endpoints: /metrics, /healthz, /readyz."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from agent.log import logger


def vitals(registry: CollectorRegistry, ready: Callable[[], str | None]) -> list[BaseRoute]:
    """The routes. `ready` gives the reason why not, or None."""

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        try:
            body = await asyncio.to_thread(encode, registry)
        except Exception as error:  # a store that cannot be read, say: the scrape fails, and the work goes on
            logger().error("the metrics failed", error=type(error).__name__, hint="see the other lines of the log")
            return PlainTextResponse("the metrics cannot be read now\n", status_code=503)
        return Response(body, headers={"Content-Type": content_type})

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        reason = ready()
        return PlainTextResponse("ok\n") if reason is None else PlainTextResponse(reason + "\n", status_code=503)

    return [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
