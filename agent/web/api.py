"""The API for programs: /api/requests, /api/requests/{name}, /api/openapi.json. Read-only, with the bearer API_TOKEN.

Without an API_TOKEN there is no API: everything below /api is 404. Errors are problem documents (RFC 9457).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from agent.core.errors import StoreError
from agent.core.record import Phase
from agent.store.pages import Browsing, Page
from agent.views.resource import status
from agent.web.auth import has_token
from agent.web.openapi import description
from agent.web.read_pool import Looks

_MOST = 500
_USUAL = 100
_CURSOR = re.compile(r"[0-9a-f]{24}")  # a uid

Endpoint = Callable[[Request], Awaitable[Response]]


class Problem(Exception):
    """What is wrong with a request, for its sender."""

    def __init__(self, code: int, title: str, detail: str) -> None:
        super().__init__(title)
        self.code, self.title, self.detail = code, title, detail


class Api:
    """The routes below /api."""

    def __init__(self, token: str, source: str, looks: Looks) -> None:
        self._token = token
        self._source = source
        self._looks = looks

    def routes(self) -> list[BaseRoute]:
        """One mount, so that whatever is below it is 404 or 401 alike."""
        return [
            Mount(
                "/api",
                routes=[
                    Route("/openapi.json", self._guarded(self._description)),
                    Route("/requests", self._guarded(self._list)),
                    Route("/requests/{name}", self._guarded(self._one)),
                    Route("/{rest:path}", self._guarded(_nothing)),
                ],
            ),
            Route("/api", self._guarded(_nothing)),
        ]

    def _guarded(self, endpoint: Endpoint) -> "_Guarded":
        return _Guarded(endpoint, self._token)

    async def _description(self, _: Request) -> Response:
        return _json(description())

    async def _list(self, request: Request) -> Response:
        labels, phase, after, limit = _asked(request)
        page: Page = await self._looks(lambda browsing: browsing.page(labels, phase, after, limit))
        return _json({"items": [status(record) for record in page.records], "cursor": page.cursor})

    async def _one(self, request: Request) -> Response:
        _only(request, ())
        name = request.path_params["name"]

        def found(browsing: Browsing) -> dict[str, Any] | None:
            records = browsing.named(name)
            ours = [record for record in records if record.source == self._source] or records
            return {**status(ours[0]), "link": browsing.link(ours[0].uid)} if ours else None

        told = await self._looks(found)
        if told is None:
            raise Problem(404, "No such request", "There is no request of this name.")
        return _json(told)


class _Guarded:
    """An endpoint behind the token. An application and no function, so that every method comes here."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self._endpoint = endpoint
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
        except Problem as problem:
            response = _problem(problem)
        except StoreError:
            response = _problem(Problem(503, "Not now", "The store cannot be read at the moment."))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._token:
            raise Problem(404, "Not found", "There is nothing here.")
        if not has_token(request, self._token):
            raise Problem(401, "Not authorized", "Send `Authorization: Bearer` and the API_TOKEN of the agent.")
        if request.method not in ("GET", "HEAD"):
            raise Problem(405, "Method not allowed", "This API is read-only.")
        return await self._endpoint(request)


async def nothing_here(_: Request, __: Exception) -> Response:
    """The answer to a path that no route knows, as a handler of 404."""
    return _problem(Problem(404, "Not found", "There is nothing here."))


async def _nothing(_: Request) -> Response:
    raise Problem(404, "Not found", "There is nothing here.")


def _asked(request: Request) -> tuple[list[tuple[str, str]], Phase | None, str, int]:
    """Labels, phase, cursor and limit. Raises Problem."""
    _only(request, ("label", "phase", "cursor", "limit"))
    query = request.query_params
    labels = []
    for label in query.getlist("label"):
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise Problem(400, "Bad label", "Expected label=KEY=VALUE.")
        labels.append((key, value))
    if len(labels) > 16:
        raise Problem(400, "Too many labels", "A request has 16 labels at most.")
    try:
        phase = Phase(query["phase"]) if "phase" in query else None
    except ValueError:
        raise Problem(400, "Bad phase", f"Expected one of {', '.join(Phase)}.") from None
    cursor = query.get("cursor", "")
    if "cursor" in query and _CURSOR.fullmatch(cursor) is None:
        raise Problem(400, "Bad cursor", "Expected the cursor of the page before.")
    text = query.get("limit", str(_USUAL))
    if re.fullmatch(r"[0-9]{1,3}", text) is None or not 1 <= int(text) <= _MOST:
        raise Problem(400, "Bad limit", f"Expected a number from 1 to {_MOST}.")
    return labels, phase, cursor, int(text)


def _only(request: Request, known: tuple[str, ...]) -> None:
    """A parameter that is mistyped must not look like one that was heeded. Raises Problem."""
    for name in request.query_params:
        if name not in known:
            raise Problem(400, "Unknown parameter", f"Expected {', '.join(known) or 'no parameter'}.")
        if name != "label" and len(request.query_params.getlist(name)) > 1:
            raise Problem(400, "Repeated parameter", "Only label may be given more than once.")


_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers=_PRIVATE)


def _problem(problem: Problem) -> Response:
    body = {"type": "about:blank", "title": problem.title, "status": problem.code, "detail": problem.detail}
    headers = dict(_PRIVATE)
    if problem.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="assure-agent"'
    if problem.code == 405:
        headers["Allow"] = "GET, HEAD"
    return Response(orjson.dumps(body), problem.code, headers, "application/problem+json")
