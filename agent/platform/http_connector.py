"""aiohttp's connector with limits for interim (1xx) answers and for the size of the head.

aiohttp limits the size and number of headers, but not the number of 1xx answers. It parses ten thousand of them from
one read of a socket, which blocks the event loop for seconds. This connector allows MAX_HEAD_BYTES before the body and
MAX_INTERIM_RESPONSES interim answers. Otherwise it closes the connection, and the result of the request is unknown.
"""

import asyncio
import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

MAX_HEAD_BYTES = 64 * 1024  # bytes, interim answers included
MAX_INTERIM_RESPONSES = 32
_SLICE = 8 * 1024  # bytes that are parsed between two checks of the limits


class _Handler(ResponseHandler):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._expect()

    def _expect(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._messages = 0

    def set_response_params(self, **parameters: Any) -> None:
        """Expect the answer to a request."""
        self._expect()
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        """Parse the data in slices, and close the connection if a limit is exceeded."""
        if not data:  # aiohttp calls it without data to resume its parser
            super().data_received(data)
        for start in range(0, len(data), _SLICE):
            part = data[start : start + _SLICE]
            self._head_bytes += len(part) if self._in_head else 0
            super().data_received(part)
            if self._messages > MAX_INTERIM_RESPONSES + 1 or (self._in_head and self._head_bytes > MAX_HEAD_BYTES):
                self.set_exception(aiohttp.ClientPayloadError("the head of the answer is too long"))
                if self.transport is not None:
                    self.transport.abort()
            if self.transport is None or self.transport.is_closing():
                return

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Receive a parsed message."""
        message, _ = data
        self._messages += 1
        self._in_head = self._in_head and 100 <= message.code < 200 and message.code != 101
        super().feed_data(data, size)


class BoundedConnector(aiohttp.TCPConnector):
    """The connector of every session of the agent.

    The factory of protocols is a private attribute of aiohttp. Therefore aiohttp is pinned, and a test covers it.
    """

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if not hasattr(self, "_factory"):
            raise RuntimeError("this version of aiohttp is not supported: it has no protocol factory")
        handler: type[ResponseHandler] = _Handler
        self._factory = functools.partial(handler, loop=self._loop)
