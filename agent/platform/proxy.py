"""The company's proxy: PROXY_URL, its credentials, and the hosts of NO_PROXY that are called without it."""

import ipaddress
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

from agent.platform.settings_types import loopback, split_url

_EXPECTED = "PROXY_URL: expected a URL such as http://user:password@proxy.example:3128"
_ENTRY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is used by CONNECT. The repr hides its credentials."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)  # the value of Proxy-Authorization

    @classmethod
    def of(cls, url: str, password: str = "") -> Self:
        """The proxy of a URL. `password` is that of its user, unless the URL contains one.

        Raises ValueError, whose message contains no part of the URL.
        """
        parts = split_url(url, _EXPECTED)
        if parts.scheme == "https":
            raise ValueError(f"{_EXPECTED}; the agent speaks plain HTTP to the proxy, and TLS to Assure through it")
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError(_EXPECTED)
        if password and parts.password is not None:
            raise ValueError("PROXY_URL contains a password, and PROXY_PASSWORD is set as well; remove one of them")
        if password and not parts.username:
            raise ValueError("PROXY_PASSWORD needs a user in PROXY_URL, such as http://user@proxy.example:3128")
        if parts.username is None:
            return cls(parts.hostname, parts.port or 80)
        pair = f"{unquote(parts.username)}:{password or unquote(parts.password or '')}"
        return cls(parts.hostname, parts.port or 80, "Basic " + b64encode(pair.encode()).decode("ascii"))

    @property
    def url(self) -> str:
        """Scheme, host and port, without the credentials."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def checked_exceptions(entries: list[str]) -> list[str]:
    """The entries of NO_PROXY. Raises ValueError for the first that has another form."""
    for entry in entries:
        if entry != "*" and _network(entry) is None:
            _parts(entry)
    return entries


def is_direct(host: str, port: int, entries: Sequence[str]) -> bool:
    """True if the host is called without the proxy. That is always true for this machine itself.

    `example.com` also matches its subdomains, `.example.com` matches them only. A network such as 10.0.0.0/8 matches
    addresses that a URL names: no name is resolved for it.
    """
    name = host.lower().removesuffix(".")
    return loopback(name) or any(_matches(entry.lower(), name, port) for entry in entries)


def _matches(entry: str, name: str, port: int) -> bool:
    network = _network(entry)
    if entry == "*":
        return True
    if network is not None:
        address = _address(name)
        return address is not None and address.version == network.version and address in network
    known, of_port = _parts(entry)
    if of_port not in (None, port):
        return False
    wanted = _address(known)
    if wanted is not None:
        return wanted == _address(name)
    return name == known or name.endswith(known if known.startswith(".") else f".{known}")


def _parts(entry: str) -> tuple[str, int | None]:
    """Host and port (None: any). Raises ValueError."""
    if (address := _address(entry)) is not None:
        return str(address), None
    found = _ENTRY.fullmatch(entry)
    host = found[1].strip("[]").removesuffix(".") if found is not None else ""
    if found is None or (_address(host) is None and not re.fullmatch(r"\.?[a-z0-9_-]+(\.[a-z0-9_-]+)*", host, re.I)):
        raise ValueError(
            "expected hosts such as login.example or .example, addresses or networks such as 10.0.0.0/8, each with "
            "an optional :PORT, or * for all"
        )
    return host, int(found[2]) if found[2] else None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False) if "/" in entry else None
    except ValueError:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
