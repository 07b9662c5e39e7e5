"""Why no connection was made, in a token-shaped word: shown in logs, by commands and in the history of a request."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import aiohttp

_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def cause_of(error: BaseException) -> str:
    """refused, dns, network, timeout, reset, or tls- and the reason, such as tls-certificate-has-expired."""
    words = [word for one in _chain(error) if (word := _word(one))]
    return words[-1] if words else "reset"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes: aiohttp keeps those of a connector in attributes of their own."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        error = inner or error.__cause__


def _word(error: BaseException) -> str:
    match error:
        case ssl.SSLError() if isinstance(message := getattr(error, "verify_message", None), str):
            return "tls-" + _slug(message.partition(",")[0])  # after a comma it names the host
        case ssl.SSLError() if isinstance(reason := getattr(error, "reason", None), str):
            return "tls-" + _slug(reason)
        case ssl.SSLError():
            return "tls-handshake"
        case aiohttp.ServerFingerprintMismatch():
            return "tls-fingerprint"
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            return "dns"
        case ConnectionRefusedError():
            return "refused"
        case TimeoutError():
            return "timeout"
        case OSError() if error.errno in _NO_ROUTE:
            return "network"
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]
