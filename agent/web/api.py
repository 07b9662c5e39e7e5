"""The API for programs: /api/requests, /api/requests/{name}, /api/replicas, /api/openapi.json.

It is read-only, and needs the bearer API_TOKEN.

Without an API_TOKEN there is no API: everything below /api is 404. Errors are problem documents (RFC 9457).
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from agent.core.errors import StoreAway, StoreError
from agent.store.read_results import Page
from agent.store.reading.reading import Reading
from agent.views.resource import request_status_json
from agent.web.auth import has_token
from agent.web.filters import InvalidQueryError, read_filter, refuse_unknown
from agent.web.read_pool import ReadPool

_MAX_PAGE_SIZE = 500
_DEFAULT_PAGE_SIZE = 100
_LIST_PARAMETERS = ("label", "phase", "outcome", "reason", "cursor", "limit")
_CURSOR = re.compile(r"[0-9a-f]{24}")  # a uid

Endpoint = Callable[[Request], Awaitable[Response]]


class HttpProblem(Exception):
    """An error of a request, answered as a problem document."""

    def __init__(self, code: int, title: str, detail: str) -> None:
        super().__init__(title)
        self.code, self.title, self.detail = code, title, detail


class Api:
    """The routes below /api."""

    def __init__(self, token: str, source: str, read_pool: ReadPool, epoch: str = "") -> None:
        """`epoch` is the life of this replica on a database."""
        self._token = token
        self._epoch = epoch
        self._source = source
        self._read_pool = read_pool

    def routes(self) -> list[BaseRoute]:
        """One mount, so that every path below it is 404 or 401 in the same way."""
        return [
            Mount(
                "/api",
                routes=[
                    Route("/openapi.json", self._guarded(self._description)),
                    Route("/requests", self._guarded(self._list)),
                    Route("/requests/{name}", self._guarded(self._one)),
                    Route("/replicas", self._guarded(self._replicas)),
                    Route("/{rest:path}", self._guarded(_nothing)),
                ],
            ),
            Route("/api", self._guarded(_nothing)),
        ]

    def _guarded(self, endpoint: Endpoint) -> "_Guarded":
        return _Guarded(endpoint, self._token)

    async def _description(self, _: Request) -> Response:
        from agent.web.openapi import openapi  # imported late: its models serve only this description

        return _json(openapi())

    async def _list(self, request: Request) -> Response:
        query = request.query_params
        refuse_unknown(query, _LIST_PARAMETERS)
        wanted, (cursor, limit) = read_filter(query), _page_bounds(query)
        page: Page = await self._read_pool(lambda browsing: browsing.page(wanted, limit, after=cursor))
        return _json({"items": [request_status_json(record) for record in page.records], "cursor": page.after})

    async def _replicas(self, request: Request) -> Response:
        refuse_unknown(request.query_params, ())
        living = await self._read_pool(lambda browsing: browsing.processes())
        items = [one.to_json() | {"answers": one.epoch == self._epoch} for one in living if one.kind == "replica"]
        return _json({"items": items})

    async def _one(self, request: Request) -> Response:
        refuse_unknown(request.query_params, ())
        name = request.path_params["name"]

        def found(browsing: Reading) -> dict[str, Any] | None:
            records = browsing.find(name)
            ours = [record for record in records if record.source == self._source] or records
            return {**request_status_json(ours[0]), "link": browsing.link(ours[0].uid)} if ours else None

        item = await self._read_pool(found)
        if item is None:
            raise HttpProblem(404, "Unknown request", "There is no request of this name.")
        return _json(item)


class _Guarded:
    """An endpoint behind the token. It is an ASGI application, so that it receives every method."""

    def __init__(self, endpoint: Endpoint, token: str) -> None:
        self._endpoint = endpoint
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._answer(Request(scope, receive))
        except HttpProblem as problem:
            response = _problem(problem)
        except InvalidQueryError as invalid:
            response = _problem(HttpProblem(400, invalid.title, invalid.detail))
        except StoreAway:
            detail = "The agent continues automatically when it does."
            response = _problem(HttpProblem(503, "The database does not answer", detail))
        except StoreError:
            response = _problem(HttpProblem(503, "The database is busy", "Try again in a few seconds."))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        if not self._token:
            raise HttpProblem(404, "Not found", "This path does not exist.")
        if not has_token(request, self._token):
            raise HttpProblem(401, "Not authorized", "Send `Authorization: Bearer` and the API_TOKEN of the agent.")
        if request.method not in ("GET", "HEAD"):
            raise HttpProblem(405, "Method not allowed", "This API is read-only.")
        return await self._endpoint(request)


async def not_found(_: Request, __: Exception) -> Response:
    """The handler of 404."""
    return _problem(HttpProblem(404, "Not found", "This path does not exist."))


async def _nothing(_: Request) -> Response:
    raise HttpProblem(404, "Not found", "This path does not exist.")


def _page_bounds(query: QueryParams) -> tuple[str, int]:
    """The cursor and the limit. Raises InvalidQueryError."""
    cursor = query.get("cursor", "")
    if "cursor" in query and _CURSOR.fullmatch(cursor) is None:
        raise InvalidQueryError("Invalid cursor", "Expected the cursor of the page before.")
    text = query.get("limit", str(_DEFAULT_PAGE_SIZE))
    if re.fullmatch(r"[0-9]{1,3}", text) is None or not 1 <= int(text) <= _MAX_PAGE_SIZE:
        raise InvalidQueryError("Invalid limit", f"Expected a number from 1 to {_MAX_PAGE_SIZE}.")
    return cursor, int(text)


_PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def _json(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json", headers=_PRIVATE)


def _problem(problem: HttpProblem) -> Response:
    body = {"type": "about:blank", "title": problem.title, "status": problem.code, "detail": problem.detail}
    headers = dict(_PRIVATE)
    if problem.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="assure-agent"'
    if problem.code == 405:
        headers["Allow"] = "GET, HEAD"
    return Response(orjson.dumps(body), problem.code, headers, "application/problem+json")
