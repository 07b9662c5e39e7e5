"""The connection between the agent's client and the sandbox without sockets: a call of the simulator's ASGI
application.

A call runs in a task of the network. It continues when the agent gives up or dies. The sandbox may cut a connection,
leave it hanging or send half of a body. The connection itself may fail in each way that the real transport reports
(`FAILURES`). The client gets the same errors as from the real transport.
"""

import asyncio
from collections.abc import Callable
from random import Random
from typing import Any, Protocol
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from agent.assure.http.messages import Body, Broken, ExchangeError, Origin, Oversized, Reply, Silent, Unsent, Untimely
from agent.sandbox.faults.injection import CONNECTION
from verification.crash_points import CrashPoints
from verification.replicas.process import outside

MAX_DELAY = 28.0  # seconds: a call acts before REQUEST_TIMEOUT, or never
_SENDING = (0.0, 0.05)  # seconds from the check of the lease to the last byte

_UNSENT = (
    *("refused", "dns", "network", "reset", "connect-timeout", "tls-timeout", "tls-handshake", "closed"),
    *("tls-certificate-has-expired", "proxy-answer", "proxy-credentials", "proxy-refused"),
)
Failure = tuple[ExchangeError, bool]

FAILURES: tuple[Failure, ...] = (
    *((Unsent(cause), False) for cause in _UNSENT),
    (Broken("reset"), False),
    (Broken("reset"), True),
    (Broken("reset", 200), True),  # a cut body
    (Broken("body-oserror"), False),
    (Silent("timeout"), False),
    (Silent("timeout"), True),
    (Silent("timeout", 200), True),  # a stalled body
    (Oversized("oversized"), True),
    (Oversized("oversized", 200), True),
)
"""The failures of a connection, each with true if the call acts."""


class Deadline(Protocol):
    """The part of `SendDeadline` that a transport uses."""

    def begin(self, give_up: Callable[[], None]) -> bool:
        """False: it is too late for the first byte."""

    def end(self, give_up: Callable[[], None]) -> None:
        """The last byte is sent."""


class _Connection:
    """The connection that the sandbox may cut."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def abort(self) -> None:
        self.ended.set()

    close = abort


class _Exchange:
    """One call to the application: ASGI's receive and send."""

    def __init__(self, origin: Origin, method: str, target: str, fields: bytes, content: bytes) -> None:
        self.origin = origin
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.fields = fields
        self.connection = _Connection()
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.whole = False
        self._content: bytes | None = content

    def scope(self) -> dict[str, Any]:
        lines = [line.split(b": ", 1) for line in self.fields.splitlines()]
        length = [(b"content-length", b"%d" % len(self._content))] if self._content else []
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "https" if self.origin.secure else "http",
            "path": unquote(self.path),
            "raw_path": self.path.encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in lines] + length,
            "server": (self.origin.host, self.origin.port),
            "client": ("127.0.0.1", 1),
            "extensions": {CONNECTION: {"transport": self.connection}},
        }

    async def receive(self) -> Message:
        if self._content is not None:
            content, self._content = self._content, None
            return {"type": "http.request", "body": content, "more_body": False}
        await self.connection.ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        else:
            self.body += message.get("body", b"")
            self.whole = not message.get("more_body", False)


class InProcessTransport:
    """Implements `Transport`. A call takes some milliseconds by `chance`. `on_event` receives each answer.

    `down()`: the network is down. `severed()`: the probability that a connection ends at once although its call
    arrives, up to MAX_DELAY seconds later. `failure(chance)`: the failure of the next call, or None. `deadline` is
    asked before a call that changes something.
    """

    def __init__(
        self,
        app: ASGIApp,
        gate: CrashPoints,
        chance: Random,
        timeout: float,
        on_event: Callable[[str], None],
        down: Callable[[], bool],
        severed: Callable[[], float],
        failure: Callable[[Random], Failure | None],
        deadline: Deadline | None = None,
    ) -> None:
        self._deadline = deadline
        self._failure = failure
        self._down = down
        self._severed = severed
        self._app = app
        self._gate = gate
        self._chance = chance
        self._timeout = timeout
        self._on_event = on_event
        self._in_flight: set[asyncio.Task[None]] = set()

    async def send(self, origin: Origin, method: str, target: str, fields: bytes, body: Body, limit: int) -> Reply:
        """Send once, and wait for an answer with the timeout of the real transport."""
        if self._gate.dead or self._down():
            raise Unsent("refused")
        if self._deadline is not None and method != "GET" and not target.endswith("/token"):
            await self._pass_deadline(self._deadline)
        content = body if isinstance(body, bytes) else b"".join(body.produce())
        exchange = _Exchange(origin, method, target, fields, content)
        if failed := self._failure(self._chance):
            await self._fail(exchange, *failed)
        severed = self._chance.random() < self._severed()
        late = self._chance.uniform(0.0, MAX_DELAY) if severed else 0.0
        travel = asyncio.get_running_loop().create_task(self._carry(exchange, late), context=outside())
        self._in_flight.add(travel)
        travel.add_done_callback(self._in_flight.discard)
        name = f"{method} {exchange.path}"
        if severed:
            exchange.connection.abort()
            self._on_event(f"{name} -> severed, arrives {late:.1f} s later")
            await asyncio.sleep(0.01)
            raise Broken("reset")
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.shield(travel)
        except TimeoutError:
            exchange.connection.abort()
            self._on_event(f"{name} -> no answer")
            raise Silent("timeout") from None
        except asyncio.CancelledError:
            exchange.connection.abort()
            raise
        self._on_event(f"{name} -> {exchange.status if exchange.whole else 'cut off'}")
        if not exchange.whole:
            raise Broken("reset")
        if not self._gate.pass_boundary(f"{name}: answered"):
            await asyncio.Event().wait()  # the client is dead
        retry_after, date = (exchange.headers.get(name) for name in (b"retry-after", b"date"))
        return Reply(
            exchange.status,
            exchange.body,
            retry_after.decode("latin-1") if retry_after is not None else None,
            date.decode("latin-1") if date is not None else None,
        )

    async def _pass_deadline(self, deadline: Deadline) -> None:
        """Let time pass between the check of the lease and the last byte: the process may be stopped there."""

        def give_up() -> None:
            """Nothing: it takes less time than the margin."""

        if not deadline.begin(give_up):
            raise Untimely("lease")
        await asyncio.sleep(self._chance.uniform(*_SENDING))
        if self._gate.dead:
            await asyncio.Event().wait()
        deadline.end(give_up)

    async def _fail(self, exchange: _Exchange, failure: ExchangeError, acts: bool) -> None:
        """Raise the failure. If the call acts, it does so before."""
        self._on_event(f"{exchange.method} {exchange.path} -> {failure!r}{', acts' if acts else ''}")
        if acts:
            travel = asyncio.get_running_loop().create_task(self._carry(exchange, 0.0), context=outside())
            self._in_flight.add(travel)
            travel.add_done_callback(self._in_flight.discard)
            await asyncio.wait([travel], timeout=self._timeout)
            exchange.connection.abort()
        if isinstance(failure, Silent):
            await asyncio.sleep(self._timeout)
        raise type(failure)(failure.cause, failure.status)

    async def aclose(self) -> None:
        """Close nothing: there are no sockets."""

    async def _carry(self, exchange: _Exchange, late: float) -> None:
        await asyncio.sleep(late + self._chance.uniform(0.001, 0.02))
        await self._app(exchange.scope(), exchange.receive, exchange.send)
        await asyncio.sleep(self._chance.uniform(0.001, 0.02))
