"""The client from end to end: the bytes on the wire, and the class of each answer (I2, I6)."""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from agent import __version__
from agent.assure.answer_signal import AnswerSignal, signal_of
from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.assure.http.send_deadline import SendDeadline
from agent.core.answer import NOT_SENT, Answer, Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.assure_types import CaptureOptions, Depiction, DocumentType, ProcessType, Status
from agent.core.classify import SUCCESS, WITHOUT_DOSSIER
from agent.ports import Image, Remote
from tests.assure.scripted_server import Behaviour, ScriptedServer, answer, cut, delivered, hang_up, reset, silence

from .conftest import HURRIED, JumpingClock

LATER = 1e9  # seconds of boot time

JPEG = b"\xff\xd8\xff\xe0image"
ERROR = {"instance": "/x", "method": "GET", "type": "base:client-problem", "title": "Not Found", "detail": "gone"}
ROW = {"processId": "p-1", "provider": "signicatpictureid", "processType": "document", "status": "processing"}

Ask = Callable[[Remote], Awaitable[Answer[Any]]]

CALLS: dict[Operation, tuple[Ask, str, object, object]] = {
    Operation.CREATE_DOSSIER: (lambda r: r.create_dossier("ref-1"), "POST dossiers", {"dossierId": "d-1"}, "d-1"),
    Operation.CREATE_PROCESS: (
        lambda r: r.create_process("d-1", ProcessType.DOCUMENT, 137),
        "POST dossiers/d-1/processes",
        ROW,
        None,
    ),
    Operation.START_CAPTURE: (
        lambda r: r.start_capture(
            "d-1", CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/")
        ),
        "POST dossiers/d-1/capture",
        {"url": "https://a.example/c"},
        "https://a.example/c",
    ),
    Operation.UPLOAD_IMAGES: (
        lambda r: r.upload_images("d-1", "p-1", {Depiction.FRONT: Image(content=JPEG, media_type="image/jpeg")}),
        "POST dossiers/d-1/processes/p-1/images",
        b"",
        None,
    ),
    Operation.START_VERIFICATION: (
        lambda r: r.start_verification("d-1", "p-1"),
        "POST dossiers/d-1/processes/p-1",
        ROW,
        Status.PROCESSING,
    ),
    Operation.READ_PROCESS: (lambda r: r.read_process("d-1", "p-1"), "GET dossiers/d-1/processes/p-1", ROW, None),
    Operation.READ_DOSSIER: (lambda r: r.read_dossier("d-1"), "GET dossiers/d-1", {"dossierId": "d-1"}, None),
    Operation.READ_IMAGE: (
        lambda r: r.read_image("d-1", "p-1", Depiction.SELFIE),
        "GET dossiers/d-1/processes/p-1/images?depiction=selfie",
        JPEG,
        JPEG,
    ),
    Operation.LIST_DOSSIERS: (lambda r: r.list_dossiers(), "GET dossiers", [], ()),
    Operation.LIST_PROCESSES: (
        lambda r: r.list_processes(0, (Status.ACCEPTED, Status.FAILED), 0, 2000),
        "GET processes?startCreationDate=1970-01-01T00%3A00%3A00Z&status=accepted&status=failed&offset=0&limit=2000",
        {"processes": [], "totalResults": 0},
        None,
    ),
    Operation.LIST_DOCUMENT_TYPES: (
        lambda r: r.list_document_types(),
        "GET signicatpictureid/document-types",
        [{"id": 137, "country": "NLD", "type": "passport", "name": "Netherlands Passport"}],
        (DocumentType(id=137, country="NLD", type="passport", name="Netherlands Passport"),),
    ),
    Operation.DELETE_DOSSIER: (lambda r: r.delete_dossier("d-1"), "DELETE dossiers/d-1", b"", None),
}

BODILESS = {Operation.START_VERIFICATION, Operation.DELETE_DOSSIER} | {
    operation for operation, (_, line, _, _) in CALLS.items() if line.startswith("GET")
}
every_call = pytest.mark.parametrize("operation", list(CALLS))


def success(operation: Operation) -> Behaviour:
    return answer(SUCCESS[operation], CALLS[operation][2])


async def ask(client: AssureClient, operation: Operation) -> Answer[Any]:
    return await CALLS[operation][0](client)


def test_every_operation_but_the_token_is_called_here() -> None:
    assert set(CALLS) == set(Operation) - {Operation.TOKEN}


@every_call
async def test_the_documented_success_is_done(
    client: AssureClient, server: ScriptedServer, observed: list[tuple[Operation, str]], operation: Operation
) -> None:
    server.will(success(operation))
    got = await ask(client, operation)
    assert isinstance(got, Done)
    _, line, _, value = CALLS[operation]
    if value is not None:
        assert got.value == value
    assert server.lines == [line.replace(" ", " /assure/", 1)]
    assert observed == [(Operation.TOKEN, "done"), (operation, "done")]


@every_call
async def test_the_headers_of_a_call(client: AssureClient, server: ScriptedServer, operation: Operation) -> None:
    server.will(success(operation))
    await ask(client, operation)
    headers = server.deliveries[0].headers
    assert headers["authorization"] == "Bearer token-1"
    assert "application/json" in headers["accept"]
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"] == f"assure-agent/{__version__}"
    if operation in BODILESS:
        assert "content-type" not in headers
        assert server.deliveries[0].body == b""
    else:
        assert headers["content-type"] == "application/json"
        assert isinstance(server.deliveries[0].json, dict)


async def test_the_token_request(client: AssureClient, server: ScriptedServer) -> None:
    server.will(answer(200, []))
    await client.list_dossiers()
    (asked,) = server.token_deliveries
    assert asked.line == "POST /token"
    assert asked.headers["authorization"] == "Basic " + b64encode(b"sandbox-brave-fox-1:s3cret").decode()
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert asked.headers["user-agent"] == f"assure-agent/{__version__}"
    assert asked.body == b"grant_type=client_credentials&scope=signicat-api"


TROUBLES = [
    (hang_up, Trouble.RESET),
    (reset, Trouble.RESET),
    (cut(200, b"{", declared=90), Trouble.RESET),
    (answer(200, b"x" * 9000), Trouble.OVERSIZED),
]


@every_call
@pytest.mark.parametrize(("behaviour", "trouble"), TROUBLES)
async def test_a_call_that_was_sent_and_not_answered_is_unknown_and_was_sent_once(
    client: AssureClient, server: ScriptedServer, operation: Operation, behaviour: Behaviour, trouble: Trouble
) -> None:
    server.will(behaviour, success(operation))
    got = await ask(client, operation)
    assert got == Unknown(evidence=Evidence(trouble=trouble, cause=trouble.value))
    assert len(server.deliveries) == 1


@every_call
async def test_a_call_without_an_answer_is_unknown_and_was_sent_once(
    config: Config, clock: JumpingClock, server: ScriptedServer, operation: Operation
) -> None:
    server.will(silence, success(operation))
    async with AssureClient(replace(config, request_timeout=HURRIED), clock) as client:
        while await client.authenticate():  # a token that came too late is asked for again, after a while
            clock.time += 60
        got = await ask(client, operation)
    await delivered(server)
    assert got == Unknown(evidence=Evidence(trouble=Trouble.TIMEOUT, cause="timeout"))
    assert len(server.deliveries) == 1


@every_call
@pytest.mark.parametrize(
    "behaviour",
    [
        answer(500, ERROR),
        answer(503, b"<html>"),
        answer(302, b"", {"Location": "/elsewhere"}),
        answer(202, {}),
        answer(404, b"<html>Not Found</html>", {"Content-Type": "text/html"}),
    ],
)
async def test_strange_answers_are_unknown(
    client: AssureClient, server: ScriptedServer, operation: Operation, behaviour: Behaviour
) -> None:
    server.will(behaviour, success(operation))
    assert isinstance(await ask(client, operation), Unknown)
    assert len(server.deliveries) == 1


@every_call
@pytest.mark.parametrize("page", [b"<html>Welcome to the hotel</html>", b"", b"[1]", b'"x"', b"[" * 3000])
async def test_a_success_with_a_foreign_body_is_unknown(
    client: AssureClient, server: ScriptedServer, operation: Operation, page: bytes
) -> None:
    if operation is Operation.DELETE_DOSSIER or (operation is Operation.UPLOAD_IMAGES and page == b""):
        return  # no body is what is documented; a 204 cannot have one
    server.will(answer(SUCCESS[operation], page))
    assert isinstance(await ask(client, operation), Unknown)


@every_call
async def test_a_404_of_assure_refuses_a_read_of_a_dossier_but_never_a_start(
    client: AssureClient, server: ScriptedServer, operation: Operation
) -> None:
    server.will(answer(404, ERROR | {"status": 404}, {"Content-Type": "application/problem+json"}))
    got = await ask(client, operation)
    if operation is Operation.START_VERIFICATION:
        assert isinstance(got, Unknown)
    elif operation in WITHOUT_DOSSIER:
        assert isinstance(got, Busy)  # a wrong path or account, not this request
    else:
        assert isinstance(got, Refused)
        assert got.missing


@every_call
async def test_a_429_is_busy_for_its_retry_after(
    client: AssureClient, server: ScriptedServer, operation: Operation
) -> None:
    server.will(answer(429, b"slow down", {"Retry-After": "7"}))
    got = await ask(client, operation)
    assert isinstance(got, Busy)
    assert got.retry_after == 7


async def test_no_document_types_are_an_empty_list(client: AssureClient, server: ScriptedServer) -> None:
    server.will(answer(204))
    got = await client.list_document_types()
    assert isinstance(got, Done)
    assert got.value == ()


async def test_a_204_is_not_a_success_of_another_list(client: AssureClient, server: ScriptedServer) -> None:
    server.will(answer(204))
    assert isinstance(await client.list_dossiers(), Unknown)


async def test_retry_after_as_a_date_is_relative_to_the_agents_clock(
    client: AssureClient, server: ScriptedServer, clock: JumpingClock
) -> None:
    server.will(answer(429, b"", {"Retry-After": "Fri, 15 Jan 2027 08:00:30 GMT"}))
    got = await client.list_dossiers()
    assert isinstance(got, Busy)
    assert got.retry_after == 30


@every_call
async def test_a_connection_that_was_never_made_is_busy(
    client: AssureClient, server: ScriptedServer, operation: Operation
) -> None:
    server.will(answer(200, [], {"Connection": "close"}))
    await client.list_dossiers()  # so that there is a token
    await server.__aexit__()
    got = await ask(client, operation)
    assert got == Busy(evidence=Evidence(trouble=Trouble.CONNECT, cause="refused"))


@every_call
async def test_a_401_is_repeated_once_with_a_new_token(
    client: AssureClient, server: ScriptedServer, operation: Operation
) -> None:
    server.will(answer(401, ERROR), success(operation))
    assert isinstance(await ask(client, operation), Done)
    assert [delivery.headers["authorization"] for delivery in server.deliveries] == ["Bearer token-1", "Bearer token-2"]
    assert server.deliveries[0].body == server.deliveries[1].body


async def test_a_second_401_is_busy(
    client: AssureClient, server: ScriptedServer, observed: list[tuple[Operation, str]]
) -> None:
    server.will(answer(401), answer(401), answer(200, ROW))
    got = await client.start_verification("d-1", "p-1")
    assert isinstance(got, Busy)
    assert got.evidence.cause == "unauthorized"
    assert len(server.deliveries) == 2
    start = Operation.START_VERIFICATION
    assert observed == [(Operation.TOKEN, "done"), (start, "busy"), (Operation.TOKEN, "done"), (start, "busy")]


async def test_only_new_tokens_that_are_refused_in_a_row_reject_the_client(
    client: AssureClient, server: ScriptedServer
) -> None:
    """A token that Assure accepted may end early, and as often as it likes."""
    server.will(*[answer(200, []), answer(401)] * 5, answer(401), answer(401), answer(401))
    causes = [(await client.list_dossiers()).evidence.cause for _ in range(7)]
    assert causes == ["", "", "", "", "", "unauthorized", "new-tokens-refused"]


async def test_one_call_has_one_final_answer(config: Config, clock: JumpingClock, server: ScriptedServer) -> None:
    server.will(answer(401), answer(200, []), answer(500))
    received: list[Answer[Any]] = []
    async with AssureClient(config, clock, on_answer=received.append) as client:
        answers = [await client.list_dossiers(), await client.list_dossiers()]
    assert received == answers


async def test_an_agent_without_its_store_changes_nothing_at_assure(
    config: Config, clock: JumpingClock, server: ScriptedServer
) -> None:
    """It still reads. The second try after a 401 is asked for as well."""
    server.will(answer(200, []), answer(401))
    owns = iter([False, False, True, False])
    received: list[Answer[Any]] = []

    async def may_change() -> bool:
        return next(owns)

    async with AssureClient(config, clock, on_answer=received.append, may_change=may_change) as client:
        answers: list[Answer[Any]] = [
            await client.start_verification("d1", "p1"),
            await client.delete_dossier("d1"),
            await client.list_dossiers(),
            await client.create_dossier("reference"),
        ]
    unsent = Busy(evidence=Evidence(cause=NOT_SENT))
    assert answers == [unsent, unsent, received[0], unsent]
    assert len(server.deliveries) == 2
    assert signal_of(unsent, "d1") is AnswerSignal.NEUTRAL


async def test_a_connection_that_is_ready_too_late_carries_no_change(
    config: Config, clock: JumpingClock, server: ScriptedServer
) -> None:
    """[P5] The process may have been stopped while it connected: the lease is over before the first byte."""
    server.will(answer(200, []), answer(200, []), answer(200, []))
    still_valid = True
    async with AssureClient(
        config, clock, send_deadline=SendDeadline(lambda: LATER if still_valid else 0.0, None)
    ) as client:
        await client.list_dossiers()
        still_valid = False
        unsent = await client.start_verification("d1", "p1")
        assert unsent == Busy(evidence=Evidence(cause=NOT_SENT))
        assert isinstance(await client.list_dossiers(), Done)  # a read changes nothing
        assert len(server._connections) == 1  # the connection is as good as before
        client._connection._tokens.invalidate("token-1")
        assert isinstance(await client.list_dossiers(), Done)  # nor does a token, also at the origin of Assure
    assert len(server.deliveries) == 3
    assert signal_of(unsent, "d1") is AnswerSignal.NEUTRAL


async def test_sixty_four_401s_renew_the_token_once(
    config: Config, clock: JumpingClock, server: ScriptedServer
) -> None:
    async def refuse_when_all_are_here(writer: asyncio.StreamWriter) -> None:
        while len(server.deliveries) < 64:
            await asyncio.sleep(0)
        await answer(401)(writer)

    server.will(*[refuse_when_all_are_here] * 64, *[answer(200, [])] * 64)
    async with AssureClient(config, clock) as client:
        answers = await asyncio.gather(*(client.list_dossiers() for _ in range(64)))
    assert all(isinstance(got, Done) for got in answers)
    assert len(server.deliveries) == 128
    assert len(server.token_deliveries) == 2


@pytest.mark.parametrize(
    "behaviour",
    [answer(500), answer(400, {"error": "invalid_request"}), answer(200, b"<html>"), hang_up, answer(302)],
)
async def test_without_a_token_nothing_is_sent(
    client: AssureClient, server: ScriptedServer, behaviour: Behaviour
) -> None:
    server.tokens = [behaviour]
    got = await client.start_verification("d-1", "p-1")
    assert isinstance(got, Busy)
    assert got.evidence.trouble is Trouble.NO_TOKEN
    assert server.deliveries == []


async def test_without_an_answer_about_a_token_nothing_is_sent(
    config: Config, clock: JumpingClock, server: ScriptedServer
) -> None:
    server.tokens = [silence]
    async with AssureClient(replace(config, request_timeout=HURRIED), clock) as client:
        got = await client.start_verification("d-1", "p-1")
    assert isinstance(got, Busy)
    assert got.evidence.trouble is Trouble.NO_TOKEN
    assert server.deliveries == []


async def test_a_call_of_a_rejected_client_is_busy_and_not_sent(client: AssureClient, server: ScriptedServer) -> None:
    server.tokens = [answer(401, {"error": "invalid_client"})]
    got = await client.delete_dossier("d-1")
    assert isinstance(got, Busy)
    assert (got.evidence.cause, got.evidence.trouble) == ("invalid_client", Trouble.NO_TOKEN)
    assert isinstance(await client.authenticate(), Refused)
    assert server.deliveries == []


@pytest.mark.parametrize("odd", ["all", "ALL", "..", ".", "", "a/b", "a?b", "a#b", "a b"])
async def test_an_invalid_id_is_never_sent(client: AssureClient, server: ScriptedServer, odd: str) -> None:
    """The agent must never send DELETE /dossiers/all (design §5)."""
    for call in (client.delete_dossier(odd), client.start_verification("d-1", odd), client.read_dossier(odd)):
        assert await call == Refused(evidence=Evidence(cause="bad-id"))
    assert server.deliveries == []
    assert server.token_deliveries == []


async def test_an_image_may_be_larger_than_a_json_answer(client: AssureClient, server: ScriptedServer) -> None:
    image = JPEG + b"x" * 8000
    server.will(answer(200, image))
    got = await client.read_image("d-1", "p-1", Depiction.FRONT)
    assert isinstance(got, Done)
    assert got.value == image


async def test_after_closing_every_call_is_busy(client: AssureClient, server: ScriptedServer) -> None:
    await client.aclose()
    assert isinstance(await client.start_verification("d-1", "p-1"), Busy)
    assert server.deliveries == []


async def test_closing_leaves_what_was_sent_unknown(client: AssureClient, server: ScriptedServer) -> None:
    server.will(silence)
    waiting = asyncio.create_task(client.start_verification("d-1", "p-1"))
    await delivered(server)
    await client.aclose()
    assert isinstance(await waiting, Unknown)


def test_the_secret_hides_in_repr() -> None:
    config = Config(base_url="https://a", token_url="https://b", client_id="id", client_secret="s3cret")
    assert "s3cret" not in repr(config)
    port: type[Remote] = AssureClient
    assert port is AssureClient
