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
_REASON: Final = re.compile(rb"\A(HTTP/1\.[01] [0-9]{3} )[^\r\n]*")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,20})([^\r\n]*)\r\n")
EXTENSIONS: Final = (b"", b"", b";a=b", b";a", b' ;a="b"')

_STRICTER: Final = {
    # A line without CR lets two readers see two different heads (RFC 9112 §2.2 permits a reader to refuse it).
    "line without CR": re.compile(rb"(?<!\r)\n"),
    # RFC 9112 §5.2: a continued line is obsolete, and a client may only accept it after a change.
    "continued line": re.compile(rb"\n[ \t]"),
    # RFC 9110 §5.5: CR, LF and NUL are dangerous, other control characters are invalid.
    "control character": re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"),
}
"""Heads and trailers that h11 accepts and the agent refuses."""

_FRAMING: Final = re.compile(rb"(?i)\n(?:content-length|transfer-encoding):")
_BLANK_AFTER: Final = re.compile(rb"(?i)\ntransfer-encoding:[^\n]*[ \t]\r\n")
_VERSION: Final = re.compile(rb"HTTP/1\.[01] ")
_CLOSES: Final = re.compile(rb"(?is)\nconnection:[^\n]*close|\AHTTP/1\.0(?!.*\nconnection:[^\n]*keep-alive)")


def _heads(stream: bytes) -> tuple[list[bytes], bytes]:
    """The heads up to that of the reply, each without line ends before it, and the bytes after them."""
    heads, start = [], 0
    while (blank := _BLANK.search(stream, start)) is not None:
        heads.append(stream[start : blank.end()].lstrip(b"\r\n"))
        start = blank.end()
        if heads[-1][9:10] != b"1":
            break
    return heads, stream[start:]


def _chunks(rest: bytes) -> tuple[list[bytes], bytes]:
    """The extensions of the chunks of a body, and its trailers after the line end of the last chunk."""
    extensions, at = [], 0
    while (line := _CHUNK.match(rest, at)) is not None:
        extensions.append(line[2])
        if int(line[1], 16) == 0:
            blank = _BLANK.search(rest, line.end() - 1)
            return extensions, rest[line.end() - 2 : blank.end() if blank else len(rest)]
        at = line.end() + int(line[1], 16) + 2
    return extensions, b""


def stricter_rule(stream: bytes) -> str | None:
    """The rule by which the agent refuses a reply that h11 accepts. None: no rule refuses it."""
    heads, rest = _heads(stream)
    chunked = bool(heads) and re.search(rb"(?i)\ntransfer-encoding:", heads[-1]) is not None
    extensions, trailers = _chunks(rest) if chunked else ([], b"")
    for rule, found in _STRICTER.items():
        if any(map(found.search, (*heads, trailers))):
            return rule
    rules = {
        # RFC 9112 §6.3: two declarations of the framing may be an attempt to smuggle a reply.
        "framing declared twice": bool(heads) and len(_FRAMING.findall(heads[-1])) > 1,
        # llhttp reads "chunked " as an unknown coding.
        "blank after the coding": bool(heads) and _BLANK_AFTER.search(heads[-1]) is not None,
        # h11 accepts each version 1.x of an interim reply, and each digit. The agent knows two versions.
        "other version": any(_VERSION.match(head) is None for head in heads),
        # After "close" no message may follow, and llhttp reads none (RFC 9112 §9.6). Version 1.0 implies it.
        "interim reply that closes": any(map(_CLOSES.search, heads[:-1])),
        # h11 accepts any character in an extension, llhttp only the grammar of RFC 9112 §7.1.1.
        "chunk extension": any(extension not in EXTENSIONS for extension in extensions),
        # RFC 9110 §6.5.1: a trailer must not declare framing.
        "framing in a trailer": _FRAMING.search(trailers) is not None,
    }
    return next((rule for rule, applies in rules.items() if applies), None)


def _readable(stream: bytes) -> bytes:
    """The stream without line ends before a message and without reason phrases, which llhttp skips."""
    heads, rest = _heads(stream)
    return b"".join(_REASON.sub(rb"\1", head, count=1) for head in heads) + rest


def reference(stream: bytes, closes: bool, limit: int = LIMIT) -> Outcome:
    """The reply that h11 reads, with the limits of the agent. `limit`: the largest body in bytes."""
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
                within = len(body) <= limit and int(headers.get(b"content-length", "0")) <= limit
                return (status, body, headers.get(b"retry-after"), headers.get(b"date")) if within else None
            else:
                return None
    except h11.RemoteProtocolError:
        return None
