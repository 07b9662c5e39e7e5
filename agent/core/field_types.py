"""Types of the text fields in a request file: names, keys, paths, URLs, each with a description of the valid form.

Errors have the type `refused` and carry `message` and `hint` in their context. Neither contains the value [I6].
"""

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

RERUN = "assure-agent/rerun"
RESOLVE = "assure-agent/resolve"
OUR_ANNOTATIONS = (RERUN, RESOLVE)

_DNS = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_LABEL = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_FORBIDDEN_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode: controls, surrogates, line ends
_HOST = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[-A-Za-z0-9]{0,61}[A-Za-z0-9])?"


def field_error(message: str, hint: str) -> PydanticCustomError:
    """A validation error. `message` states the expected form, `hint` the remedy. Neither contains the value."""
    return PydanticCustomError("refused", "{message}", {"message": message, "hint": hint})


@dataclass(frozen=True, slots=True)
class Text:
    """A form of text: a pattern for the whole text, its maximum length, and a description for the user.

    `characters` is the class of the allowed ones, in the notation of `re`; `advice` is the remedy for other faults.
    """

    pattern: str
    max_length: int
    expected: str
    advice: str
    characters: str

    def fits(self, value: str) -> bool:
        """True for a text of this form. The length is checked first, so that no pattern runs over a long text."""
        return len(value) <= self.max_length and re.fullmatch(self.pattern, value) is not None

    def check(self, value: str) -> str:
        """Return the value. Raises PydanticCustomError of type `refused`, which shows at most one character of it."""
        if self.fits(value):
            return value
        if len(value) > self.max_length:
            raise field_error(
                f"expected {self.expected}, at most {self.max_length} characters; found {len(value)}", "shorten it"
            )
        odd = next((one for one in value if re.fullmatch(self.characters, one) is None), None)
        raise field_error(f"expected {self.expected}{_found(odd)}", self.advice)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^{self.pattern}$", "maxLength": self.max_length}


def _found(odd: str | None) -> str:
    if odd is None:
        return ""
    return f"; found {f'`{odd}`' if odd.isprintable() and odd.isascii() and odd != ' ' else f'U+{ord(odd):04X}'}"


def _our_annotation(key: str) -> str:
    if key.startswith("assure-agent/") and key not in OUR_ANNOTATIONS:
        raise field_error(
            "unknown annotation of the agent",
            f"use {' or '.join(OUR_ANNOTATIONS)}, or another prefix than assure-agent/",
        )
    return key


def _image_path(path: str) -> str:
    odd = next((c for c in path if c == "\\" or unicodedata.category(c) in _FORBIDDEN_CATEGORIES), None)
    if odd is not None:
        raise field_error(
            f"expected a path without U+{ord(odd):04X} ({unicodedata.name(odd, 'a control character')})",
            "rename the file, and write its new name",
        )
    if len(path) > 1024 or any(part in ("", ".", "..") for part in path.split("/")):
        raise field_error(
            "expected a path below the images folder: relative, forward slashes, no empty, `.` or `..` parts",
            "write it like customer-4711/front.jpg",
        )
    return path


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _valid_host(host: str) -> bool:
    if ":" in host:
        return ipaddress.ip_address(host).version == 6  # raises ValueError for a malformed address
    return len(host) <= 253 and re.fullmatch(_HOST, host) is not None


def _redirect_url(url: str) -> str:
    advice = "write it like https://shop.example/verified"
    if len(url) > 2048 or not re.fullmatch(r"[!-~]+", url) or "\\" in url:
        raise field_error("expected a URL of printable ASCII, at most 2048 characters", advice)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port  # raises ValueError for a port out of range
        whole = parts.scheme in ("https", "http") and _valid_host(host)
    except ValueError:
        whole = False
    if not whole:
        raise field_error("expected a URL that starts with https:// and names a host", advice)
    if parts.scheme == "http" and not _loopback(host):
        raise field_error("expected https (http is for loopback only)", advice)
    if "@" in parts.netloc or "#" in url:
        raise field_error("expected a URL without user info and without a fragment", advice)
    return url


_ENDS = "begin and end with a letter or digit, and use no other characters"

NAME = Text(
    _DNS,
    253,
    "lower-case letters, digits, `-` and `.` (a DNS-1123 subdomain)",
    "write it like customer-4711",
    "[-a-z0-9.]",
)
Name = Annotated[str, NAME]
Key = Annotated[
    str, Text(f"(?:(?=.{{1,253}}/){_DNS}/)?{_LABEL}", 317, "a key like `team` or `example.com/team`", _ENDS, r"[-\w./]")
]
LabelValue = Annotated[
    str, Text(f"(?:{_LABEL})?", 63, "letters, digits, `-`, `_` and `.`, or nothing", _ENDS, "[-A-Za-z0-9_.]")
]
AnnotationKey = Annotated[Key, AfterValidator(_our_annotation)]
Country = Annotated[
    str,
    Text("[A-Z]{3}", 3, "three capital letters (ISO 3166-1 alpha-3)", "write it like NLD for the Netherlands", "[A-Z]"),
]
Language = Annotated[
    str,
    Text(
        "[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", 35, "a language such as en or pt-BR", "write it like en or pt-BR",
        "[-A-Za-z0-9]",
    ),
]  # fmt: skip
Profile = Annotated[
    str,
    Text(
        "[!-~](?:[ -~]*[!-~])?", 100, "the id of a capture configuration (printable ASCII)",
        "copy the id from the configuration at Assure", "[ -~]",
    ),
]  # fmt: skip
HostName = Annotated[str, Text(_HOST, 253, "a host name", "write it like myapp.app.signicat.com", "[-A-Za-z0-9.]")]
ImagePath = Annotated[str, AfterValidator(_image_path)]
RedirectUrl = Annotated[str, AfterValidator(_redirect_url)]
