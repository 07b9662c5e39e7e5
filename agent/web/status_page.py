"""The status page: /, /requests/{uid} and their assets. It is read-only and rendered by the server.

Its only personal data are names and labels of requests, the signers of commits and, under /refused, names of refused
files. It shows no capture link. All text is escaped, and the content security policy allows only the page's own files.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agent import __version__
from agent.core.errors import StoreAway, StoreError
from agent.core.timestamps import format_timestamp
from agent.platform.log import logger
from agent.store.reading.reading import Reading
from agent.web.agent_status import AgentStatus, StatusSnapshot
from agent.web.api import not_found
from agent.web.auth import from_this_machine, may_view_page
from agent.web.filters import InvalidQueryError
from agent.web.list_page import ListQuery, refusals, refused_page, request_list
from agent.web.overview_page import overview
from agent.web.read_pool import ReadPool
from agent.web.request_page import request_page
from agent.web.sessions import Sessions
from agent.web.summaries import short_duration, with_full_stop

if TYPE_CHECKING:
    from jinja2 import Environment

_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_ALLOWED_SOURCES = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_HEADERS = {
    "Content-Security-Policy": "; ".join(f"{directive} {source}" for directive, source in _ALLOWED_SOURCES.items()),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PRIVATE = {**_HEADERS, "Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]
Gather = Callable[[Reading, StatusSnapshot], dict[str, Any] | None]


@cache
def _templates() -> "Environment":
    import jinja2  # imported late: most agents show no page

    found = jinja2.Environment(
        loader=jinja2.PackageLoader("agent.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["coded"] = _coded
    return found


class StatusPage:
    """The routes of the page."""

    def __init__(self, token: str, status: AgentStatus, read_pool: ReadPool, sessions: Sessions) -> None:
        self._token = token
        self._sessions = sessions
        self._status = status
        self._read_pool = read_pool
        folder = resources.files("agent.web") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        self._asset_version = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:12]

    def routes(self) -> list[BaseRoute]:
        """The page needs the token or a session; style, script and icon are open."""
        return [
            Route("/login", self._login),
            Route("/", self._guarded(self._overview)),
            Route("/refused", self._guarded(self._refusals)),
            Route("/requests/{uid}", self._guarded(self._request)),
            Route("/assets/{name}", self._asset),
        ]

    async def unknown(self, request: Request, error: Exception) -> Response:
        """The answer to an unknown path: a page for a browser, and a problem document for a program."""
        if "text/html" not in request.headers.get("accept", ""):
            return await not_found(request, error)
        return self._error_page(request, 404, "Not found", "This page does not exist.")

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not may_view_page(request, self._token, self._sessions.includes):
                return self._refused(request)
            try:
                return await endpoint(request)
            except InvalidQueryError as invalid:
                return self._error_page(request, 400, invalid.title, invalid.detail)
            except StoreAway:
                says = "The agent continues automatically when it does."
                return self._error_page(request, 503, "The database does not answer", says)
            except StoreError:
                return self._error_page(request, 503, "The database is busy", "Try again in a few seconds.")
            except Exception as error:  # a bug; its text may contain personal data
                logger().error("the status page failed", error=type(error).__name__, hint="report this bug")
                says = "This is a bug in the page. The agent itself continues to work."
                return self._error_page(request, 500, "The page failed", says)

        return guarded

    async def _login(self, request: Request) -> Response:
        """Begin a session, and redirect to the page without the code of the link. A HEAD does not consume the link."""
        if not from_this_machine(request):
            return self._refused(request)
        onward = Response(status_code=303, headers={**_PRIVATE, "Location": "./"})
        begun = request.method == "HEAD" or self._sessions.begin(request, onward)
        if not begun and not self._sessions.includes(request):
            says = "Each link works once, within ten minutes. Run `assure-agent page` for a new link."
            return self._error_page(request, 403, "This link was used or has expired", says)
        return onward

    async def _overview(self, request: Request) -> Response:
        asked = ListQuery(request.query_params)
        if not asked.pairs:
            return await self._respond(request, "overview.html", overview)
        shown = {"query": asked.search, "hidden": asked.hidden}
        return await self._respond(request, "list.html", lambda it, seen: request_list(it, seen, asked), **shown)

    async def _refusals(self, request: Request) -> Response:
        number = refused_page(request.query_params)
        return await self._respond(request, "refusals.html", lambda it, _: refusals(it, number))

    async def _request(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        return await self._respond(request, "request.html", lambda it, seen: request_page(it, seen, uid))

    async def _respond(self, request: Request, template: str, gather: Gather, **more: Any) -> Response:
        """Gather and render, on a thread of the read pool."""
        self._read_pool.refuse_away()
        seen = await self._status.snapshot()
        more = {"query": "", "hidden": (), "base": _base(request), **more}

        def drawn(browsing: Reading) -> str | None:
            content = gather(browsing, seen)
            return None if content is None else self._render(template, seen.now, **more, **content)

        text = await self._read_pool(drawn)
        if text is None:
            says = "The request is unknown, or its name was erased. The front page lists all requests."
            return self._error_page(request, 404, "Unknown request", says)
        return Response(text, media_type="text/html", headers=_PRIVATE)

    def _render(self, template: str, now: float, **content: Any) -> str:
        return (
            _templates()
            .get_template(template)
            .render(
                **content,
                mark=self._asset_version,
                source=self._status.source,
                version=__version__,
                now=now,
                time=lambda at: _time(at, now),
                whole=_full_time,
                ended=with_full_stop,
                number=lambda count: f"{count:,}",
            )
        )

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._assets:
            return self._error_page(request, 404, "Not found", "This page does not exist.")
        headers = {**_HEADERS, "Cache-Control": "public, max-age=3600"}
        return Response(self._assets[name], media_type=_ASSETS[name], headers=headers)

    def _refused(self, request: Request) -> Response:
        """How to get access, for a request that has none."""
        if from_this_machine(request):
            says = "Run `assure-agent page` on this machine and open the link that it prints."
            title = "Open this page with a link"
        else:
            says = (
                "Without the token, only the agent's own machine can open this page, under a name such as localhost "
                "and without a proxy."
            )
            title = "This page needs the token"
        if not self._token:
            says += " Or set ASSURE_AGENT_API_TOKEN: then everyone with the token can open this page."
            return self._error_page(request, 403, title, says)
        says += " Or enter the API_TOKEN of the agent as the password, with any user name."
        refused = self._error_page(request, 401, title, says)
        refused.headers["WWW-Authenticate"] = 'Basic realm="assure-agent", charset="UTF-8"'
        return refused

    def _error_page(self, request: Request, code: int, title: str, says: str) -> Response:
        onward = "Status overview" if code in (400, 404) else "Try again"
        text = (
            _templates()
            .get_template("error.html")
            .render(title=title, says=says, onward=onward, mark=self._asset_version, base=_base(request))
        )
        return Response(text, code, media_type="text/html", headers=_PRIVATE)


def _base(request: Request) -> str:
    """The relative URL of the front page, so that links also work behind a proxy that adds a path prefix."""
    return "../" * (request.url.path.count("/") - 1) or "./"


def _time(at: float, now: float) -> Markup:
    """A relative time. The absolute time is in the title and in `datetime`."""
    seconds = now - at
    glance = (
        "now"
        if abs(seconds) < 1
        else f"{short_duration(abs(seconds))} ago"
        if seconds > 0
        else f"in {short_duration(-seconds)}"
    )
    return Markup('<time datetime="{}" title="{}">{}</time>').format(format_timestamp(at), _full_time(at), glance)


def _coded(text: str) -> Markup:
    """The text, with each part between backticks as code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def _full_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
