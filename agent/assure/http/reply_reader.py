"""Reads one reply after another with llhttp, within limits."""

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from agent.assure.http.messages import (
    MAX_HEAD_BYTES,
    MAX_INTERIM_RESPONSES,
    Broken,
    ExchangeError,
    Oversized,
    Reply,
)

_FRAMING: Final = 16  # bytes of chunk headers that are accepted for each byte of a body


class _StopParsing(Exception):
    """Ends the parsing of bytes that are not needed."""


class ReplyReader:
    """`whole`: the reply is complete. `keep_alive`: it allows another exchange, and no byte followed it.

    `status` is 0 until the final head is complete.
    """

    __slots__ = (
        "_body", "_body_bytes", "_date", "_declared", "_failure", "_head_bytes", "_interim", "_limit", "_parser",
        "_received", "_retry_after", "keep_alive", "status", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.expect(0)
        self.whole = True

    def expect(self, limit: int) -> None:
        """Prepare for the next reply. `limit` is the largest body in bytes."""
        self._limit = limit
        self.whole = self.keep_alive = self._declared = False
        self.status = self._interim = self._head_bytes = self._body_bytes = self._received = 0
        self._retry_after: str | None = None
        self._date: str | None = None
        self._body: list[bytes] = []
        self._failure: ExchangeError | None = None

    def feed(self, data: bytes) -> None:
        """Parse a part of the reply. Raises Broken or Oversized."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.keep_alive = False
            if not self.whole:
                raise (self._failure or Broken("reset", self.status)) from error
        if not self.whole and self._received > MAX_HEAD_BYTES + (1 + _FRAMING) * self._body_bytes:
            raise Oversized("oversized", self.status)

    def end(self, authentic: bool = True) -> None:
        """The connection ended. A reply without a declared length is complete, any other is not: Broken is raised.

        `authentic` is false if the end may have been forged.
        """
        self.keep_alive = False
        if not self.whole and (not self.status or self._declared or not authentic):
            raise Broken("reset", self.status)
        self.whole = True

    def take_reply(self) -> Reply:
        """The complete reply."""
        body, self._body = self._body, []
        return Reply(self.status, body[0] if len(body) == 1 else b"".join(body), self._retry_after, self._date)

    # The callbacks of llhttp. It catches what they raise, and `feed_data` raises HttpParserError.

    def on_message_begin(self) -> None:
        """Refuse a second reply."""
        if self.whole:
            raise _StopParsing

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the few headers that are used. Of a header that is repeated, the first counts."""
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > MAX_HEAD_BYTES:
            self._stop(Oversized("oversized", self.status))
        key = name.lower()
        if key == b"content-length":
            self._declared = True
            if int(value) > self._limit:
                self._stop(Oversized("oversized"))
        elif key == b"transfer-encoding":
            if self._declared or value.lower() != b"chunked":
                self._stop(Broken("reset"))
            self._declared = True
        elif self.status:
            return  # of a trailer nothing is used
        elif key == b"date" and self._date is None:
            self._date = value.strip().decode("latin-1")
        elif key == b"retry-after" and self._retry_after is None:
            self._retry_after = value.strip().decode("latin-1")

    def on_headers_complete(self) -> None:
        """Count interim answers, and refuse a change of the protocol."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status = status
            return
        self._interim += 1
        if status < 100 or status == 101 or self._interim > MAX_INTERIM_RESPONSES:
            self._stop(Broken("reset"))

    def on_body(self, chunk: bytes) -> None:
        """Keep a part of the body."""
        self._body_bytes += len(chunk)
        if self._body_bytes > self._limit:
            self._stop(Oversized("oversized", self.status))
        self._body.append(chunk)

    def on_message_complete(self) -> None:
        """The end of an interim answer or of the reply."""
        if self.status:
            self.whole = True
            self.keep_alive = self._parser.should_keep_alive()
        else:
            self._declared, self._date, self._retry_after = False, None, None

    def _stop(self, failure: ExchangeError) -> None:
        self._failure = failure
        raise _StopParsing
