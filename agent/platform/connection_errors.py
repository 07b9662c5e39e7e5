"""A code for each cause of a failed connection, for logs, commands and the audit log.

A proxy has codes of its own: proxy-connect- and the cause if it cannot be reached, and those of `connect_refusal`.
"""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import Final

_UNSPECIFIC: Final = ("network", "reset")  # often of an address family that this machine does not use
_NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def connection_error_code(error: BaseException) -> str:
    """The code: refused, dns, network, timeout, oversized, reset, or tls- and a reason (tls-handshake)."""
    codes = [word for one in _chain(error) if (word := _code(one))]
    return max(reversed(codes), key=is_specific, default="reset")


def connect_refusal(status: int) -> str | None:
    """The code for the status with which a proxy answers CONNECT. None: the tunnel is open."""
    if 200 <= status < 300:
        return None
    if status == 407:
        return "proxy-credentials"
    return "proxy-gateway" if status >= 500 else "proxy-refused"  # 5xx: the proxy does not reach the host


def is_specific(code: str) -> bool:
    """False if the error of another address of the same host is more useful."""
    return code not in _UNSPECIFIC


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes, and the errors of a group."""
    seen: list[BaseException] = []
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        yield one
        seen.append(one)
        waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else []
        below = one.__cause__ or one.__context__  # httpcore raises its errors `from None`
        waiting += [below] if below is not None else []


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
        case _ if getattr(error, "error_status_hint", 0) == 431:  # of h11
            return "oversized"
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60]
