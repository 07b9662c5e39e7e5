"""One exchange with Assure: the access token, the HTTP request, and the classified answer. Never raises, never logs.

Each request is sent at most once, with one exception that the vendor asks for. A 401 proves that nothing happened, so
the request is sent once more with a new token (contract §1).
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

import httpx

from agent.assure import response_parsers
from agent.assure.token import BODY, Token, TokenAnswer, TokenSource, basic, read_token
from agent.assure.transport import BODY_LIMIT, JSON_LIMIT, TARGET, Oversized, Transport, read_body
from agent.core.answer import NEW_TOKENS_REFUSED, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.assure_types import is_id
from agent.core.classify import HttpReply, NoReply, Reader, classify, http_date
from agent.platform.callbacks import isolated
from agent.platform.connection_errors import connection_error_code
from agent.ports import Clock

T = TypeVar("T")

Observer = Callable[[Operation, str, float], None]
"""Receives the operation, the class of the answer (done, refused, busy, unknown) and the seconds of each request."""

Acquire = Callable[[], Awaitable[object]]
"""Awaited before each request beyond the call itself: a token request, or the second attempt after a 401."""

DateObserver = Callable[[float | None, float], None]
"""Receives the `Date` of each answer of Assure (seconds since the epoch, None: no date), and the seconds it took."""

_ATTEMPTS: Final = 2  # the second one with a new token, after a 401
_ALWAYS: Final = {"Accept-Encoding": "identity", "User-Agent": "assure-agent"}
_NAMES: Final = {Done: "done", Refused: "refused", Busy: "busy", Unknown: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Endpoints, credentials and limits. Times in seconds. The settings have validated the URLs."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    request_timeout: float = 30.0  # from the last byte sent
    connect_timeout: float = 10.0  # including the wait for a free connection
    concurrency: int = 64  # connections
    json_limit: int = JSON_LIMIT  # bytes read of a JSON answer
    image_limit: int = 32 * 1024 * 1024  # bytes read of an image


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, before it has a token."""

    operation: Operation
    method: str
    path: tuple[str, ...]  # segments below /assure; ids among them
    query: str = ""
    content: bytes | None = None
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
        transport: httpx.AsyncBaseTransport | None = None,
        acquire: Acquire | None = None,
        on_token_answer: Callable[[TokenAnswer], None] = lambda answer: None,
        on_answer: Callable[[Answer[Any]], None] = lambda answer: None,
        on_date: DateObserver = lambda date, seconds: None,
    ) -> None:
        """`on_token_answer` receives each answer of the token endpoint, `on_answer` each final answer of Assure."""
        self._config = config
        self._acquire = acquire or _unlimited
        self._clock = clock
        self._observe = isolated(observe)
        self._on_answer = isolated(on_answer)
        self._on_date = isolated(on_date)
        base = httpx.URL(config.base_url)
        self._origin = base.copy_with(raw_path=b"/")
        self._root = base.raw_path.decode().rstrip("/") + "/assure/"
        self._headers: dict[tuple[str, str, bool], httpx.Headers] = {}  # built once for each token and kind of call
        self._tokens = TokenSource(self._fetch_token, clock, on_token_answer)
        self._date = ""  # header of the last answer
        # The transport is used without httpx.AsyncClient: its redirects, cookies and proxies would only cost time.
        self._transport = transport or Transport(
            connect_timeout=config.connect_timeout,
            read_timeout=config.request_timeout,
            connections=config.concurrency,
        )
        self._closed = False

    async def aclose(self) -> None:
        """Close all connections. Calls in flight end as unknown."""
        await self._tokens.aclose()
        self._closed = True
        await self._transport.aclose()

    @property
    def server_time(self) -> float | None:
        """The `Date` of the last answer, in seconds since the epoch."""
        return http_date(self._date)

    async def authenticate(self) -> Refused | Busy | None:
        """Get a token. None: there is one. Otherwise the answer of the token endpoint."""
        answer = await self._tokens.get()
        return None if isinstance(answer, Done) else answer

    async def send(self, call: Call, read: Reader[T]) -> Answer[T]:
        """Send a call. Without a token the call is busy for every reason: it was not sent, and it is not at fault."""
        if not all(map(is_id, call.path)):
            return Refused(evidence=Evidence(cause="bad-id"))  # such a path may mean something else: do not send it
        answer: Answer[T] | None = None
        for _ in range(_ATTEMPTS):
            issued = await self._tokens.get()
            if not isinstance(issued, Done):
                evidence = replace(issued.evidence, trouble=Trouble.NO_TOKEN)
                return Busy(evidence=evidence, retry_after=issued.retry_after if isinstance(issued, Busy) else None)
            if answer is not None:
                await self._acquire()
            token = issued.value.value
            answer = await self._exchange(call.operation, self._request(call, token), read)
            if answer.evidence.status != 401:
                if isinstance(answer, Done | Refused):
                    self._tokens.accepted()
                break
            self._tokens.invalidate(token)
            if self._tokens.client_rejected:
                answer = replace(answer, evidence=replace(answer.evidence, cause=NEW_TOKENS_REFUSED))
        assert answer is not None
        self._on_answer(answer)
        return answer

    def _request(self, call: Call, token: str) -> httpx.Request:
        """Build the request from cached parts: building each from scratch takes a tenth of the time of a call."""
        path = self._root + "/".join(call.path)  # ids need no quoting: see is_id
        target = f"{path}?{call.query}" if call.query else path
        image = call.operation is Operation.READ_IMAGE
        return httpx.Request(
            call.method,
            self._origin,
            headers=self._headers_of(token, call.accept, call.content is not None),
            stream=httpx.ByteStream(call.content or b""),
            extensions={
                TARGET: target.encode(),
                BODY_LIMIT: self._config.image_limit if image else self._config.json_limit,
            },
        )

    def _headers_of(self, token: str, accept: str, has_body: bool) -> httpx.Headers:
        key = (token, accept, has_body)
        if key not in self._headers:
            self._headers = {known: made for known, made in self._headers.items() if known[0] == token}
            content_type = {"Content-Type": "application/json"} if has_body else {}
            fields = {"Authorization": f"Bearer {token}", "Accept": accept, **_ALWAYS, **content_type}
            self._headers[key] = httpx.Headers(fields)
        return self._headers[key]

    async def _fetch_token(self) -> Answer[Token]:
        config = self._config
        headers = {
            "Authorization": basic(config.client_id, config.client_secret),
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
            **_ALWAYS,
        }
        request = httpx.Request("POST", config.token_url, headers=headers, content=BODY)
        await self._acquire()
        return await self._exchange(Operation.TOKEN, request, read_token)

    async def _exchange(self, operation: Operation, request: httpx.Request, read: Reader[T]) -> Answer[T]:
        began = time.monotonic()
        seen: HttpReply | NoReply
        try:
            if self._closed:
                seen = NoReply(trouble=Trouble.CONNECT, cause="closed")
            else:
                response = await self._transport.handle_async_request(request)
                body = await read_body(response)
                self._date = response.headers.get("date", "")
                seen = HttpReply(
                    status=response.status_code,
                    body=body,
                    document=response_parsers.parse(body),
                    retry_after=response.headers.get("retry-after"),
                    date=self._date or None,
                )
        except httpx.HTTPError as error:
            seen = _no_reply(error)
        answer = classify(operation, seen, read, self._clock.now())
        seconds = time.monotonic() - began
        self._observe(operation, _NAMES[type(answer)], seconds)
        # The date of any other answer may come from a proxy's clock.
        if isinstance(seen, HttpReply) and isinstance(answer, Done | Refused):
            self._on_date(http_date(seen.date), seconds)
        return answer


def _no_reply(error: httpx.HTTPError) -> NoReply:
    match error:
        case httpx.ConnectTimeout():
            return NoReply(trouble=Trouble.CONNECT, cause="connect-timeout")
        case httpx.ConnectError():
            return NoReply(trouble=Trouble.CONNECT, cause=connection_error_code(error))
        case httpx.TimeoutException():
            return NoReply(trouble=Trouble.TIMEOUT, cause="timeout")
        case Oversized():
            return NoReply(trouble=Trouble.OVERSIZED, cause="oversized")
        case _:
            return NoReply(trouble=Trouble.RESET, cause="reset")


async def _unlimited() -> None:
    """No limit."""
