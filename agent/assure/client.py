"""The Assure API as the port `Remote`: one method per call, each answer classified. Never raises, never logs.

Each method returns the coroutine of its call.
"""

from collections.abc import Callable, Coroutine, Mapping
from copy import copy
from functools import partial
from typing import Any, Protocol, TypeVar

from agent.assure import request_bodies, response_parsers
from agent.assure.connection import Acquire, Call, Config, Connection, DateObserver, MayChange, Observer, Send
from agent.assure.http.messages import Transport
from agent.assure.http.send_deadline import SendDeadline
from agent.assure.process_details import ProcessDetails, process_details
from agent.assure.token import TokenAnswer
from agent.core.answer import Answer, Operation
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
)
from agent.core.classify import Reader
from agent.ports import Clock, Image, ResultReading

T = TypeVar("T")


class Middleware(Protocol):
    """Runs around each call of a client. It decides if and when `send` is called, and may replace the answer."""

    async def __call__(self, send: Send, call: Call, read: Reader[T]) -> Answer[T]:
        """The answer of `send(call, read)`, or another one."""


class AssureClient:
    """Implements `agent.ports.Remote` over HTTP. Used as `async with`, or closed with `aclose`."""

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
        """The arguments are those of `Connection`."""
        self._connection = Connection(
            config, clock, observe, transport, acquire, on_token_answer, on_answer, on_date, may_change, send_deadline
        )
        self._send: Send = self._connection.send
        self.aclose = self._connection.aclose
        self.authenticate = self._connection.authenticate

    def through(self, middleware: Middleware) -> "AssureClient":
        """A client on the same connection whose calls pass through `middleware`."""
        client = copy(self)
        client._send = partial(middleware, self._connection.send)
        return client

    async def __aenter__(self) -> "AssureClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def server_time(self) -> float | None:
        """The `Date` of the last answer, in seconds since the epoch."""
        return self._connection.server_time

    def create_dossier(self, reference: str) -> Coroutine[Any, Any, Answer[str]]:
        """POST /dossiers (contract §4)."""
        body = request_bodies.new_dossier(reference)
        call = Call(operation=Operation.CREATE_DOSSIER, method="POST", path=("dossiers",), content=body)
        return self._send(call, response_parsers.created_dossier(reference))

    def create_process(
        self, dossier_id: str, process_type: ProcessType, document_id: int
    ) -> Coroutine[Any, Any, Answer[NewProcess]]:
        """POST processes (§6)."""
        path, body = ("dossiers", dossier_id, "processes"), request_bodies.new_process(process_type, document_id)
        call = Call(operation=Operation.CREATE_PROCESS, method="POST", path=path, content=body)
        return self._send(call, response_parsers.created_process)

    def start_capture(self, dossier_id: str, options: CaptureOptions) -> Coroutine[Any, Any, Answer[str]]:
        """POST capture (§10)."""
        path, body = ("dossiers", dossier_id, "capture"), request_bodies.new_capture(options)
        call = Call(operation=Operation.START_CAPTURE, method="POST", path=path, content=body)
        return self._send(call, response_parsers.capture_link)

    def upload_images(
        self, dossier_id: str, process_id: str, images: Mapping[Depiction, Image]
    ) -> Coroutine[Any, Any, Answer[None]]:
        """POST images (§7)."""
        path, body = (*_process(dossier_id, process_id), "images"), request_bodies.new_images(images)
        call = Call(operation=Operation.UPLOAD_IMAGES, method="POST", path=path, content=body)
        return self._send(call, response_parsers.empty_body)

    def start_verification(self, dossier_id: str, process_id: str) -> Coroutine[Any, Any, Answer[Status]]:
        """POST process, without a body: the billable act (§8)."""
        path = _process(dossier_id, process_id)
        call = Call(operation=Operation.START_VERIFICATION, method="POST", path=path)
        return self._send(call, response_parsers.started_process(process_id))

    def read_process(self, dossier_id: str, process_id: str) -> Coroutine[Any, Any, Answer[ProcessReading]]:
        """GET process (§9)."""
        path = _process(dossier_id, process_id)
        call = Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return self._send(call, response_parsers.process(process_id))

    def read_result(self, dossier_id: str, process_id: str) -> Coroutine[Any, Any, Answer[ResultReading]]:
        """GET process, with the claims of an accepted one (§9)."""
        path = _process(dossier_id, process_id)
        call = Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return self._send(call, response_parsers.result(process_id))

    def describe_process(
        self, dossier_id: str, process_id: str, personal: bool
    ) -> Coroutine[Any, Any, Answer[ProcessDetails]]:
        """GET process for an operator: as `read_process`, and the names of all other fields.

        With `personal` their values too: record the disclosure before the call.
        """
        path = _process(dossier_id, process_id)
        call = Call(operation=Operation.READ_PROCESS, method="GET", path=path)
        return self._send(call, process_details(process_id, personal))

    def read_dossier(
        self, dossier_id: str, expect_missing: bool = False
    ) -> Coroutine[Any, Any, Answer[DossierReading]]:
        """GET dossier (§4)."""
        path = ("dossiers", dossier_id)
        call = Call(operation=Operation.READ_DOSSIER, method="GET", path=path, expect_missing=expect_missing)
        return self._send(call, response_parsers.dossier(dossier_id))

    def read_image(self, dossier_id: str, process_id: str, depiction: Depiction) -> Coroutine[Any, Any, Answer[bytes]]:
        """GET images (§7)."""
        call = Call(
            operation=Operation.READ_IMAGE,
            method="GET",
            path=(*_process(dossier_id, process_id), "images"),
            query=f"depiction={depiction.value}",
            accept="application/octet-stream, application/json",
        )
        return self._send(call, response_parsers.image)

    def list_dossiers(self) -> Coroutine[Any, Any, Answer[Listing]]:
        """GET /dossiers (§4)."""
        call = Call(operation=Operation.LIST_DOSSIERS, method="GET", path=("dossiers",))
        return self._send(call, response_parsers.dossiers)

    def list_processes(
        self, since: float, statuses: tuple[Status, ...], offset: int, limit: int
    ) -> Coroutine[Any, Any, Answer[ProcessPage]]:
        """GET /processes (§9)."""
        query = request_bodies.process_query(since, statuses, offset, limit)
        call = Call(operation=Operation.LIST_PROCESSES, method="GET", path=("processes",), query=query)
        return self._send(call, response_parsers.process_page)

    def list_document_types(self) -> Coroutine[Any, Any, Answer[tuple[DocumentType, ...]]]:
        """GET document-types (§5)."""
        call = Call(operation=Operation.LIST_DOCUMENT_TYPES, method="GET", path=(PROVIDER, "document-types"))
        return self._send(call, response_parsers.document_types)

    def delete_dossier(self, dossier_id: str, expect_missing: bool = False) -> Coroutine[Any, Any, Answer[None]]:
        """DELETE dossier (§4)."""
        path = ("dossiers", dossier_id)
        call = Call(operation=Operation.DELETE_DOSSIER, method="DELETE", path=path, expect_missing=expect_missing)
        return self._send(call, response_parsers.empty_body)


def _process(dossier_id: str, process_id: str) -> tuple[str, ...]:
    return ("dossiers", dossier_id, "processes", process_id)
