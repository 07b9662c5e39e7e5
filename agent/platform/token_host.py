"""The hosts that may receive the client id and secret: those of BASE_URL, its vendor, and TOKEN_HOST."""

import re
from urllib.parse import SplitResult, urlsplit

from agent.core.errors import UntrustedFile

_VENDORS = ("signicat.com",)  # registered domains of one vendor each (contract §1)
_PORTS = {"https": 443, "http": 80}


def foreign_token_host(base_url: str, token_url: str) -> str:
    """The host and port of a token endpoint on another host than BASE_URL; otherwise empty."""
    base, token = urlsplit(base_url), urlsplit(token_url)
    if not token_url or _name(base) == _name(token):
        return ""
    return _place(token)


def _place(token: SplitResult) -> str:
    scheme, host, port = _origin(token)
    return host if port == _PORTS[scheme] else f"{host}:{port}"


def refuse_foreign_token_host(base_url: str, token_url: str, allowed: str, of_file: bool) -> None:
    """Raise UntrustedFile if the token endpoint is on a host that neither BASE_URL nor TOKEN_HOST allows.

    `of_file`: TOKEN_URL comes from a file. Then another port of the same host counts as another host, because another
    user may listen on it.
    """
    base, token = urlsplit(base_url), urlsplit(token_url)
    if not token_url or _origin(base) == _origin(token) or (_name(base) == _name(token) and not of_file):
        return
    place = _place(token)
    allowed = re.sub(r"\.(?=(:\d+)?$)", "", allowed.lower())
    if allowed in (_name(token), place, f"{_name(token)}:{_origin(token)[2]}"):
        return
    both_default = all(_origin(one)[0] == "https" and _origin(one)[2] == _PORTS["https"] for one in (base, token))
    if both_default and any(_within(_name(base), one) and _within(_name(token), one) for one in _VENDORS):
        return
    raise UntrustedFile(
        f"ASSURE_AGENT_TOKEN_URL names {place}, and ASSURE_AGENT_BASE_URL names {_name(base)}: the agent does not send "
        "the client id and secret to another host.",
        f"remove TOKEN_URL, or allow that host with --token-host {place} or ASSURE_AGENT_TOKEN_HOST in the environment",
    )


def _within(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _name(parts: SplitResult) -> str:
    """The host in the form of TOKEN_HOST: an IPv6 address in brackets."""
    name = (parts.hostname or "").lower().removesuffix(".")
    return f"[{name}]" if ":" in name else name


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, _name(parts), parts.port or _PORTS.get(parts.scheme, 0)
