"""One exchange with Assure: the access token, the HTTP request, and the classified answer. Never raises, never logs.

Each request is sent at most once, with one exception that the vendor asks for. A 401 proves that nothing happened, so
the request is sent once more with a new token (contract §1).
"""

import ssl
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

from agent import __version__
from agent.assure import response_parsers
from agent.assure.http.messages import (
    Body,
    Broken,
    ExchangeError,
    Origin,
    Oversized,
    Reply,
    Silent,
    Timeouts,
    Transport,
    Unsent,
    Untimely,
    header_lines,
    path_of,
)
from agent.assure.http.pool import Pool
from agent.assure.http.send_deadline import SendDeadline
from agent.assure.token import BODY, Token, TokenAnswer, TokenSource, basic, read_token
from agent.core.answer import (
    NEW_TOKENS_REFUSED,
    NOT_SENT,
    Answer,
    Busy,
    Done,
    Evidence,
    Operation,
    Refused,
    Trouble,
    Unknown,
)
from agent.core.assure_types import is_id
from agent.core.classify import HttpReply, NoReply, Reader, classify, http_date
from agent.platform.callbacks import isolated
from agent.platform.proxy import Proxy
from agent.platform.tls import tls_context
from agent.ports import Clock

T = TypeVar("T")

Observer = Callable[[Operation, str, float], None]
"""Receives the operation, the class of the answer (done, refused, busy, unknown) and the seconds of each request."""

Acquire = Callable[[], Awaitable[object]]
"""Awaited before each request beyond the call itself: a token request, or the second attempt after a 401."""

MayChange = Callable[[], Awaitable[bool]]
"""Awaited directly before each request that changes data at Assure. False: the request is not sent."""

DateObserver = Callable[[float | None, float], None]
"""Receives the `Date` of each answer of Assure (seconds since the epoch, None: no date), and the seconds it took."""

JSON_LIMIT: Final = 4 * 1024 * 1024

_ATTEMPTS: Final = 2  # the second one with a new token, after a 401
_ALWAYS: Final = {"Accept-Encoding": "identity", "User-Agent": f"assure-agent/{__version__}"}
_NAMES: Final = {Done: "done", Refused: "refused", Busy: "busy", Unknown: "unknown"}
_OF_ASSURE: Final = (Done, Refused)
_TROUBLES: Final[dict[type[ExchangeError], Trouble]] = {
    Unsent: Trouble.CONNECT,
    Silent: Trouble.TIMEOUT,
    Broken: Trouble.RESET,
    Oversized: Trouble.OVERSIZED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Endpoints, credentials and limits. Times in seconds. The settings have validated the URLs."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    request_timeout: float = 30.0  # from the last byte sent
    connect_timeout: float = 10.0  # for a connection, for its TLS handshake, and for sending (see `Timeouts`)
    concurrency: int = 64  # connections
    json_limit: int = JSON_LIMIT  # bytes read of a JSON answer
    image_limit: int = 32 * 1024 * 1024  # bytes read of an image
    tls: Callable[[], ssl.SSLContext] = tls_context
    proxy_to: Callable[[str, int], Proxy | None] = lambda host, port: None


@dataclass(slots=True, kw_only=True)  # not frozen: each field would cost 600 instructions of every call
class Call:
    """One request, before it has a token. Its fields never change."""

    operation: Operation
    method: str
    path: tuple[str, ...]  # segments below /assure; ids among them
    query: str = ""
    content: Body | None = None
    accept: str = "application/json"
    expect_missing: bool = False  # a 404 is the expected answer

    @property
    def dossier_id(self) -> str | None:
        """The dossier in the path."""
        return self.path[1] if self.path[0] == "dossiers" and len(self.path) > 1 else None


class Send(Protocol):
    """Sends a call, as `Connection.send` does."""

    async def __call__(self, call: Call, read: Reader[T]) -> Answer[T]:
        """The answer. Never raises."""


class Connection:
    """The HTTP connections and the access token, shared by all clients of one agent."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        observe: Observer = lambda operation, result, seconds: None,
        transport: Transport | None = None,
        acquire: Acquire | None = None,
        on_token_answer: Callable[[TokenAnswer], None] = lambda answer: None,
        on_answer: Callable[[Answer[Any]], None] = lambda answer: None,
        on_date: DateObserver = lambda date, seconds: None,
        may_change: MayChange | None = None,
        send_deadline: SendDeadline | None = None,
    ) -> None:
        """`on_token_answer` receives each answer of the token endpoint, `on_answer` each final answer of Assure.

        `may_change` is asked before a call that changes something, and `send_deadline` when its connection is ready.
        """
        self._config = config
        self._acquire = acquire or _unlimited
        self._may_change = may_change or _always
        self._send_deadline = send_deadline
        self._clock = clock
        self._observe = isolated(observe)
        self._on_answer = isolated(on_answer)
        self._on_date = isolated(on_date)
        self._origin = Origin.of(config.base_url)
        self._root = path_of(config.base_url).rstrip("/") + "/assure/"
        self._headers: dict[tuple[str, str, bool], bytes] = {}  # built once for each token and kind of call
        self._tokens = TokenSource(self._fetch_token, clock, on_token_answer)
        self._date: str | None = None  # header of the last answer
        self._time: float | None = None  # of that header
        token_target = path_of(config.token_url)  # a token changes nothing, also at the origin of Assure
        self._transport = transport or Pool(
            connections=config.concurrency,
            timeouts=Timeouts(
                connect=config.connect_timeout,
                tls=config.connect_timeout,
                send=config.connect_timeout,
                read=config.request_timeout,
            ),
            tls=config.tls,
            proxy_to=config.proxy_to,
            deadline=lambda method, target: None if method == "GET" or target == token_target else send_deadline,
        )
        self._closed = False

    async def aclose(self) -> None:
        """Close all connections. Calls in flight end as unknown."""
        await self._tokens.aclose()
        self._closed = True
        await self._transport.aclose()
        if self._send_deadline is not None:
            self._send_deadline.close()

    @property
    def server_time(self) -> float | None:
        """The `Date` of the last answer, in seconds since the epoch."""
        return self._time

    async def authenticate(self) -> Refused | Busy | None:
        """Get a token. None: there is one. Otherwise the answer of the token endpoint."""
        answer = await self._tokens.get()
        return None if isinstance(answer, Done) else answer

    async def send(self, call: Call, read: Reader[T]) -> Answer[T]:
        """Send a call. Without a token the call is busy for every reason: it was not sent, and it is not at fault."""
        path = _path(call.path)
        if path is None:
            return Refused(evidence=Evidence(cause="bad-id"))
        target = f"{self._root}{path}?{call.query}" if call.query else self._root + path
        answer: Answer[T] | None = None
        for _ in range(_ATTEMPTS):
            token = self._tokens.current() or await self._tokens.get()
            if not isinstance(token, Done):
                evidence = replace(token.evidence, trouble=Trouble.NO_TOKEN)
                return Busy(evidence=evidence, retry_after=token.retry_after if isinstance(token, Busy) else None)
            if answer is not None:
                await self._acquire()
            if call.method != "GET" and not await self._may_change():
                return Busy(evidence=Evidence(cause=NOT_SENT))
            answer = await self._exchange(call.operation, self._request(call, target, token.value.value), read)
            if answer.evidence.status != 401:
                if isinstance(answer, _OF_ASSURE):
                    self._tokens.accepted()
                break
            self._tokens.invalidate(token.value.value)
        assert answer is not None
        if answer.evidence.status == 401 and self._tokens.client_rejected:
            answer = replace(answer, evidence=replace(answer.evidence, cause=NEW_TOKENS_REFUSED))
        self._on_answer(answer)
        return answer

    def _request(self, call: Call, target: str, token: str) -> Coroutine[Any, Any, Reply]:
        """The exchange of a call with this token."""
        fields = self._header_lines(token, call.accept, call.content is not None)
        image = call.operation is Operation.READ_IMAGE
        limit = self._config.image_limit if image else self._config.json_limit
        return self._transport.send(self._origin, call.method, target, fields, call.content or b"", limit)

    def _header_lines(self, token: str, accept: str, has_body: bool) -> bytes:
        """Get the lines from the cache: formatting them takes a tenth of the time of a call."""
        key = (token, accept, has_body)
        if key not in self._headers:
            self._headers = {known: made for known, made in self._headers.items() if known[0] == token}
            content_type = {"Content-Type": "application/json"} if has_body else {}
            fields = {"Authorization": f"Bearer {token}", "Accept": accept, **_ALWAYS, **content_type}
            self._headers[key] = header_lines(self._origin, fields)
        return self._headers[key]

    async def _fetch_token(self) -> Answer[Token]:
        config = self._config
        headers = {
            "Authorization": basic(config.client_id, config.client_secret),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **_ALWAYS,
        }
        origin, target = Origin.of(config.token_url), path_of(config.token_url)
        await self._acquire()
        exchange = self._transport.send(origin, "POST", target, header_lines(origin, headers), BODY, config.json_limit)
        return await self._exchange(Operation.TOKEN, exchange, read_token)

    async def _exchange(self, operation: Operation, exchange: Coroutine[Any, Any, Reply], read: Reader[T]) -> Answer[T]:
        began = time.monotonic()
        try:
            if self._closed:
                exchange.close()
                raise Unsent("closed")
            reply = await exchange
        except Untimely:
            return Busy(evidence=Evidence(cause=NOT_SENT))
        except ExchangeError as error:
            trouble = _TROUBLES[type(error)]
            # In TLS 1.3 the alert of a server that wants a client certificate arrives after the request was written.
            specific = trouble is Trouble.CONNECT or error.cause.startswith("tls-")
            cause = error.cause if specific else trouble.value
            answer = classify(operation, NoReply(trouble=trouble, cause=cause), read, 0.0)
            self._observe(operation, _NAMES[type(answer)], time.monotonic() - began)
            return answer
        if reply.date != self._date:
            self._date, self._time = reply.date, http_date(reply.date)
        seen = HttpReply(
            status=reply.status,
            body=reply.body,
            document=response_parsers.parse(reply.body),
            retry_after=reply.retry_after,
            date=reply.date,
        )
        now = 0.0 if reply.retry_after is None else self._clock.now()
        answer = classify(operation, seen, read, now)
        seconds = time.monotonic() - began
        self._observe(operation, _NAMES[type(answer)], seconds)
        if isinstance(answer, _OF_ASSURE):  # the date of any other answer may come from a proxy's clock
            self._on_date(self._time, seconds)
        return answer


@lru_cache(maxsize=4096)  # each request of an operator reads the same process several times
def _path(segments: tuple[str, ...]) -> str | None:
    """The segments as a path. Ids need no quoting. None: a segment is not an id, and could change the path."""
    return "/".join(segments) if all(map(is_id, segments)) else None


async def _unlimited() -> None:
    """No limit."""


async def _always() -> bool:
    return True
