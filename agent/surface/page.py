"""The status page: /, /requests/{uid} and what they are drawn with. Read-only; the server renders all of it.

It shows no personal data but the names and labels of requests, and no capture link. Everything is escaped, and the
policy of the page allows no script, style or picture but our own files.
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
from agent.clock import written
from agent.core.errors import StoreError
from agent.log import logger
from agent.store.browsing import Browsing
from agent.surface.access import may_look
from agent.surface.lines import short
from agent.surface.looks import Looks
from agent.surface.overview import found, in_state, known_state, overview
from agent.surface.standing import Seen, Standing
from agent.surface.timeline import timeline

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

    def __init__(self, token: str, standing: Standing, looks: Looks) -> None:
        self._token = token
        self._standing = standing
        self._looks = looks
        folder = resources.files("agent.surface") / "assets"
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}
        self._mark = hashlib.sha256(b"".join(self._assets.values())).hexdigest()[:12]
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("agent.surface"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def routes(self) -> list[BaseRoute]:
        """The page for whoever may look; the drawing of it for everybody."""
        return [
            Route("/", self._guarded(self._front)),
            Route("/requests/{uid}", self._guarded(self._request)),
            Route("/assets/{name}", self._asset),
        ]

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            if not may_look(request, self._token):
                return self._refused()
            try:
                return await endpoint(request)
            except StoreError:
                return self._sorry(503, "Not now", "The store cannot be read at the written. Try again.")
            except Exception as error:  # a bug of ours; no trace of it goes to who looks
                logger().error("the page failed", error=type(error).__name__, hint="report it")
                return self._sorry(500, "That went wrong", "It is a bug in this page; the agent itself goes on.")

        return guarded

    async def _front(self, request: Request) -> Response:
        query = request.query_params.get("q", "").strip()[:_LONGEST]
        state = request.query_params.get("state", "")
        if query:
            return await self._drawn("found.html", lambda it, seen: found(it, seen, query), query)
        if known_state(state):
            return await self._drawn("found.html", lambda it, seen: in_state(it, seen, state))
        return await self._drawn("overview.html", overview)

    async def _request(self, request: Request) -> Response:
        uid = request.path_params["uid"]
        return await self._drawn("request.html", lambda it, seen: timeline(it, seen, uid))

    async def _drawn(self, template: str, gather: Gather, query: str = "") -> Response:
        """Gather and draw, on a thread that is not the loops'."""
        seen = self._standing.seen()

        def drawn(browsing: Browsing) -> str | None:
            content = gather(browsing, seen)
            return None if content is None else self._rendered(template, seen.now, query=query, **content)

        text = await self._looks(drawn)
        if text is None:
            return self._sorry(404, "No such request", "There is none, or its name was erased. Look at / for the rest.")
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
            number=lambda count: f"{count:,}",
        )

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._assets:
            return self._sorry(404, "Not found", "There is nothing here.")
        headers = {**_HEADERS, "Cache-Control": "public, max-age=3600"}
        return Response(self._assets[name], media_type=_ASSETS[name], headers=headers)

    def _refused(self) -> Response:
        if not self._token:
            says = (
                "This page is for whoever sits at this machine, under a name such as localhost and through no proxy. "
                "Set ASSURE_AGENT_API_TOKEN to open it to whoever has the token."
            )
            return self._sorry(403, "Not from here", says)
        says = "Give the API_TOKEN of the agent as the password; any user name will do."
        refused = self._sorry(401, "Who are you?", says)
        refused.headers["WWW-Authenticate"] = 'Basic realm="assure-agent", charset="UTF-8"'
        return refused

    def _sorry(self, code: int, title: str, says: str) -> Response:
        text = self._templates.get_template("refused.html").render(title=title, says=says, mark=self._mark)
        return Response(text, code, media_type="text/html", headers=_PRIVATE)


def _time(at: float, now: float) -> Markup:
    """A time at a glance; the whole of it for programs, and for who points at it."""
    seconds = now - at
    glance = (
        "just now" if abs(seconds) < 1 else f"{short(abs(seconds))} ago" if seconds > 0 else f"in {short(-seconds)}"
    )
    return Markup('<time datetime="{}" title="{}">{}</time>').format(written(at), _whole(at), glance)


def _whole(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
