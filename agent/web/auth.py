"""Access to LISTEN (design §11): the API needs the token, the status page the token or a local session.

A session begins with a one-time link that `assure-agent page` prints. It is valid only for a peer on this machine,
without proxy headers. The Host must name this machine, which prevents DNS rebinding.
"""

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Callable

from starlette.requests import Request

_PROXIED = (
    "forwarded",
    "via",
    "x-forwarded",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-",
    "x-envoy-",
    "true-client-ip",
    "cf-",
)
_HOST = re.compile(r"(localhost|[0-9.]{7,15}|\[[0-9a-f:.]{2,45}\])(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def has_token(request: Request, token: str) -> bool:
    """True if the request has `Authorization: Bearer TOKEN`. Compares in constant time."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and _same(given.strip().encode("latin-1"), token)


def may_view_page(request: Request, token: str, in_session: Callable[[Request], bool]) -> bool:
    """True with the token (Bearer, or the password of HTTP Basic), or with a local session."""
    if has_token(request, token) or _has_password(request, token):
        return True
    return from_this_machine(request) and in_session(request)


def from_this_machine(request: Request) -> bool:
    """True for a peer on this machine that names this machine as Host and sends no proxy header."""
    bound = _bound(request)
    peer = _address(request.client.host) if request.client is not None else None
    if peer is None or not (peer.is_loopback or peer == bound):
        return False
    if any(name.startswith(_PROXIED) for name in request.headers):
        return False
    hosts = request.headers.getlist("host")
    return len(hosts) == 1 and names_this_machine(hosts[0], bound)


def names_this_machine(host: str, bound: Address | None) -> bool:
    """True if a Host header is localhost, 127.0.0.0/8, [::1], or the bound address.

    Any port is allowed: `ssh -L` and `kubectl port-forward` choose their own.
    """
    match = _HOST.fullmatch(host)
    if match is None or (match[2] is not None and not 0 < int(match[2]) < 65536):
        return False
    name = match[1].lower()
    if name in ("localhost", "[::1]"):
        return True
    try:
        address = ipaddress.IPv6Address(name[1:-1]) if name.startswith("[") else ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return address == bound or (address.version == 4 and address.is_loopback)


def _bound(request: Request) -> Address | None:
    """The local address of the connection."""
    server = request.scope.get("server")
    return _address(server[0]) if server else None


def _address(text: str) -> Address | None:
    """The address. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _has_password(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if not token or scheme.lower() != "basic":
        return False
    try:
        _, _, password = base64.b64decode(given.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return _same(password, token)


def _same(given: bytes, token: str) -> bool:
    return hmac.compare_digest(given, token.encode())
