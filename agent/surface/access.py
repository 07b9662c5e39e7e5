"""Who may look (design §11): whoever has the token; at the page also who sits at this machine.

"At this machine" is a loopback peer that asked for a loopback name, with no header of a proxy: the name keeps out
pages of others whose names were made to lead here (DNS rebinding), the headers whoever comes through a proxy.
"""

import base64
import binascii
import hmac
import ipaddress

from starlette.requests import Request

from agent.settings import loopback

_PROXIED = ("forwarded", "via", "x-real-ip", "x-forwarded")


def has_token(request: Request, token: str) -> bool:
    """True when the request bears the token: `Authorization: Bearer TOKEN`, in a time that tells nothing of it."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return bool(token) and scheme.lower() == "bearer" and _same(given.strip().encode("latin-1"), token)


def may_look(request: Request, token: str) -> bool:
    """May they see the page? By the token, also as the password of HTTP Basic, which browsers ask for; or from here."""
    return has_token(request, token) or _has_password(request, token) or _from_here(request)


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


def _from_here(request: Request) -> bool:
    if request.client is None or not _loopback_address(request.client.host):
        return False
    if any(name.startswith(_PROXIED) for name in request.headers):
        return False
    hosts = request.headers.getlist("host")
    return len(hosts) == 1 and loopback(_bare(hosts[0]))


def _loopback_address(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _bare(host: str) -> str:
    """The name without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
