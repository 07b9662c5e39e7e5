"""The values of an exchange: its origin, its body, its timeouts, its reply, and the four failures.

The difference between "not sent" and "perhaps acted on" decides if a verification is billed twice (design §5):

    Unsent     no byte of the request was written
    Silent     the request was written, at least in part, and no complete reply arrived in time
    Broken     the request was written, at least in part, and no complete reply can arrive
    Oversized  the request was written, at least in part, and its reply exceeds a limit
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, Self
from urllib.parse import quote, urlsplit

MAX_HEAD_BYTES: Final = 64 * 1024  # bytes of an answer that are not body, interim answers included
MAX_INTERIM_RESPONSES: Final = 32
SEND_RATE: Final = 64_000  # bytes a second: the lowest rate at which an upload counts as alive (design §8)

_TARGET: Final = re.compile(r"[!-~]+")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


class ExchangeError(Exception):
    """A request without a complete reply. `cause` is a code such as refused, tls-handshake, timeout.

    `status` is that of the reply, if the final head of the reply was complete, otherwise 0.
    """

    def __init__(self, cause: str, status: int = 0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.status = status


class Unsent(ExchangeError):
    """No byte of the request was written. The request can be sent again."""


class Untimely(Unsent):
    """The caller may no longer send the request: the connection was ready too late."""


class Silent(ExchangeError):
    """The request was written, at least in part, and no complete reply arrived in time."""


class Broken(ExchangeError):
    """The request was written, at least in part, and no complete reply can arrive."""


class Oversized(ExchangeError):
    """The head or the body of the reply exceeds its limit."""


@dataclass(slots=True)  # not frozen: that would double the cost of making one
class Reply:
    """A complete reply. Header values are unchanged. The repr hides the body [I6]."""

    status: int
    body: bytes = field(default=b"", repr=False)
    retry_after: str | None = None
    date: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits of an exchange in seconds."""

    connect: float = 10.0  # the wait for a free connection, DNS, TCP and the proxy's answer
    tls: float = 10.0  # the TLS handshake
    send: float = 10.0  # the request, in addition to size / SEND_RATE
    read: float = 30.0  # silence after the last byte sent or received; also the reply, after the limit of `send`


@dataclass(frozen=True, slots=True)
class Origin:
    """A server. `host` is a name or an address without brackets."""

    host: str
    port: int
    secure: bool

    @classmethod
    def of(cls, url: str) -> Self:
        """The origin of an http or https URL. Raises ValueError for any other URL."""
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError("expected an http or https URL with a host")
        host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode("ascii")
        return cls(host, parts.port or _DEFAULT_PORTS[parts.scheme], parts.scheme == "https")

    @property
    def host_header(self) -> str:
        """The value of `Host`: without the port if it is that of the scheme."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == _DEFAULT_PORTS["https" if self.secure else "http"] else f"{name}:{self.port}"

    @property
    def authority(self) -> str:
        """Host and port, as CONNECT names them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Pieces:
    """A body that is produced while it is sent. `length` is the sum of the lengths of the pieces.

    Each call of `produce` begins from the start, so that a request can be sent again. The repr hides the body [I6].
    """

    length: int
    produce: Callable[[], Iterable[bytes]] = field(repr=False)


Body = bytes | Pieces


class Transport(Protocol):
    """Sends a request at most once, and reads the complete reply."""

    async def send(self, origin: Origin, method: str, target: str, fields: bytes, body: Body, limit: int) -> Reply:
        """`fields` are the lines of the header, see `header_lines`. `limit` is the largest body in bytes.

        Raises ExchangeError.
        """

    async def aclose(self) -> None:
        """Close all connections. Exchanges in flight end as Broken, later ones as Unsent."""


def header_lines(origin: Origin, headers: dict[str, str]) -> bytes:
    """The lines of a request's header: Host, and `headers`. Raises ValueError for characters that end a line."""
    lines = {"Host": origin.host_header, **headers}
    if not all(text.isascii() and text.isprintable() for line in lines.items() for text in line):
        raise ValueError("a header contains a character that is not allowed")
    return "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode("ascii")


def request_head(method: str, target: str, fields: bytes, length: int) -> bytes:
    """The head of a request. Raises ValueError for a target that is not printable ASCII without spaces."""
    if _TARGET.fullmatch(target) is None:
        raise ValueError("the target of a request contains a character that is not allowed")
    line = f"{method} {target} HTTP/1.1\r\n".encode("ascii") + fields
    if length or method in ("POST", "PUT"):
        return b"%bContent-Length: %d\r\n\r\n" % (line, length)
    return line + b"\r\n"


def path_of(url: str) -> str:
    """The path and the query of a URL, quoted for a request line."""
    parts = urlsplit(url)
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{path}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else path
