"""Bounds on the connections of a listener: uvicorn's protocol class with limits of time, bytes and number.

Any peer can connect and send without a secret. So each stage has a timeout, and each buffer a bound:

    HEAD       5 s from the connection or the last answer until a request head is complete
    BODY       15 s from the head until the body is complete
    RESPONSE   30 s from the request until the peer has read the answer

A full listener drops the oldest connection of the first stage that has one. So it accepts every new connection, and
an orchestrator's probe succeeds next to any number of slow peers.
"""

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.core.drop_reasons import Dropped

MAX_HEAD_BYTES = 16 * 1024  # bytes of request line and headers; exceeded by one slice at most
MAX_HEADERS = 100
_MAX_RAW_EXCESS = 192 * 1024  # bytes on the line above the maximum size of a body: chunk headers, trailers and the like
_MAX_PIPELINED = 8  # requests that wait for the answer to an earlier one
_SLICE = 8 * 1024  # bytes that are parsed before the limits are checked


class Stage(Enum):
    """The stage of a connection, in the order in which a full listener drops them."""

    HEAD = "head"
    BODY = "body"
    RESPONSE = "response"


_SECONDS = {Stage.HEAD: 5.0, Stage.BODY: 15.0, Stage.RESPONSE: 30.0}


class ConnectionLimits:
    """The connections of one listener.

    `most` is their maximum number at a time. `largest_body` maps each path that accepts a body to its maximum size in
    bytes; at most one byte more is kept for the application. `dropped` is called for each connection that this class
    ends.
    """

    def __init__(self, most: int, largest_body: Mapping[str, int], dropped: Callable[[Dropped], None]) -> None:
        self.largest_body = largest_body
        self.dropped = dropped
        self._max_connections = most
        # Dictionaries for their order: the oldest in a stage comes first.
        self._in_stage: dict[Stage, dict[BoundedProtocol, None]] = {stage: {} for stage in Stage}

    def protocol(self, **arguments: Any) -> "BoundedProtocol":
        """Uvicorn's factory of protocols."""
        return BoundedProtocol(self, **arguments)

    def evict_oldest(self) -> None:
        """Drop one connection when the listener is full."""
        if sum(map(len, self._in_stage.values())) >= self._max_connections:
            next(iter(next(filter(None, self._in_stage.values())))).drop(Dropped.CROWDED)

    def enter(self, connection: "BoundedProtocol", stage: Stage) -> None:
        """The connection enters this stage."""
        self.leave(connection)
        self._in_stage[stage][connection] = None

    def leave(self, connection: "BoundedProtocol") -> None:
        """The connection has ended."""
        for connections in self._in_stage.values():
            connections.pop(connection, None)

    def abort(self) -> None:
        """End every connection now."""
        for connections in self._in_stage.values():
            for connection in list(connections):
                connection.drop(None)


class _ConnectionRejected(Exception):
    """Stops the parser."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, listener: ConnectionLimits, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._listener = listener
        self._stage = Stage.HEAD
        self._timer: asyncio.TimerHandle | None = None
        self._expects: Stage | None = None  # the part of a request that the parser is in: HEAD, BODY, or between two
        self._parts = 0  # parts of requests that the parser has begun or ended
        self._raw = 0  # bytes of the present part
        self._max_body = 0  # bytes of the body of the present request
        self._requests = 0
        self._fault: Dropped | None = None  # the reason for ending the connection

    # -- the connection -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A peer has connected: make room for it."""
        super().connection_made(transport)
        self._listener.evict_oldest()
        self._enter(Stage.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse slice by slice, and end the connection when the present part of the request is too large."""
        for start in range(0, len(data), _SLICE):
            if self.transport.is_closing():
                return
            before, part = self._parts, data[start : start + _SLICE]
            super().data_received(part)
            self._raw = self._raw + len(part) if self._parts == before else 0
            if self._expects is Stage.BODY:
                if self._raw > self._max_body + _MAX_RAW_EXCESS:
                    self.drop(Dropped.LARGE_BODY)
            elif self._raw > MAX_HEAD_BYTES:
                self._refuse(Dropped.LARGE_HEAD)
        self._adjust()

    def shutdown(self) -> None:
        """The server ends. Only a complete request is still answered."""
        if self._stage is Stage.RESPONSE:
            super().shutdown()
        else:
            self.drop(None)

    def drop(self, reason: Dropped | None) -> None:
        """End the connection without an answer. It is counted if there is a reason."""
        if reason is not None and self._fault is None:
            self._listener.dropped(reason)
            self._fault = reason
        self._release()
        self.transport.abort()

    def _refuse(self, reason: Dropped) -> None:
        """End the connection, with an answer if possible. The timer of its stage ends it if the peer does not read."""
        if self._busy() or self._expects is Stage.BODY:
            self.drop(reason)
            return
        self._listener.dropped(reason)
        self._fault = reason
        status = b"431 Request Header Fields Too Large" if reason is Dropped.LARGE_HEAD else b"400 Bad Request"
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    # -- stages ---------------------------------------------------------------------------------------------

    def _busy(self) -> bool:
        """True while there is a request that is not answered."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _adjust(self) -> None:
        """Enter the current stage of the connection."""
        if self.transport.is_closing():
            return
        unread = self.transport.get_write_buffer_size() > 0
        stage = Stage.RESPONSE if self._busy() or unread else Stage.HEAD
        stage = Stage.BODY if self._expects is Stage.BODY else stage
        if stage is not self._stage:
            self._enter(stage)

    def _enter(self, stage: Stage) -> None:
        self._stage = stage
        self._listener.enter(self, stage)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(_SECONDS[stage], self._expired)

    def _expired(self) -> None:
        unread = self.transport.get_write_buffer_size() > 0
        if self._stage is Stage.BODY:
            self.drop(Dropped.SLOW_BODY)
        elif unread or self.flow.write_paused:
            self.drop(Dropped.SLOW_READER)
        elif self._stage is Stage.RESPONSE:  # the peer has read the answer, or the answer is late
            self._enter(Stage.RESPONSE if self._busy() else Stage.HEAD)
        else:
            idle = self._requests and self._expects is None and not self._raw
            self.drop(None if idle else Dropped.SLOW_HEAD)

    def _release(self) -> None:
        self._listener.leave(self)
        if self._timer is not None:
            self._timer.cancel()

    # -- callbacks of the parser and of the answers ---------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= _MAX_PIPELINED:
            self._stop(Dropped.PIPELINED)
        self._begin(Stage.HEAD)
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. Trailers are ignored: the application has already read the headers."""
        if self._expects is Stage.BODY:
            return
        if len(self.headers) >= MAX_HEADERS:
            self._stop(Dropped.LARGE_HEAD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._begin(Stage.BODY)
        self._requests += 1
        super().on_headers_complete()
        self._max_body = self._listener.largest_body.get(self.scope["path"], 0)

    def on_body(self, body: bytes) -> None:
        """Keep the body up to the limit."""
        super().on_body(body[: max(0, self._max_body + 1 - len(self.cycle.body))])

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._begin(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer is written."""
        super().on_response_complete()
        self._adjust()

    def send_400_response(self, msg: str) -> None:
        """The parser has stopped."""
        fault, self._fault = self._fault, None
        self._refuse(fault or Dropped.MALFORMED)

    def _begin(self, part: Stage | None) -> None:
        self._expects = part
        self._parts += 1

    def _stop(self, reason: Dropped) -> None:
        self._fault = reason
        raise _ConnectionRejected
