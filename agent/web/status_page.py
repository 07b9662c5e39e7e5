"""The status page: /, /requests/{uid} and what they are drawn with. Read-only; the server renders all of it.

It shows no personal data but the names and labels of requests and, under /refused, the names of refused files; and no
capture link. Everything is escaped, and the policy of the page allows no script, style or picture but our own files.
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agent import __version__
from agent.core.errors import StoreError
from agent.core.timestamps import written
from agent.platform.log import logger
from agent.store.pages import Browsing
from agent.web.agent_status import Seen, Standing
from agent.web.auth import from_this_machine, may_see_page
from agent.web.overview_page import TILES, found, in_state, known_state, overview, refusals
from agent.web.read_pool import Looks
from agent.web.request_page import timeline
from agent.web.sessions import Sessions
from agent.web.summaries import ended, short

_LONGEST = 400  # characters of a search
_ASSETS = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_PRIVATE = {**_HEADERS, "Cache-Control": "no-store"}

Endpoint = Callable[[Request], Awaitable[Response]]
Gather = Callable[[Browsing, Seen], dict[str, Any] | None]


class StatusPage:
    """The routes of the page."""

    def __init__(self, token: str, standing: Standing, looks: Looks, sessions: Sessions) -> None:
        self._token = token
        self._sessions = sessions
        self._standing = standing
        self._looks = looks
        folder = resources.files("agent.web") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        self._mark = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("agent.web"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[BaseRoute]:
        """The page needs the token or a session; style, script and icon are open."""
        return [
            Route("/login", self._login),
            Route("/", self._guarded(self._front)),
            Route("/refused", self._guarded(self._refusals)),
            Route("/requests/{uid}", self._guarded(self._request)),
            Route("/assets/{name}", self._asset),
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not may_see_page(request, self._token, self._sessions.includes):
                return self._refused(request)
            try:
                return await endpoint(request)
            except StoreError:
                return self._sorry(request, 503, "Not now", "The store cannot be read at the moment. Try again.")
            except Exception as error:  # a bug of ours; no trace of it goes to who looks
                logger().error("the page failed", error=type(error).__name__, hint="report it")
                says = "It is a bug in this page; the agent itself goes on."
                return self._sorry(request, 500, "That went wrong", says)

        return guarded

    async def _login(self, request: Request) -> Response:
        """Begin a session, and go on to the page without the code of the link. A HEAD uses no link up."""
        if not from_this_machine(request):
            return self._refused(request)
        onward = Response(status_code=303, headers={**_PRIVATE, "Location": "./"})
        begun = request.method == "HEAD" or self._sessions.begin(request, onward)
        if not begun and not self._sessions.includes(request):
            says = "Each link works once, within ten minutes. Run `assure-agent page` for a new one."
            return self._sorry(request, 403, "This link was used, or is too old", says)
        return onward

    async def _front(self, request: Request) -> Response:
        query = request.query_params.get("q", "").strip()[:_LONGEST]
        state = request.query_params.get("state", "")
        if state and not known_state(state):
            return self._sorry(request, 400, "Unknown state", f"Known states: {', '.join(TILES)}.")
        if not query and not state:
            return await self._drawn(request, "overview.html", overview)

        def gather(browsing: Browsing, seen: Seen) -> dict[str, Any]:
            return found(browsing, seen, query, state) if query else in_state(browsing, seen, state)

        return await self._drawn(request, "found.html", gather, query=query, listed_state=state)

    async def _refusals(self, request: Request) -> Response:
        return await self._drawn(request, "refusals.html", refusals)

    async def _request(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        return await self._drawn(request, "request.html", lambda it, seen: timeline(it, seen, uid))

    async def _drawn(self, request: Request, template: str, gather: Gather, **more: Any) -> Response:
        """Gather and draw, on a thread that is not the loops'."""
        seen = self._standing.seen()
        more = {"query": "", "listed_state": "", "base": _base(request), **more}

        def drawn(browsing: Browsing) -> str | None:
            content = gather(browsing, seen)
            return None if content is None else self._rendered(template, seen.now, **more, **content)

        text = await self._looks(drawn)
        if text is None:
            says = "There is no such request, or its name was erased. The front page has the others."
            return self._sorry(request, 404, "No such request", says)
        return Response(text, media_type="text/html", headers=_PRIVATE)

    def _rendered(self, template: str, now: float, **content: Any) -> str:
        return self._templates.get_template(template).render(
            **content,
            mark=self._mark,
            source=self._standing.source,
            version=__version__,
            now=now,
            time=lambda at: _time(at, now),
            whole=_whole,
            ended=ended,
            number=lambda count: f"{count:,}",
        )

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._assets:
            return self._sorry(request, 404, "Not found", "There is nothing here.")
        headers = {**_HEADERS, "Cache-Control": "public, max-age=3600"}
        return Response(self._assets[name], media_type=_ASSETS[name], headers=headers)

    def _refused(self, request: Request) -> Response:
        """How to get access, for a request that has none."""
        if from_this_machine(request):
            says = "Run `assure-agent page` on this machine and open the link that it prints."
            title = "Open this page with a link"
        else:
            says = (
                "Without the token, this page is served on the agent's own machine only, under a name such as "
                "localhost and through no proxy."
            )
            title = "Not from here"
        if not self._token:
            says += " Or set ASSURE_AGENT_API_TOKEN: with it, the page is served to all who have the token."
            return self._sorry(request, 403, title, says)
        says += " Or give the API_TOKEN of the agent as the password, with any user name."
        refused = self._sorry(request, 401, title, says)
        refused.headers["WWW-Authenticate"] = 'Basic realm="assure-agent", charset="UTF-8"'
        return refused

    def _sorry(self, request: Request, code: int, title: str, says: str) -> Response:
        text = self._templates.get_template("refused.html").render(
            title=title, says=says, mark=self._mark, base=_base(request)
        )
        return Response(text, code, media_type="text/html", headers=_PRIVATE)


def _base(request: Request) -> str:
    """The relative URL of the front page, so that links also work behind a proxy that adds a path prefix."""
    return "../" * (request.url.path.count("/") - 1) or "./"


def _time(at: float, now: float) -> Markup:
    """A time at a glance; the whole of it for programs, and for who points at it."""
    seconds = now - at
    glance = (
        "just now" if abs(seconds) < 1 else f"{short(abs(seconds))} ago" if seconds > 0 else f"in {short(-seconds)}"
    )
    return Markup('<time datetime="{}" title="{}">{}</time>').format(written(at), _whole(at), glance)


def _whole(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
