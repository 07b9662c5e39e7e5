"""The pages of the capture flow: Jinja2 templates in this folder, and their security headers.

A page loads nothing from other hosts, runs no inline script and cannot be framed. The stylesheet and the script are
files of the package (`assets`). Only the camera inside the page and the preview need the script.
"""

from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import Response

ASSETS = "/sandbox/assets"

_TEMPLATES = Environment(
    loader=PackageLoader("agent.sandbox.capture", "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(name: str, status: int = 200, *, back_to: str = "", **values: Any) -> Response:
    """Render the page of that name. `back_to`: the URL, in addition to this server, to which its form may redirect."""
    content = _TEMPLATES.get_template(f"{name}.html").render(assets=ASSETS, **values)
    # Browsers apply form-action to the redirect after a form as well, so the policy must contain its target.
    policy = (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self' blob:",
        f"form-action 'self' {_source(back_to)}",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
    headers = {
        "content-security-policy": "; ".join(policy),
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Response(content, status, headers, media_type="text/html")


def _source(url: str) -> str:
    """The URL's origin as a policy names it. For an IPv6 address only its scheme, because a policy cannot name it."""
    parts = urlsplit(url)
    return f"{parts.scheme}:" if "[" in parts.netloc else f"{parts.scheme}://{parts.netloc}" if url else ""
