"""A sink on a real port that records its events, and can fail on request."""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.web.server import serve

PREFIX = "example.assure-agent."  # of the types, as documented


@dataclass
class Receiver:
    """The received events, in order. `answers` gives the status for an event, 200 by default."""

    url: str = ""
    events: list[dict[str, Any]] = field(default_factory=list)  # those that were answered with 2xx
    refused: list[dict[str, Any]] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: Callable[[dict[str, Any]], int] = lambda event: 200

    def of(self, name: str) -> list[str]:
        """The types of the accepted events of a request, in order, without their prefix."""
        return [event["type"].removeprefix(PREFIX) for event in self.events if event["data"]["name"] == name]


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Receives while the block runs."""
    receiver = Receiver()

    async def post(request: Request) -> Response:
        body = await request.body()
        event = json.loads(body)
        receiver.requests.append((dict(request.headers), body))
        status = receiver.answers(event)
        (receiver.events if 200 <= status < 300 else receiver.refused).append(event)
        return Response(status_code=status, headers={"Location": "/elsewhere"})

    async def elsewhere(_: Request) -> Response:
        return Response()  # a client that follows the redirect gets a success

    app = Starlette(routes=[Route("/hook", post, methods=["POST"]), Route("/elsewhere", elsewhere)])
    async with serve(app, "127.0.0.1", 0, largest_body={"/hook": 1_000_000}) as url:
        receiver.url = f"{url}/hook"
        yield receiver


def signed(headers: dict[str, str], body: bytes, key: bytes) -> bool:
    """Verify a signature as Standard Webhooks defines it, independently of the agent's code."""
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{expected}" in headers["webhook-signature"].split(" ")
