"""The classes of answers for every status, operation and kind of failure (design §5, I2)."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.answer import Busy, Done, Evidence, Operation, Refused, Trouble, Unknown
from agent.core.classify import (
    NOT_JSON,
    SUCCESS,
    HttpReply,
    Unreadable,
    classify,
    evidence_of,
    is_error_body,
    retry_delay,
    shape_of,
)

NOW = 1_800_000_000.0  # 15 January 2027, 08:00:00 UTC

START, TOKEN = Operation.START_VERIFICATION, Operation.TOKEN
OPERATIONS = list(Operation)
OTHERS = [operation for operation in Operation if operation not in (START, TOKEN)]

ASSURE = {"instance": "/assure/dossiers", "method": "GET", "type": "base:client-problem", "title": "Oh", "detail": "no"}
GATEWAY = {"type": "https://errors.example/x", "title": "Oh", "detail": "no", "code": "invalid_request_parameter"}


def as_documented(reply: HttpReply) -> str:
    return "value"


def not_as_documented(reply: HttpReply) -> str:
    raise Unreadable


def seen(status: int, document: object = NOT_JSON, retry_after: str | None = None) -> HttpReply:
    return HttpReply(status=status, body=b"some body", document=document, retry_after=retry_after)


def assure(status: int) -> HttpReply:
    return seen(status, ASSURE | {"status": status})


CANNOT_HAVE_ACTED = (405, 411, 413, 414, 415, 417, 421, 426, 431, 451, 501, 505)
WITHOUT_DOSSIER = (
    Operation.CREATE_DOSSIER,
    Operation.LIST_DOSSIERS,
    Operation.LIST_PROCESSES,
    Operation.LIST_DOCUMENT_TYPES,
)


def expected(operation: Operation, status: int, *, theirs: bool) -> type:
    """The table of design §5."""
    if status == SUCCESS[operation] or (operation is Operation.LIST_DOCUMENT_TYPES and status == 204):
        return Done
    if operation is TOKEN:
        return Busy
    if status in (401, 429) or (status in (408, 425) and operation is not START):
        return Busy
    if status == 404 and theirs and operation in WITHOUT_DOSSIER:
        return Busy
    if status == 403 and theirs and operation in WITHOUT_DOSSIER:
        return Busy
    if 400 <= status <= 499 and theirs and operation is not START:
        return Refused
    if status in CANNOT_HAVE_ACTED and operation is not START:
        return Refused
    return Unknown


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_status_has_the_class_of_the_design(operation: Operation) -> None:
    for status in range(100, 600):
        for reply, theirs in ((assure(status), True), (seen(status), False)):
            answer = classify(operation, reply, as_documented, NOW)
            assert type(answer) is expected(operation, status, theirs=theirs), (operation, status, theirs)
            assert answer.evidence.status == status


def test_every_operation_has_one_documented_success() -> None:
    assert set(SUCCESS) == set(Operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_success_with_an_undocumented_body_is_unknown(operation: Operation) -> None:
    answer = classify(operation, seen(SUCCESS[operation]), not_as_documented, NOW)
    assert type(answer) is (Busy if operation is TOKEN else Unknown)
    assert answer.evidence.cause == "unreadable"


def test_the_parser_names_the_cause() -> None:
    def odd(reply: HttpReply) -> str:
        raise Unreadable("unknown-status")

    assert classify(Operation.READ_PROCESS, seen(200), odd, NOW).evidence.cause == "unknown-status"


def test_a_parser_may_raise_any_value_error() -> None:
    answer = classify(Operation.CREATE_DOSSIER, seen(201), lambda reply: int("x"), NOW)
    assert isinstance(answer, Unknown)


@pytest.mark.parametrize("trouble", list(Trouble))
@pytest.mark.parametrize("operation", OPERATIONS)
def test_without_an_answer_only_an_unsent_call_is_busy(operation: Operation, trouble: Trouble) -> None:
    answer = classify(operation, trouble, as_documented, NOW)
    busy = operation is TOKEN or trouble in (Trouble.CONNECT, Trouble.NO_TOKEN)
    assert type(answer) is (Busy if busy else Unknown)
    assert answer.evidence == Evidence(trouble=trouble, cause=trouble.value)


@pytest.mark.parametrize("status", [400, 401])
def test_the_token_endpoint_refuses_only_with_errors_about_the_client(status: int) -> None:
    for error in ("invalid_client", "unauthorized_client", "invalid_scope"):
        answer = classify(TOKEN, seen(status, {"error": error}), as_documented, NOW)
        assert isinstance(answer, Refused)
        assert answer.evidence.cause == error
    for error in ("invalid_request", "server_error", None, ["invalid_client"]):
        assert isinstance(classify(TOKEN, seen(status, {"error": error}), as_documented, NOW), Busy)
    assert isinstance(classify(TOKEN, seen(503, {"error": "invalid_client"}), as_documented, NOW), Busy)


def test_a_404_of_assure_means_missing() -> None:
    answer = classify(Operation.DELETE_DOSSIER, assure(404), as_documented, NOW)
    assert isinstance(answer, Refused)
    assert answer.missing


@pytest.mark.parametrize("operation", [operation for operation in OPERATIONS if operation is not TOKEN])
def test_a_400_about_the_authorization_header_is_busy(operation: Operation) -> None:
    """Assure's own example of a 400 (contract §2)."""
    body = ASSURE | {"status": 400, "title": "Malformed Authorization header."}
    answer = classify(operation, seen(400, body), as_documented, NOW)
    assert isinstance(answer, Busy)
    assert answer.evidence.cause == "unauthorized"


@pytest.mark.parametrize("body", [NOT_JSON, None, [], [ASSURE], "Not Found", 404, {}, {"message": "Not Found"}])
def test_a_404_of_a_proxy_is_unknown(body: object) -> None:
    answer = classify(Operation.READ_DOSSIER, seen(404, body), as_documented, NOW)
    assert isinstance(answer, Unknown)
    assert answer.evidence.cause == "foreign-body"


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (ASSURE, True),
        (GATEWAY, True),
        ({"title": "Not Found"}, True),
        ({"type": "base:client-problem", "status": 404}, True),
        ({"type": "base:client-problem"}, False),
        ({"status": 404}, False),
        ({"title": ""}, False),
        ({"title": 404}, False),
        ({"title": "Not Found", "status": 500}, False),
        ({"title": "Not Found", "status": "404"}, False),
        ({"title": "Not Found", "status": True}, False),
        ({"title": "Not Found", "status": None}, True),
    ],
)
def test_an_error_body_has_a_title_or_a_type_with_the_status(body: object, known: bool) -> None:
    assert is_error_body(body, 404) is known


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("-5", 0.0),
        ("61", 60.0),
        ("9" * 9000, 60.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 08:00:30 -0000", 30.0),
        ("Fri, 15 Jan 2027 07:59:00 GMT", 0.0),
        ("Fri, 15 Jan 2999 08:00:30 GMT", 60.0),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("٧", None),
        ("NaN", None),
        ("Fri, 99 Jan 2027 08:00:30 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_delay(seen(429, retry_after=header), NOW) == seconds


@pytest.mark.parametrize("astray", [-86_400.0, -60.0, 0.0, 60.0, 86_400.0])
def test_a_retry_after_date_is_compared_with_the_date_of_the_answer(astray: float) -> None:
    """With a clock one minute behind, the agent once waited 60 s after each 429."""
    reply = HttpReply(status=429, retry_after="Fri, 15 Jan 2027 08:00:03 GMT", date="Fri, 15 Jan 2027 08:00:01 GMT")
    assert retry_delay(reply, NOW + astray) == 2.0
    assert retry_delay(replace(reply, date="yesterday"), NOW) == 3.0, "an answer without a readable date"


@settings(max_examples=300, deadline=None)
@given(st.text(), st.none() | st.text())
def test_any_retry_after_is_parsed_or_ignored(header: str, date: str | None) -> None:
    seconds = retry_delay(HttpReply(status=429, retry_after=header, date=date), NOW)
    assert seconds is None or 0 <= seconds <= 60


def test_busy_carries_retry_after() -> None:
    answer = classify(START, seen(429, retry_after="12"), as_documented, NOW)
    assert isinstance(answer, Busy)
    assert answer.retry_after == 12


def test_an_unknown_answer_carries_retry_after() -> None:
    """A 503 may have a Retry-After."""
    answer = classify(START, seen(503, retry_after="12"), as_documented, NOW)
    assert isinstance(answer, Unknown)
    assert answer.retry_after == 12


SECRET = "Jansen, Willeke"


def test_evidence_contains_names_and_types_but_no_value() -> None:
    body = {"title": SECRET, "status": 400, "a": None, "b": True, "c": [SECRET], "d": {SECRET: 1}, SECRET: 1.5}
    kept = evidence_of(HttpReply(status=400, body=SECRET.encode(), document=body | {"traceId": "0af7-65_B"}), "cause")
    shape = "{title:string,status:number,a:null,b:boolean,c:array,d:object,?:number,traceId:string}"
    assert kept.shape == shape
    assert kept.trace_id == "0af7-65_B"
    assert len(kept.digest) == 16
    assert SECRET not in repr(kept)
    assert SECRET not in repr(HttpReply(status=400, body=SECRET.encode(), document=body))


@pytest.mark.parametrize("trace_id", [SECRET, "", 5, None, "x" * 65, ["a"]])
def test_only_a_valid_trace_id_is_kept(trace_id: object) -> None:
    assert evidence_of(seen(400, {"traceId": trace_id}), "").trace_id == ""


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        (NOT_JSON, "not-json"),
        (None, "null"),
        ([], "array"),
        ("x", "string"),
        (1, "number"),
        (True, "boolean"),
        ({}, "{}"),
    ],
)
def test_the_shape_of_a_body_that_is_not_an_object(document: object, shape: str) -> None:
    assert shape_of(document) == shape


def test_an_empty_body_has_no_shape_and_no_digest() -> None:
    assert evidence_of(HttpReply(status=204), "") == Evidence(status=204)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(OPERATIONS), st.integers(0, 999), JSON, st.none() | st.text())
def test_every_answer_has_a_class_and_short_evidence(
    operation: Operation, status: int, document: object, header: str | None
) -> None:
    answer = classify(operation, seen(status, document, header), not_as_documented, NOW)
    assert not isinstance(answer, Done)
    assert len(answer.evidence.shape) <= 400


def test_a_body_with_many_keys_has_a_short_shape() -> None:
    assert len(shape_of({f"key{number}": number for number in range(100_000)})) == 400
