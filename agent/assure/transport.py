"""A thin httpx transport over one aiohttp session: httpx's interface, aiohttp's speed, and exact failures.

The difference between "never sent" and "perhaps acted on" decides whether a verification is billed twice. Existing
bridges report a POST that the server has read as a connect error, and resend some requests silently (measurements §1).
This transport raises:

    ConnectError, ConnectTimeout   no connection was made: the request was certainly not sent
    ReadTimeout                    sent (perhaps in part), and no whole answer in time
    Oversized                      sent, and the answer is larger than the limit
    RemoteProtocolError            any other failure: resets, truncated bodies, invalid HTTP, endless headers

It sends each request at most once. It uses no redirects, cookies, proxies or decompression. It reads whole bodies up
to a limit, and passes on only the headers in KEPT_HEADERS.
"""

import asyncio
import io
import math
import ssl
from typing import Final

import aiohttp
import httpx
from yarl import URL

from agent.platform.http_connector import BoundedConnector

BODY_LIMIT: Final = "assure.body_limit"
"""The request extension that sets how many bytes of an answer are read."""

TARGET: Final = "target"
"""httpx's own request extension: the path and query to request, instead of those of the request's URL."""

JSON_LIMIT: Final = 4 * 1024 * 1024
SEND_RATE: Final = 64_000  # bytes a second: the lowest rate at which an upload counts as alive (design §8)
KEPT_HEADERS: Final = ("content-type", "retry-after", "date")

_CHUNKED_FROM = 256 * 1024  # bytes; aiohttp streams larger bodies, and waits for the network between chunks
_OURS = (
    "User-Agent",
    "Accept",
    "Accept-Encoding",
    "Content-Type",
)  # headers that aiohttp adds by default


class Oversized(httpx.RemoteProtocolError):
    """The answer has more bytes than the limit of its request."""


class Transport(httpx.AsyncBaseTransport):
    """`connect_timeout` bounds waiting for the pool, DNS, TCP and TLS together.

    `read_timeout` bounds silence, counted from the last byte sent. An answer that drips is bounded as well: the whole
    exchange ends after connect_timeout + body size / SEND_RATE + read_timeout. All in seconds.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        connections: int,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._connections = connections
        self._tls: ssl.SSLContext | bool = tls or True  # True: verify against the system's authorities
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send once, and read the whole answer."""
        session = self._open()
        content = await read_body(request)
        total = self._connect_timeout + len(content) / SEND_RATE + self._read_timeout
        try:
            async with asyncio.timeout(total):
                return await _exchange(session, request, content)
        except httpx.TransportError:
            raise
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx.ConnectTimeout(type(error).__name__, request=request) from error
        except aiohttp.ClientConnectorError as error:
            raise httpx.ConnectError(type(error).__name__, request=request) from error
        except TimeoutError as error:
            raise httpx.ReadTimeout(type(error).__name__, request=request) from error
        except Exception as error:  # a new exception of aiohttp must not count as "never sent"
            raise httpx.RemoteProtocolError(type(error).__name__, request=request) from error

    def _open(self) -> aiohttp.ClientSession:
        """The session, created in the running loop at the first request."""
        if self._closed:
            raise httpx.ConnectError("closed: not sent")
        if self._session is None:
            exact = math.inf  # switches off that aiohttp rounds longer timeouts up to whole seconds
            session = aiohttp.ClientSession(
                connector=BoundedConnector(limit=self._connections, ssl=self._tls),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    connect=self._connect_timeout,
                    sock_connect=self._connect_timeout,
                    sock_read=self._read_timeout,
                    ceil_threshold=exact,
                ),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=_OURS,
            )
            forbid_resend(session)
            self._session = session
        return self._session

    async def aclose(self) -> None:
        """Close every connection. Requests in flight raise RemoteProtocolError, later ones ConnectError."""
        self._closed = True
        if self._session is not None:
            await self._session.close()


async def _exchange(session: aiohttp.ClientSession, request: httpx.Request, content: bytes) -> httpx.Response:
    limit = request.extensions.get(BODY_LIMIT, JSON_LIMIT)
    async with session.request(
        request.method,
        URL(address(request), encoded=True),
        headers=[(name.decode("ascii"), value.decode("latin-1")) for name, value in request.headers.raw],
        data=io.BytesIO(content) if len(content) > _CHUNKED_FROM else content or None,
        allow_redirects=False,
    ) as response:
        if (response.content_length or 0) > limit:
            raise Oversized("declared length", request=request)
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise Oversized("length", request=request)
        passed = [(name, response.headers[name]) for name in KEPT_HEADERS if name in response.headers]
        return httpx.Response(response.status, headers=passed, stream=httpx.ByteStream(bytes(body)), request=request)


async def read_body(message: httpx.Request | httpx.Response) -> bytes:
    """The body of a message. A body in memory is used directly, which is ten times as fast as `aread`."""
    return b"".join(message.stream) if isinstance(message.stream, httpx.ByteStream) else await message.aread()


def address(request: httpx.Request) -> str:
    """The URL of a request, with TARGET applied."""
    target = request.extensions.get(TARGET, request.url.raw_path)
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}{target.decode('ascii')}"


def forbid_resend(session: aiohttp.ClientSession) -> None:
    """Switch off aiohttp's silent resend of idempotent requests on a kept-alive connection.

    It is a private attribute: hence the pinned aiohttp, this check, and the test that counts deliveries.
    """
    if not hasattr(session, "_retry_connection"):
        raise RuntimeError("this aiohttp keeps its resend switch elsewhere: do not run with it")
    session._retry_connection = False
