"""The HTTP interface of the world: bearer check, errors (contract §1, §2) and control addresses.

Each operation is one ASGI application. It counts the call, injects faults, authenticates, and then asks the world.
"""

from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from uuid import uuid4

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.sandbox import admin
from agent.sandbox.capture import specimen
from agent.sandbox.capture.pages import ASSETS
from agent.sandbox.events.outbox import Outbox
from agent.sandbox.faults.injection import FaultInjector
from agent.sandbox.faults.rules import Faults, Kind
from agent.sandbox.model import AssureError, Json, Operation, View, stamp
from agent.sandbox.routes import OPERATIONS, PAGES, Act, Call, reply
from agent.sandbox.tokens import OAuthError, Tokens
from agent.sandbox.world import World

# For these operations the vendor's 400 is an ErrorResponse with a timestamp (contract §2).
_STAMPED = frozenset(
    {
        Operation.CREATE_PROCESS,
        Operation.GET_PROCESS,
        Operation.DELETE_PROCESS,
        Operation.GET_ALL_PROCESS,
        Operation.GET_EXTERNAL_ID,
    }
)


def error(method: str, path: str, refusal: AssureError, *, at: float | None = None) -> Response:
    """Build an error body in Assure's shape, with a timestamp when `at` is given (contract §2)."""
    body: Json = {
        "instance": path,
        "method": method,
        "status": refusal.status,
        "type": "base:client-problem" if refusal.status < 500 else "base:server-problem",
        "title": refusal.title,
        "detail": refusal.detail,
        "traceId": uuid4().hex,
    }
    return reply(refusal.status, body if at is None else body | {"timestamp": stamp(at)})


@dataclass(frozen=True, slots=True)
class Services:
    """The services that every operation uses."""

    world: World
    tokens: Tokens
    faults: Faults
    outbox: Outbox
    wire: FaultInjector


class Endpoint:
    """One operation as an ASGI application."""

    def __init__(self, services: Services, operation: Operation, act: Act) -> None:
        self._services = services
        self._operation = operation
        self._act = act

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the request to its end, count it, decide its fault, and answer."""
        desk = self._services
        request = Request(scope, receive)
        content = await request.body()
        desk.world.ledger.called(self._operation)
        trouble = desk.faults.decide(self._operation)
        if trouble.rule and trouble.rule.kind is Kind.REVOKE_TOKEN:
            desk.tokens.revoke(request.headers.get("authorization", ""))

        def act(view: View) -> Response:
            call = Call(request.path_params, request.query_params, request.headers, content, view)
            try:
                self._admit(call)
                return self._act(desk.world, call)
            except AssureError as refusal:
                return fail(refusal)
            except OAuthError as refusal:
                return _oauth(refusal)

        def fail(refusal: AssureError) -> Response:
            stamped = refusal.status == 400 and self._operation in _STAMPED
            response = error(request.method, request.url.path, refusal, at=desk.world.clock() if stamped else None)
            if refusal.status == 401:
                response.headers["www-authenticate"] = "Bearer"
            return response

        await desk.wire.answer(scope, receive, send, trouble, act, fail)

    def _admit(self, call: Call) -> None:
        """Check the bearer token, which every operation of the API requires (contract §0)."""
        self._services.tokens.check(call.headers.get("authorization", ""))


class OpenEndpoint(Endpoint):
    """An operation without a bearer token: the token endpoint and the capture page."""

    def _admit(self, call: Call) -> None:
        """Admit every caller."""


def _oauth(refusal: OAuthError) -> Response:
    response = reply(refusal.status, refusal.body)
    if refusal.status == 401:
        response.headers["www-authenticate"] = 'Basic realm="sandbox"'
    return response


def _token(desk: Services) -> Act:
    """The token endpoint (contract §1)."""

    def issue(_: World, call: Call) -> Response:
        kind, authorization = call.headers.get("content-type", ""), call.headers.get("authorization", "")
        response = reply(200, desk.tokens.issue(authorization, kind, call.content))
        response.headers["cache-control"] = "no-store"
        return response

    return issue


async def _unrouted(request: Request, problem: Exception) -> Response:
    """Answer an unknown path or method in Assure's shape, with the methods that the path allows."""
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    title = "Not Found" if status == 404 else "Method Not Allowed"
    response = error(request.method, request.url.path, AssureError(status, title, "There is nothing here."))
    if status == 405:
        response.headers["allow"] = ", ".join(sorted(_methods(request)))
    return response


def _methods(request: Request) -> set[str]:
    """All methods of a path. Each has its own route. A path without parameters precedes one with parameters."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    exact = [route for route in found if not route.param_convertors]
    return {method for route in exact or found for method in route.methods or ()}


class _Dated:
    """Gives each answer a `Date` by the clock of the world, also when the host's clock differs."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the header."""

        async def dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"date", formatdate(self._clock(), usegmt=True).encode())]
            await send(message)

        await self._app(scope, receive, dated)


def application(desk: Services) -> Starlette:
    """Build the application with all routes of the simulator."""
    routes: list[BaseRoute] = [
        Route(path, Endpoint(desk, name, act), methods=[method]) for method, path, name, act in OPERATIONS
    ]
    routes += [Route(path, OpenEndpoint(desk, name, act), methods=[method]) for method, path, name, act in PAGES]
    token = OpenEndpoint(desk, Operation.TOKEN, _token(desk))
    routes.append(Route("/auth/open/connect/token", token, methods=["POST"]))
    routes.append(Mount(ASSETS, StaticFiles(directory=specimen.ASSETS)))
    return Starlette(
        routes=[*routes, *admin.routes(desk.world.ledger, desk.faults, desk.outbox)],
        exception_handlers={404: _unrouted, 405: _unrouted},
        middleware=[Middleware(_Dated, desk.world.clock)],
    )
