"""aiohttp's connector with a bound on the messages of an answer, and on what comes before its body.

aiohttp bounds each header and their number, but reads any number of 1xx answers, and parses ten thousand of them from
one read of a socket: that holds the loop for seconds. Here an answer has LARGEST_HEAD bytes until its final head is
complete, and MOST_INTERIM interim answers at most. Beyond that its connection is closed, and the request fails as one
that may have happened.
"""

import asyncio
import functools
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

LARGEST_HEAD = 64 * 1024  # bytes, interim answers included
MOST_INTERIM = 32
_SLICE = 8 * 1024  # bytes that are parsed before the limits are checked


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
        """Parse slice by slice, and close the connection when a limit is exceeded."""
        if not data:  # aiohttp resumes its parser
            super().data_received(data)
        for start in range(0, len(data), _SLICE):
            part = data[start : start + _SLICE]
            self._head_bytes += len(part) if self._in_head else 0
            super().data_received(part)
            if self._messages > MOST_INTERIM + 1 or (self._in_head and self._head_bytes > LARGEST_HEAD):
                self.set_exception(aiohttp.ClientPayloadError("the head of the answer is too long"))
                if self.transport is not None:
                    self.transport.abort()
            if self.transport is None or self.transport.is_closing():
                return

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Take a message that was parsed."""
        message, _ = data
        self._messages += 1
        self._in_head = self._in_head and 100 <= message.code < 200 and message.code != 101
        super().feed_data(data, size)


class BoundedConnector(aiohttp.TCPConnector):
    """The connector of every session of ours.

    Its factory of protocols is a private attribute, hence the pinned aiohttp, this check, and the tests.
    """

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        if not hasattr(self, "_factory"):
            raise RuntimeError("this aiohttp makes its protocols elsewhere: do not run with it")
        handler: type[ResponseHandler] = _Handler
        self._factory = functools.partial(handler, loop=self._loop)
