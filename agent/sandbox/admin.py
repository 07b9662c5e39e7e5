"""The control addresses for tests and operators. They need no authentication, because they reach only a simulator."""

from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.sandbox.events.outbox import Outbox
from agent.sandbox.events.subscription import Subscription
from agent.sandbox.faults.rules import Faults, Rule
from agent.sandbox.ledger import Ledger
from agent.sandbox.routes import reply


@dataclass(frozen=True, slots=True)
class _Admin:
    """The handlers of the control addresses."""

    book: Ledger
    rules: Faults
    outbox: Outbox

    async def ledger(self, _: Request) -> Response:
        """Send the ledger."""
        return reply(200, self.book.report())

    async def reset(self, _: Request) -> Response:
        """Clear the counts. Objects that exist stay."""
        self.book.reset()
        return Response(status_code=204)

    async def faults(self, request: Request) -> Response:
        """GET the active rules, POST more rules, or DELETE all."""
        if request.method == "DELETE":
            self.rules.clear()
        if request.method == "POST":
            try:
                given = orjson.loads(await request.body())
                self.rules.add([Rule.parse(rule) for rule in given])
            except (ValueError, TypeError) as problem:
                return reply(400, {"error": str(problem)})
        return reply(200, self.rules.rows())

    async def events(self, request: Request) -> Response:
        """GET the subscription without its secret (null when there is none), PUT a new one, or DELETE it."""
        if request.method == "DELETE":
            self.outbox.subscribe(None)
        if request.method == "PUT":
            try:
                self.outbox.subscribe(Subscription.model_validate_json(await request.body()))
            except ValueError as problem:
                return reply(400, {"error": str(problem)})
        subscription = self.outbox.subscription
        return reply(200, subscription.row() if subscription else None)


def routes(ledger: Ledger, faults: Faults, outbox: Outbox) -> list[Route]:
    """The routes below /sandbox."""
    control = _Admin(ledger, faults, outbox)
    return [
        Route("/sandbox/ledger", control.ledger, methods=["GET"]),
        Route("/sandbox/ledger/reset", control.reset, methods=["POST"]),
        Route("/sandbox/faults", control.faults, methods=["GET", "POST", "DELETE"]),
        Route("/sandbox/events", control.events, methods=["GET", "PUT", "DELETE"]),
    ]
