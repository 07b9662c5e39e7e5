"""A code for each cause of a failed connection, for logs, commands and the audit log."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def connection_error_code(error: BaseException) -> str:
    """The code: refused, dns, network, timeout, reset, or tls- with a reason, such as tls-certificate-has-expired."""
    codes = [word for one in _chain(error) if (word := _code(one))]
    return codes[-1] if codes else "reset"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and its causes."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__


def _code(error: BaseException) -> str:
    match error:
        case ssl.SSLError() if isinstance(message := getattr(error, "verify_message", None), str):
            return "tls-" + _slug(message.partition(",")[0])  # the text after the comma names the host
        case ssl.SSLError() if isinstance(reason := getattr(error, "reason", None), str):
            return "tls-" + _slug(reason)
        case ssl.SSLError():
            return "tls-handshake"
        case socket.gaierror():
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
