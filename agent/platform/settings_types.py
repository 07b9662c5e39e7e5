"""Parse and check the values of settings: durations, sizes, lists, paths, URLs, keys."""

import base64
import ipaddress
import pwd
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from agent.core.duration import parse_duration

_UNITS = {"": 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "kB": 1000, "MB": 1000**2}


def _seconds(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


def _bytes(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)\s*([A-Za-z]*)", value.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError("expected a size such as 10MiB")
    return int(match[1]) * _UNITS[match[2]]


def similar_size(text: str) -> str | None:
    """The size that `10mb` or `10 megabytes` probably mean. None for any other text."""
    match = re.fullmatch(r"(\d+)\s*([kmg])(i?)b?(ytes)?|(\d+)\s*(kilo|mega|giga)bytes?", text.strip(), re.IGNORECASE)
    if match is None:
        return None
    number, letter = match[1] or match[5], (match[2] or match[6][0]).upper()
    return f"{number}{letter}iB" if match[3] or letter == "G" else f"{number}{letter.replace('K', 'k')}B"


def secrets_of(value: SecretStr) -> tuple[str, ...]:
    """The comma-separated secrets of a setting. There are several during a rotation."""
    return tuple(secret for part in value.get_secret_value().split(",") if (secret := part.strip()))


def split_list(value: Any) -> Any:
    """The parts of a comma-separated list."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


def _not_blank(value: Any) -> Any:
    """The value, unless it is empty: an empty path would be the working directory."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("expected a value; leave it out for the default")
    return value


def _home(value: Any) -> Any:
    """The path, with `~` expanded to the home folder of the user."""
    written = _not_blank(value)
    return str(Path(written).expanduser()) if isinstance(written, str) and written.startswith("~") else written


def optional(value: Any) -> Any:
    """The path, or None for an empty value."""
    return None if isinstance(value, str) and not value.strip() else _home(value)


def _positive(what: str) -> Callable[[Any], Any]:
    """A check that the value is above 0."""

    def check(value: Any) -> Any:
        if not value > 0:
            raise ValueError(f"expected {what}")
        return value

    return check


def matching(pattern: str, meaning: str) -> Callable[[str], str]:
    """A check that the text has this pattern."""

    def check(value: str) -> str:
        if re.fullmatch(pattern, value) is None:
            raise ValueError(f"expected {meaning}")
        return value

    return check


def uid_of(user: str) -> int:
    """The uid of a user, given by name or uid. Raises ValueError for an unknown name."""
    if user.isascii() and user.isdecimal():
        return int(user)
    try:
        return pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        raise ValueError(f"expected users or uids of this system; {user!r} is unknown") from None


GivenPath = Annotated[Path, BeforeValidator(_home)]
GivenText = Annotated[str, BeforeValidator(_not_blank)]
Seconds = Annotated[float, BeforeValidator(_seconds), AfterValidator(_positive("a duration above 0, such as 10s"))]
Bytes = Annotated[int, BeforeValidator(_bytes), AfterValidator(_positive("a size above 0, such as 10MiB"))]


def printable(text: str) -> str:
    """The text, with a question mark for each character that cannot be encoded."""
    return text.encode(errors="replace").decode()


_INVISIBLE = ("Cc", "Cf", "Zl", "Zp", "Cs")


def strip_invisible(text: str) -> str:
    """The text without invisible characters at its ends. Raises ValueError for an invisible character inside."""
    text = _strip_ends(text)
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":
            raise ValueError("expected text in UTF-8")
        if category in _INVISIBLE:
            raise ValueError(f"expected text without invisible characters; found U+{ord(character):04X}")
    return text


def _strip_ends(text: str) -> str:
    seen = [n for n, one in enumerate(text) if not (one.isspace() or unicodedata.category(one) in _INVISIBLE[:-1])]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def unquoted(text: str) -> str:
    """The text without surrounding quotes."""
    bare = text.strip()
    return bare[1:-1] if len(bare) > 1 and bare[0] == bare[-1] and bare[0] in "\"'" else text


_URL = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")  # RFC 3986
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")


def loopback(host: str) -> bool:
    """True for `localhost` and loopback addresses."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def checked_url(value: str, example: str, query: bool = False) -> str:
    """The URL, if secrets may be sent to it. Raises ValueError for an invalid or unencrypted URL."""
    expected = f"expected a URL such as {example}"
    valid_url_characters(value, expected)
    parts = split_url(value, expected)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment or (parts.query and not query):
        raise ValueError(expected)
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without user info")
    if parts.scheme == "http" and not loopback(parts.hostname):
        raise ValueError("expected https; plain http is allowed on loopback only")
    return value


def valid_url_characters(value: str, expected: str) -> None:
    """Raise ValueError for a character that no URL contains."""
    if odd := next((one for one in value if _URL.fullmatch(one) is None), None):
        raise ValueError(f"{expected}; it contains the invalid character U+{ord(odd):04X}")


def split_url(value: str, expected: str) -> SplitResult:
    """The parts of a URL. Raises ValueError if its host or port is invalid."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValueError(f"{expected}; its host is invalid") from None
    host = parts.hostname or ""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0 or parts.netloc.endswith(":"):
        raise ValueError(f"{expected}; the port is a number from 1 to 65535")
    try:
        if ":" in host:
            if (
                ipaddress.IPv6Address(host).scope_id is not None
            ):  # a scope id is free text, which could end like a host name
                raise ValueError  # noqa: TRY301
        elif re.fullmatch(r"[\d.]+", host):
            ipaddress.IPv4Address(host)
        elif host and _HOST.fullmatch(host) is None:
            raise ValueError  # noqa: TRY301 - one message for every invalid host
    except ValueError:
        raise ValueError(f"{expected}; its host is invalid") from None
    return parts


def known_users(users: list[str]) -> list[str]:
    """The users, if each is known. Raises ValueError."""
    for user in users:
        uid_of(user)
    return users


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of HOST:PORT, without the brackets of an IPv6 address."""
    host, _, port = address.rpartition(":")
    if not host or re.fullmatch(r"[0-9]{1,5}", port) is None or int(port) > 65535 or " " in host:
        raise ValueError("expected HOST:PORT, such as 127.0.0.1:9464")
    return host.strip("[]"), int(port)


def _checked_address(address: str) -> str:
    host_and_port(address)
    return address


Address = Annotated[str, AfterValidator(_checked_address)]


def signing_keys(text: str) -> tuple[bytes, ...]:
    """The keys of one signing secret or two comma-separated ones, as receivers of Standard Webhooks parse them.

    `whsec_` is followed by base64, in either alphabet, with or without padding. `v1,` may precede it. Any other secret
    is used as its bytes. Raises ValueError for an invalid secret of that form.
    """
    parts = (part.strip() for part in re.sub(r"\bv1,\s*(?=whsec_)", "", text).split(","))
    return tuple(_signing_key(part) for part in parts if part)


def _signing_key(secret: str) -> bytes:
    if secret.startswith("whsec_"):
        body = secret.removeprefix("whsec_").rstrip("=").translate(str.maketrans("-_", "+/"))
        if not body or re.fullmatch(r"[A-Za-z0-9+/]+", body) is None or len(body) % 4 == 1:
            raise ValueError("expected base64 after whsec_, as the receiver shows the secret")
        return base64.b64decode(body + "=" * (-len(body) % 4))
    if re.match(r"whsec|whsk_|whpk_|v\d+a?$", secret, re.IGNORECASE):
        raise ValueError("expected a secret of the form whsec_..., as the receiver shows it, or any other text")
    return secret.encode()
