"""h11 as the reference for the replies that the agent reads, and the known differences of both."""

import re
from typing import Final

import h11

from agent.assure.http.messages import MAX_INTERIM_RESPONSES

LIMIT: Final = 400  # bytes of a body
REQUEST_BODY: Final = b"{}"

Outcome = tuple[int, bytes, str | None, str | None] | None
"""Status, body, Retry-After and Date of a complete reply; None: not complete, or not valid."""

_BLANK: Final = re.compile(rb"\n\r?\n")
_LOOSE: Final = re.compile(rb"(?<!\r)\n|\n[ \t]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_REASON: Final = re.compile(rb"\A(HTTP/1\.[01] [0-9]{3} )[^\r\n]*")
_FRAMING: Final = re.compile(rb"(?i)\n(?:content-length|transfer-encoding):")
_BLANK_AFTER: Final = re.compile(rb"(?i)\ntransfer-encoding:[^\n]*[ \t]\r\n")
_EXTENSION: Final = re.compile(rb"\n[0-9A-Fa-f]+([ \t;][^\n]*)\r\n")
EXTENSIONS: Final = (b"", b"", b";a=b", b";a", b' ;a="b"')


def _heads(stream: bytes) -> tuple[list[bytes], bytes]:
    """The heads up to that of the reply, each without line ends before it, and the bytes after them."""
    heads, start = [], 0
    while (blank := _BLANK.search(stream, start)) is not None:
        heads.append(stream[start : blank.end()].lstrip(b"\r\n"))
        start = blank.end()
        if heads[-1][9:10] != b"1":
            break
    return heads, stream[start:]


def is_stricter(stream: bytes) -> bool:
    """True if h11 accepts a head that the agent refuses.

    A line of such a head ends without CR, continues on the next line, or contains a control character. Or the head
    declares its framing twice, with a blank after it or in a trailer, or has a version other than 1.0 and 1.1. Or an
    interim answer ends the connection. Or a chunk has an extension that is not valid.
    """
    heads, rest = _heads(stream)
    if heads and (len(_FRAMING.findall(heads[-1])) > 1 or _BLANK_AFTER.search(heads[-1])):
        return True
    if any(head[:8] not in (b"HTTP/1.0", b"HTTP/1.1") for head in heads):
        return True
    if any(b"\nconnection: close" in head.lower() for head in heads[:-1]):
        return True
    if not heads or b"chunked" not in heads[-1].lower():
        return any(map(_LOOSE.search, heads))
    if any(extension not in EXTENSIONS for extension in _EXTENSION.findall(b"\n" + rest)):
        return True
    trailers = rest[rest.rfind(b"\r\n0") + 2 :]
    return any(_LOOSE.search(lines) for lines in (*heads, trailers)) or _FRAMING.search(trailers) is not None


def _readable(stream: bytes) -> bytes:
    """The stream without line ends before a message and without reason phrases, which llhttp skips."""
    heads, rest = _heads(stream)
    return b"".join(_REASON.sub(rb"\1", head, count=1) for head in heads) + rest


def reference(stream: bytes, closes: bool) -> Outcome:
    """The reply that h11 reads, with the limits of the agent."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=64 * 1024)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a"), ("Content-Length", "2")]))
    connection.send(h11.Data(data=REQUEST_BODY))
    connection.send(h11.EndOfMessage())
    status, body, interim, ended = 0, b"", 0, False
    headers: dict[bytes, str] = {}
    try:
        connection.receive_data(_readable(stream))
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA and closes and not ended:
                ended = True
                connection.receive_data(b"")
            elif isinstance(event, h11.InformationalResponse):
                interim += 1
                if event.status_code == 101 or interim > MAX_INTERIM_RESPONSES:
                    return None
            elif isinstance(event, h11.Response):
                status = event.status_code
                for name, value in event.headers:
                    headers.setdefault(bytes(name), bytes(value).decode("latin-1"))
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                within = len(body) <= LIMIT and int(headers.get(b"content-length", "0")) <= LIMIT
                return (status, body, headers.get(b"retry-after"), headers.get(b"date")) if within else None
            else:
                return None
    except h11.RemoteProtocolError:
        return None
