"""Validation of requests. Pure: each function returns a value or raises AssureError 400 with a sentence."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from agent.sandbox.config import SandboxConfig
from agent.sandbox.model import DEPICTIONS, PROCESS_TYPES, PROVIDER, Image, bad_request

T = TypeVar("T")

PROVIDERS = (
    "onfido",
    "readid",
    "signicatpaper",
    "facetec",
    "webid",
    PROVIDER,
    "signicatvideoid",
    "connect:idmethod",
)
LISTED_PROVIDERS = ("onfido", "signicatpaper", PROVIDER, "signicatvideoid")  # those of document-types
DOSSIER_FIELDS = frozenset({"externalReference"})
PROCESS_FIELDS = frozenset(
    {"provider", "processType", "documentType", "processParameters", "documentCountry", "redact"}
    | {"redactionLevel", "eventTags", "documentId"}
)
VERIFY_FIELDS = frozenset({"facetecEnrollment", "imageDepiction", "rauthorityId", "rAuthorityId"})
IMAGE_FIELDS = frozenset(DEPICTIONS)
FILE_FIELDS = IMAGE_FIELDS | {"processId"}
CAPTURE_FIELDS = frozenset({"providers", "sdk", "redirectUrl", "requestDomain", "captureParameters", "eventTags"})
# `documentId` is not in the schema, but the vendor's own example contains it (contract §10).
CAPTURE_PROVIDER_FIELDS = frozenset(
    {"provider", "processType", "redact", "requestExtraDataFromDrivingLicense", "webid", "documentId"}
)
CAPTURE_PARAMETER_FIELDS = frozenset(
    {"uiProfile", "uiProfileJSON", "uiLanguage", "smsSender", "smsMessage", "defaultCountry"}
)

LONGEST_DOMAIN = 253

_MAGIC = {"image/jpeg": b"\xff\xd8\xff", "image/png": b"\x89PNG\r\n\x1a\n"}
_DATA_URL = re.compile(r"data:([a-z/+.-]+);base64,(.*)", re.DOTALL)
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


def typed(body: Mapping[str, object], name: str, kind: type[T], *, required: bool = False) -> T | None:
    """Read a field of that JSON type, or None when it is absent and optional. A null counts as absent: a choice."""
    value = body.get(name)
    if value is None:
        if required:
            raise bad_request(f"{name} is required.")
        return None
    # In Python a bool is an int. In JSON it is not.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise bad_request(f"{name} is not of the right type.")
    return value


def tags(body: Mapping[str, object]) -> list[str]:
    """Read eventTags, a list of strings. The event returns them in `tags` (contract §6, §11)."""
    return listed(body, "eventTags", str) or []


def listed(body: Mapping[str, object], name: str, kind: type[T]) -> list[T] | None:
    """Read a field that is a list of that JSON type, or None when it is absent."""
    given: list[object] | None = typed(body, name, list)
    if given is None:
        return None
    found = [entry for entry in given if isinstance(entry, kind) and (kind is bool or not isinstance(entry, bool))]
    if len(found) < len(given):
        raise bad_request(f"{name} is not a list of the right type.")
    return found


def images(body: Mapping[str, object], config: SandboxConfig) -> dict[str, Image]:
    """Read the pictures of a body by depiction. A null counts as absent."""
    given = [name for name in DEPICTIONS if body.get(name) is not None]
    return {name: image(name, body[name], config) for name in given}


def request_domain(body: Mapping[str, object]) -> str:
    """Read requestDomain, a host name without scheme and port. Empty when it is absent."""
    domain = typed(body, "requestDomain", str) or ""
    if domain and (len(domain) > LONGEST_DOMAIN or not _DOMAIN.fullmatch(domain)):
        raise bad_request("requestDomain is not a host name.")
    return domain


def process_type(body: Mapping[str, object]) -> str:
    """Read the processType of a PictureID process. The default is documentSelfie (contract §6)."""
    provider = typed(body, "provider", str, required=True)
    if provider not in PROVIDERS:
        raise bad_request("provider is not valid.")
    if provider != PROVIDER:
        raise bad_request(f"This account has no provider but {PROVIDER}.")
    chosen = typed(body, "processType", str) or "documentSelfie"
    if chosen not in PROCESS_TYPES:
        raise bad_request(f"processType is not valid for {PROVIDER}.")
    return chosen


def media_type(content: bytes) -> str | None:
    """Detect the type of a picture by its first bytes: image/jpeg, image/png, or None."""
    return next((name for name, magic in _MAGIC.items() if content.startswith(magic)), None)


def image(name: str, value: object, config: SandboxConfig) -> Image:
    """Decode a picture from its data URL. It must be JPEG or PNG and match its declared type (contract §7)."""
    match = _DATA_URL.fullmatch(value) if isinstance(value, str) else None
    if match is None or match[1] not in _MAGIC:
        raise bad_request(f"{name} is not a data URL of image/jpeg or image/png.")
    try:
        content = base64.b64decode(match[2], validate=True)
    except binascii.Error:
        raise bad_request(f"{name} is not valid base64.") from None
    if media_type(content) != match[1]:
        raise bad_request(f"{name} is not what its media type says.")
    if len(content) > config.max_image_bytes:
        raise bad_request(f"{name} is too large.", config.oversize_status)
    return Image.of(content, match[1])


def redirect_url(body: Mapping[str, object]) -> str:
    """Read an absolute http(s) URL whose host is valid in a header."""
    url = typed(body, "redirectUrl", str, required=True) or ""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise bad_request("redirectUrl is not a URL.") from None
    if (
        parts.scheme not in ("http", "https")
        or not _HOST.fullmatch(parts.netloc)
        or re.search(r"[\x00-\x20\x7f-\uffff]", url)
    ):
        raise bad_request("redirectUrl is not an absolute URL.")
    return url
