"""The body of a request from a peer that anybody can be: limited in size and time."""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request

_TIMEOUT = 10.0  # seconds for the body to arrive


class OversizedError(Exception):
    """The body is larger than the limit."""


class IncompleteError(Exception):
    """The body did not arrive in time, or the peer left."""


async def receive_body(request: Request, limit: int, take: Callable[[bytes], object]) -> None:
    """Pass each part of the body to `take` as it arrives, at most `limit` bytes. Raises the errors above."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length) > limit:
        raise OversizedError
    try:
        async with asyncio.timeout(_TIMEOUT):
            left = limit
            async for part in request.stream():
                left -= len(part)
                if left < 0:
                    raise OversizedError
                take(part)
    except (TimeoutError, ClientDisconnect):
        raise IncompleteError from None
