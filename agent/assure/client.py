"""The Assure API as the port `Remote`: one method per call, each answer classified, nothing logged, nothing raised.

Each request is sent at most once, with one exception that the vendor asks for: after a 401 (which proves that nothing
happened) it is sent once more with a new token (contract §1).
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import httpx

from agent.assure import request_bodies, response_parsers
from agent.assure.process_details import ProcessDetails, process_details
from agent.assure.token import BODY, Token, TokenAnswer, TokenSource, basic, read_token
from agent.assure.transport import BODY_LIMIT, JSON_LIMIT, TARGET, Oversized, Transport, read_body
from agent.core.answer import NEW_TOKENS_REFUSED, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.assure_types import (
    PROVIDER,
    CaptureOptions,
    Depiction,
    DocumentType,
    DossierReading,
    Listing,
    NewProcess,
    ProcessPage,
    ProcessReading,
    ProcessType,
    Status,
    is_id,
)
from agent.core.classify import HttpReply, NoReply, Reader, classify, http_date
from agent.platform.callbacks import isolated
from agent.platform.connection_errors import connection_error_code
from agent.ports import Clock, Image, ResultReading

T = TypeVar("T")

Observer = Callable[[Operation, str, float], None]
"""Told of each request: the operation, done | refused | busy | unknown, and its seconds."""

Acquire = Callable[[], Awaitable[object]]
"""Awaited before each request that goes beyond the call itself: for a token, or once more after a 401."""

DateObserver = Callable[[float | None, float], None]
"""Told of each answer of Assure's own: its `Date` in seconds since the epoch, None without one, and its seconds."""

_ALWAYS: Final = {"Accept-Encoding": "identity", "User-Agent": "assure-agent"}
_NAMES: Final = {Done: "done", Refused: "refused", Busy: "busy", Unknown: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Where and how to call. Times in seconds; the settings have checked the URLs; repr hides the secret."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    request_timeout: float = 30.0  # from the last byte sent
    connect_timeout: float = 10.0  # waiting for the pool included
    concurrency: int = 64  # connections
    json_limit: int = JSON_LIMIT  # bytes read of a JSON answer
    image_limit: int = 32 * 1024 * 1024  # bytes read of an image


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One request before it has a token."""

    operation: Operation
    method: str
    path: tuple[str, ...]  # segments below /assure; ids among them
    query: str = ""
    content: bytes | None = None
    accept: str = "application/json"


class AssureClient:
    """Implements `agent.ports.Remote` over HTTP. Used as `async with`, or closed with `aclose`."""

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
        """`token_answered` hears of each answer of the token endpoint, `answered` of each of Assure that is final."""
        self._config = config
        self._acquire = acquire or _unlimited
        self._clock = clock
        self._observe = isolated(observe)
        self._on_answer = isolated(on_answer)
        self._on_date = isolated(on_date)
        base = httpx.URL(config.base_url)
        self._origin = base.copy_with(raw_path=b"/")
        self._root = base.raw_path.decode().rstrip("/") + "/assure/"
        self._headers: dict[tuple[str, str, bool], httpx.Headers] = {}  # made once for each token and kind of call
        self._tokens = TokenSource(self._fetch_token, clock, on_token_answer)
        self._date = ""  # of the last answer, as it came
        # No httpx.AsyncClient above it: without redirects, cookies, authentication and proxies it would only cost.
        self._transport = transport or Transport(
            connect_timeout=config.connect_timeout,
            read_timeout=config.request_timeout,
            connections=config.concurrency,
        )
        self._closed = False

    async def __aenter__(self) -> "AssureClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Calls in flight end as unknown."""
        await self._tokens.aclose()
        self._closed = True
        await self._transport.aclose()

    @property
    def server_time(self) -> float | None:
        """What the last answer gave as its date, in seconds since the epoch."""
        return http_date(self._date)

    async def authenticate(self) -> Refused | Busy | None:
        """Is there a token, or can there be one? None: yes. Otherwise why not."""
        answer = await self._tokens.get()
        return None if isinstance(answer, Done) else answer

    # ---- the port

    async def create_dossier(self, reference: str) -> Answer[str]:
        """POST /dossiers (contract §4)."""
        body = request_bodies.new_dossier(reference)
        call = _Call(operation=Operation.CREATE_DOSSIER, method="POST", path=("dossiers",), content=body)
        return await self._call(call, response_parsers.created_dossier(reference))

    async def create_process(self, dossier_id: str, process_type: ProcessType, document_id: int) -> Answer[NewProcess]:
        """POST processes (§6)."""
        path, body = ("dossiers", dossier_id, "processes"), request_bodies.new_process(process_type, document_id)
        call = _Call(operation=Operation.CREATE_PROCESS, method="POST", path=path, content=body)
        return await self._call(call, response_parsers.created_process)

    async def start_capture(self, dossier_id: str, options: CaptureOptions) -> Answer[str]:
        """POST capture (§10)."""
        path, body = ("dossiers", dossier_id, "capture"), request_bodies.new_capture(options)
        call = _Call(operation=Operation.START_CAPTURE, method="POST", path=path, content=body)
        return await self._call(call, response_parsers.capture_link)

    async def upload_images(self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]) -> Answer[None]:
        """POST images (§7)."""
        path, body = (*_process(dossier_id, process_id), "images"), request_bodies.new_images(images)
        call = _Call(operation=Operation.UPLOAD_IMAGES, method="POST", path=path, content=body)
        return await self._call(call, response_parsers.empty_body)

    async def start_verification(self, dossier_id: str, process_id: str) -> Answer[Status]:
        """POST process, without a body: the billable act (§8)."""
        path = _process(dossier_id, process_id)
        call = _Call(operation=Operation.START_VERIFICATION, method="POST", path=path)
        return await self._call(call, response_parsers.started_process(process_id))

    async def read_process(self, dossier_id: str, process_id: str) -> Answer[ProcessReading]:
        """GET process (§9)."""
        path = _process(dossier_id, process_id)
        call = _Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return await self._call(call, response_parsers.process(process_id))

    async def read_result(self, dossier_id: str, process_id: str) -> Answer[ResultReading]:
        """GET process, with the claims of an accepted one (§9)."""
        path = _process(dossier_id, process_id)
        call = _Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return await self._call(call, response_parsers.result(process_id))

    async def describe_process(self, dossier_id: str, process_id: str, personal: bool) -> Answer[ProcessDetails]:
        """GET process for a person to look at: as `read_process`, and the names of all other fields.

        With `personal` their values too; whoever asks for them has it recorded before.
        """
        path = _process(dossier_id, process_id)
        call = _Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return await self._call(call, process_details(process_id, personal))

    async def read_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[DossierReading]:
        """GET dossier (§4)."""
        call = _Call(operation=Operation.READ_DOSSIER, method="GET", path=("dossiers", dossier_id))
        return await self._call(call, response_parsers.dossier(dossier_id))

    async def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Answer[bytes]:
        """GET images (§7)."""
        call = _Call(
            operation=Operation.READ_IMAGE,
            method="GET",
            path=(*_process(dossier_id, process_id), "images"),
            query=f"depiction={depiction.value}",
            accept="application/octet-stream, application/json",
        )
        return await self._call(call, response_parsers.image)

    async def list_dossiers(self) -> Answer[Listing]:
        """GET /dossiers (§4)."""
        call = _Call(operation=Operation.LIST_DOSSIERS, method="GET", path=("dossiers",))
        return await self._call(call, response_parsers.dossiers)

    async def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Answer[ProcessPage]:
        """GET /processes (§9)."""
        query = request_bodies.process_query(since, statuses, offset, limit)
        call = _Call(operation=Operation.LIST_PROCESSES, method="GET", path=("processes",), query=query)
        return await self._call(call, response_parsers.process_page)

    async def list_document_types(self) -> Answer[tuple[DocumentType, ...]]:
        """GET document-types (§5)."""
        call = _Call(operation=Operation.LIST_DOCUMENT_TYPES, method="GET", path=(PROVIDER, "document-types"))
        return await self._call(call, response_parsers.document_types)

    async def delete_dossier(self, dossier_id: str, expect_missing: bool = False) -> Answer[None]:
        """DELETE dossier (§4)."""
        call = _Call(operation=Operation.DELETE_DOSSIER, method="DELETE", path=("dossiers", dossier_id))
        return await self._call(call, response_parsers.empty_body)

    # ---- how a call is made

    async def _call(self, call: _Call, read: Reader[T]) -> Answer[T]:
        if not all(map(is_id, call.path)):
            return Refused(evidence=Evidence(cause="bad-id"))  # never sent: such a path may mean something else
        token = await self._tokens.get()
        if isinstance(token, Done):
            answer = await self._attempt(call, token.value.value, read)
            if answer.evidence.status == 401:
                token = await self._tokens.get()
                if isinstance(token, Done):
                    await self._acquire()
                    answer = await self._attempt(call, token.value.value, read)
            if isinstance(token, Done):
                self._on_answer(answer)
                return answer
        if isinstance(token, Busy):  # the token endpoint's evidence, marked as such
            return replace(token, evidence=replace(token.evidence, trouble=Trouble.NO_TOKEN))
        return token

    async def _attempt(self, call: _Call, token: str, read: Reader[T]) -> Answer[T]:
        """Send it with this token, and remember whether Assure accepts the token."""
        answer = await self._exchange(call.operation, self._request(call, token), read)
        if answer.evidence.status == 401:
            self._tokens.invalidate(token)
            if self._tokens.client_rejected:
                return replace(answer, evidence=replace(answer.evidence, cause=NEW_TOKENS_REFUSED))
        elif isinstance(answer, Done | Refused):
            self._tokens.accepted()
        return answer

    def _request(self, call: _Call, token: str) -> httpx.Request:
        """Of parts that are made once: to build each from nothing takes a tenth of what a call costs."""
        path = self._root + "/".join(call.path)  # ids, which need no quoting: see is_id
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
        seen = await self._send(request)
        answer = classify(operation, seen, read, self._clock.now())
        seconds = time.monotonic() - began
        self._observe(operation, _NAMES[type(answer)], seconds)
        if isinstance(seen, HttpReply) and isinstance(
            answer, Done | Refused
        ):  # others may be a proxy's, by its own clock
            self._on_date(http_date(seen.date), seconds)
        return answer

    async def _send(self, request: httpx.Request) -> HttpReply | NoReply:
        if self._closed:
            return NoReply(trouble=Trouble.CONNECT, cause="closed")
        try:
            response = await self._transport.handle_async_request(request)
            body = await read_body(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            late = isinstance(error, httpx.ConnectTimeout)
            return NoReply(trouble=Trouble.CONNECT, cause="connect-timeout" if late else connection_error_code(error))
        except httpx.TimeoutException:
            return NoReply(trouble=Trouble.TIMEOUT, cause="timeout")
        except Oversized:
            return NoReply(trouble=Trouble.OVERSIZED, cause="oversized")
        except httpx.HTTPError:
            return NoReply(trouble=Trouble.RESET, cause="reset")
        self._date = response.headers.get("date", "")
        return HttpReply(
            status=response.status_code,
            body=body,
            document=response_parsers.parse(body),
            retry_after=response.headers.get("retry-after"),
            date=self._date or None,
        )


async def _unlimited() -> None:
    """Without a limit."""


def _process(dossier_id: str, process_id: str) -> tuple[str, ...]:
    return ("dossiers", dossier_id, "processes", process_id)
