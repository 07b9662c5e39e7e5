"""One connection: an asyncio protocol that carries one exchange at a time.

A connection carries another exchange if its reply was complete and allows it, and if the request was sent completely. A
byte that arrives without a request ends the connection. One timer serves all deadlines. It is not moved for each byte:
when it fires before the current deadline, it is set again.
"""

import asyncio
import math
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from agent.assure.http.messages import SEND_RATE, Body, Broken, ExchangeError, Pieces, Reply, Silent, Timeouts
from agent.assure.http.reply_reader import ReplyReader
from agent.platform.connection_errors import connection_error_code

IDLE_LIMIT: Final = 15.0  # seconds; servers and load balancers close connections that are idle for longer

_PEEK_AFTER: Final = 1.0  # seconds; a connection that was idle for longer may have ended unnoticed
_EARLY: Final = 0.002  # seconds; uvloop rounds timers to milliseconds
_POLL: Final = 0.02  # seconds between two checks of bytes that the socket does not accept


class Connection(asyncio.Protocol):
    """Created by `dial`, used by `Pool`. `on_lost` is called once, after the connection ended."""

    __slots__ = (
        "_answer", "_below", "_deadline", "_idle_limit", "_idle_since", "_loop", "_on_lost", "_on_sent", "_paused",
        "_pieces", "_reader", "_reply_until", "_send_until", "_silence", "_socket", "_timeouts", "_timer", "_timer_at",
        "_transport", "usable",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeouts: Timeouts,
        on_lost: "Callable[[Connection], None]",
        peer: socket.socket | None = None,
        idle_limit: float = IDLE_LIMIT,
    ) -> None:
        """`peer` is the socket below the asyncio transport."""
        self._loop = loop
        self._timeouts = timeouts
        self._on_lost = on_lost
        self._socket = peer
        self._silence = 0.0
        self._idle_limit = idle_limit
        self._reader = ReplyReader()
        self._transport: Any = None
        self._below: Any = None  # the transport that writes to the socket; `_transport` may encrypt for it
        self._on_sent: Callable[[], None] | None = None
        self.usable = False
        self._paused = False
        self._pieces: Iterator[bytes] | None = None
        self._answer: asyncio.Future[Reply] | None = None
        self._deadline = self._timer_at = self._send_until = self._reply_until = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since = loop.time()
        self._limit_silence(timeouts.read)

    def is_fresh(self) -> bool:
        """True if the connection can carry a request now.

        After a pause the socket itself is read, without removing bytes: the loop may not have reported its end yet.
        """
        if not self.usable or self._transport.is_closing():
            return False
        idle = self._loop.time() - self._idle_since
        if idle < _PEEK_AFTER or self._socket is None:
            return True
        if idle > self._idle_limit:
            return False
        try:
            self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def begin(
        self, head: bytes, body: Body, limit: int, on_sent: Callable[[], None] | None = None
    ) -> asyncio.Future[Reply]:
        """Write the request. From the call on, it counts as sent.

        The future ends with the reply or an ExchangeError. `on_sent` is called once, as soon as the process has
        sent or discarded the last byte of the request.
        """
        self._on_sent = on_sent
        self._answer = answer = self._loop.create_future()
        self._reader.expect(limit)
        now = self._loop.time()
        length = len(body) if isinstance(body, bytes) else body.length
        self._send_until = now + self._timeouts.send + length / SEND_RATE
        upload = self._timeouts.send + length / SEND_RATE if length > SEND_RATE else 0.0
        self._limit_silence(self._timeouts.read + upload)
        self._reply_until = self._send_until + self._timeouts.read
        if isinstance(body, bytes):
            # One write of both. To join them would copy the image, at a cost of 0.18 million instructions.
            self._transport.writelines((head, body) if body else (head,))
        else:
            self._pieces = _exactly(body)
            self._transport.write(head)
            self._write_pieces()
        self._report_sent()
        self._set_deadline(now)
        return answer

    def give_up(self) -> None:
        """End an exchange of which a byte is unsent, because the time for it is over."""
        self._fail(Broken("lease", self._reader.status))
        self.close()

    @property
    def certificate(self) -> bytes | None:
        """The server's certificate in DER, verified or not. None: the connection is not over TLS."""
        secured: ssl.SSLObject | None = self._transport.get_extra_info("ssl_object")
        return secured.getpeercert(binary_form=True) if secured is not None else None

    def close(self) -> None:
        """Close at once. An exchange in flight ends as Broken."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()
        self._report_discarded()

    def close_idle(self) -> None:
        """Close an idle connection, over TLS with a close notification."""
        self.usable = False
        self._transport.close()

    def _write_pieces(self) -> None:
        """Write until the socket accepts no more. Pieces that cannot be produced end the exchange as Broken."""
        try:
            while self._pieces is not None and not self._paused and self._answer is not None:
                if self._transport.is_closing():  # a write failed, and asyncio will report it
                    return
                piece = next(self._pieces, None)
                if piece is None:
                    self._pieces = None
                else:
                    self._transport.write(piece)
        except Exception as error:  # of the producer of the body: the request is sent in part
            self._pieces = None
            self._fail(Broken(f"body-{type(error).__name__}".lower(), self._reader.status))

    def _report_sent(self) -> None:
        if self._on_sent is None or self._paused or self._pieces is not None:
            return
        if self._below.get_write_buffer_size():  # encrypted bytes: the transport does not report their end
            self._loop.call_later(_POLL, self._report_sent)
        else:
            self._report_discarded()

    def _report_discarded(self) -> None:
        on_sent, self._on_sent = self._on_sent, None
        if on_sent is not None:
            on_sent()

    def _fail(self, failure: ExchangeError) -> None:
        self.usable = False
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_exception(failure)

    def _complete(self) -> None:
        """Report the reply. If a part of the request is not sent, the connection cannot carry another."""
        self.usable = self.usable and self._reader.keep_alive and not self._paused and self._pieces is None
        self._pieces = None
        answer, self._answer = self._answer, None
        self._idle_since = self._loop.time()
        self._set_timer(self._idle_since + self._idle_limit)
        if answer is not None and not answer.done():
            answer.set_result(self._reader.take_reply())

    # Time.

    def _limit_silence(self, seconds: float) -> None:
        """Let the kernel end the connection if the other side accepts no byte for so long.

        It would repeat the bytes of a process that has ended for 15 minutes, and a call must arrive within
        REQUEST_TIMEOUT or never (design §5).
        """
        if self._socket is not None and seconds != self._silence and hasattr(socket, "TCP_USER_TIMEOUT"):
            self._silence = seconds
            with suppress(OSError):  # the connection has ended, and its exchange fails by itself
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, math.ceil(seconds * 1000))

    def _set_deadline(self, now: float) -> None:
        """Silence counts from the last byte that was sent or received."""
        if self._paused or self._pieces is not None:
            self._set_timer(self._send_until)
        else:
            self._set_timer(min(self._reply_until, now + self._timeouts.read))

    def _set_timer(self, deadline: float) -> None:
        self._deadline = deadline
        if deadline < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer, self._timer_at = None, math.inf
        if self._loop.time() < self._deadline - _EARLY:
            self._set_timer(self._deadline)
        elif self._answer is not None:
            self._fail(Silent("timeout", self._reader.status))
        else:
            self.close_idle()

    # The callbacks of asyncio.

    def begin_over(self, encrypting: asyncio.BaseTransport, below: asyncio.BaseTransport) -> None:
        """Begin on a transport that encrypts for the one below it."""
        self._below = below
        self.connection_made(encrypting)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Report each byte that the socket does not accept as a pause."""
        self._transport = transport
        self._below = self._below or transport
        # asyncio's TLS pauses at the limit, and all others above it.
        secure = transport.get_extra_info("sslcontext") is not None
        self._transport.set_write_buffer_limits(high=1 if secure else 0, low=0)
        self.usable = True
        self._idle_since = self._loop.time()
        self._set_timer(self._idle_since + self._idle_limit)

    def pause_writing(self) -> None:
        """The socket accepts no more bytes."""
        self._paused = True

    def resume_writing(self) -> None:
        """The socket accepts bytes again."""
        self._paused = False
        self._write_pieces()
        self._report_sent()
        if self._answer is not None:
            self._set_deadline(self._loop.time())

    def data_received(self, data: bytes) -> None:
        """Parse a part of the reply. Bytes without a request end the connection."""
        if self._answer is None:
            self.close()
            return
        try:
            self._reader.feed(data)
        except ExchangeError as failure:
            self._fail(failure)
            return
        if self._reader.whole:
            self._complete()
        else:
            self._set_deadline(self._loop.time())

    def eof_received(self) -> None:
        """The end of a reply without a declared length, or of the connection."""
        self.usable = False
        if self._answer is None:
            return
        try:
            self._reader.end(_is_authentic_end(self._transport))
        except Broken as failure:
            self._fail(failure)
        else:
            self._complete()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection ended."""
        self.usable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pieces = None
        code = connection_error_code(error) if isinstance(error, ssl.SSLError) else "reset"
        self._fail(Broken(code, self._reader.status))
        self._report_discarded()
        self._on_lost(self)


def _is_authentic_end(transport: asyncio.BaseTransport) -> bool:
    """False if TLS ended without a close notification, so that anyone may have cut the stream (RFC 9112 §9.8)."""
    secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
    if secured is None:
        return True
    try:
        return not secured.read(1)
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:  # mostly SSLWantReadError, because a notification could still arrive
        return False


def _exactly(body: Pieces) -> Iterator[bytes]:
    """The pieces. Raises ValueError if they are longer or shorter than declared, before a byte too many is sent."""
    left = body.length
    for piece in body.produce():
        left -= len(piece)
        if left < 0:
            raise ValueError("the body is longer than declared")
        if piece:
            yield piece
    if left:
        raise ValueError("the body is shorter than declared")
