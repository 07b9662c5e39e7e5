"""The pages of the capture flow: Jinja2 templates beside this file, and the headers that guard them.

Nothing comes from elsewhere, nothing inline runs, and nobody may frame them. The stylesheet and the script are files of
the package (`assets`); without the script everything works but the camera inside the page and the preview.
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
    """The page of that name. `back_to`: where its form may lead in the end, besides here."""
    content = _TEMPLATES.get_template(f"{name}.html").render(assets=ASSETS, **values)
    # Browsers hold a redirect after a form to form-action too, so the way back must be in it.
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' blob:; "
        f"form-action 'self' {_source(back_to)}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Response(content, status, headers, media_type="text/html")


def _source(url: str) -> str:
    """The URL's origin as a policy names it; only its scheme for an IPv6 address, which a policy cannot name."""
    parts = urlsplit(url)
    return f"{parts.scheme}:" if "[" in parts.netloc else f"{parts.scheme}://{parts.netloc}" if url else ""
