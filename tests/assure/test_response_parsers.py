"""Parsed answers: deciding values must be valid, informative ones may be missing, personal ones are dropped (I6)."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.assure import response_parsers
from agent.core.assure_types import DocumentType, ListedDossier, ListedProcess, NewProcess, Status, StatusReason, is_id
from agent.core.classify import NOT_JSON, HttpReply, Reader, Unreadable

D, P = "37191afe-25b3-4c30-b42a-b0ab64aa1d64", "8afb3ac6-6780-42e4-bbc2-3713e2f6d97c"
TIMES = {"createdAt": "2027-01-15T08:00:00Z", "updatedAt": "2027-01-15T08:01:00Z"}
ROW = {"processId": P, "provider": "signicatpictureid", "processType": "document", "status": "pending", **TIMES}
ABOUT = {"dossierId": D, "externalReference": "aa-1-2-3-4", **TIMES}

INCONCLUSIVE: dict[str, Any] = ROW | {
    "status": "inconclusive",
    "statusReasons": [
        {
            "type": "Document",
            "category": "SecurityCheckFailed",
            "subCategory": "NonExpired",
            "message": "Security check 'nonExpired' of Willeke failed.",
        }
    ],
    "depictions": ["front"],
    "providerSpecific": {
        "document": {
            "documentNumber": "SPECI2014",
            "subject": {"firstName": "Willeke", "lastName": "Jansen", "dateOfBirth": "1965-03-10"},
            "securityChecks": {
                "nonExpired": {"name": "Document not expired", "passed": False},
                "dataIntegrity": {"name": "Data integrity", "passed": True},
                "selfieAndDocumentMatch": {"name": "Match", "similarityLevel": "high"},
                "valid": {"valid": True},
                "Willeke Jansen": {"passed": True},
            },
        },
        "selfie": {"status": "SUCCESS", "x": 1, "y": 2},
    },
}


def reply(document: object) -> HttpReply:
    body = b"" if document is NOT_JSON else json.dumps(document).encode()
    return HttpReply(status=200, body=body, document=document)


def cause(read: Callable[[HttpReply], object], document: object) -> str:
    with pytest.raises(Unreadable) as refused:
        read(reply(document))
    return refused.value.cause


def test_a_process_keeps_names_and_booleans_and_nothing_personal() -> None:
    reading = response_parsers.process(P)(reply(INCONCLUSIVE))
    assert reading.status is Status.INCONCLUSIVE
    assert reading.reasons == (
        StatusReason(type="Document", category="SecurityCheckFailed", sub_category="NonExpired"),
    )
    assert reading.checks == (("dataIntegrity", True), ("nonExpired", False))
    assert reading.similarity == "high"
    for personal in ("Willeke", "Jansen", "1965", "SPECI2014"):
        assert personal not in repr(reading)


def test_a_similarity_may_be_in_the_final_result() -> None:
    body = ROW | {"status": "accepted", "finalResult": {"firstName": "Willeke", "similarityScore": "veryLow"}}
    assert response_parsers.process(P)(reply(body)).similarity == "veryLow"
    body = ROW | {"finalResult": {"similarityScore": "Willeke"}}
    assert response_parsers.process(P)(reply(body)).similarity is None


def test_a_failed_process_has_the_code_of_its_reason() -> None:
    body = ROW | {"status": "failed", "failReason": {"type": "upload_failed", "message": "ERROR: Willeke"}}
    assert response_parsers.process(P)(reply(body)).fail_type == "upload_failed"
    assert response_parsers.process(P)(reply(ROW | {"failReason": {"type": "it failed, Willeke"}})).fail_type is None


@pytest.mark.parametrize("junk", [None, True, 5, "Willeke", [], ["x"], {}, {"document": [1]}, [[]], [{"type": 5}]])
@pytest.mark.parametrize("key", ["statusReasons", "providerSpecific", "finalResult", "failReason", "depictions"])
def test_an_invalid_informative_value_is_dropped(key: str, junk: object) -> None:
    reading = response_parsers.process(P)(reply(ROW | {key: junk}))
    assert (reading.status, reading.reasons, reading.checks) == (Status.PENDING, (), ())
    assert (reading.fail_type, reading.similarity) == (None, None)


def test_reasons_keep_only_codes() -> None:
    rows = [
        {"type": "Document", "category": "Security", "subCategory": "Name is Willeke"},
        {"type": "Document", "category": "Name is Willeke"},
        {"type": "Document"},
        "Document",
    ]
    reading = response_parsers.process(P)(reply(ROW | {"statusReasons": rows}))
    assert reading.reasons == (StatusReason(type="Document", category="Security"),)


def test_an_unknown_status_is_distinguished() -> None:
    unknown = ROW | {"status": "verifying"}
    assert cause(response_parsers.process(P), unknown) == "unknown-status"
    assert cause(response_parsers.started_process(P), unknown) == "unknown-status"
    assert cause(response_parsers.created_process, unknown) == "unknown-status"
    assert cause(response_parsers.dossier(D), ABOUT | {"processes": [unknown]}) == "unknown-status"
    assert cause(response_parsers.process(P), ROW | {"status": None}) == "unreadable"
    assert cause(response_parsers.process(P), ROW | {"status": ["pending"]}) == "unreadable"


def test_an_answer_about_something_else_is_foreign() -> None:
    assert cause(response_parsers.process("another"), ROW) == "foreign-body"
    assert cause(response_parsers.started_process("another"), ROW) == "foreign-body"
    assert cause(response_parsers.dossier("another"), ABOUT) == "foreign-body"
    assert cause(response_parsers.created_dossier("another"), ABOUT) == "foreign-body"


def test_a_new_dossier_needs_an_id_and_may_repeat_the_reference() -> None:
    assert response_parsers.created_dossier("aa-1-2-3-4")(reply(ABOUT)) == D
    assert response_parsers.created_dossier("aa-1-2-3-4")(reply({"dossierId": D})) == D
    assert response_parsers.created_dossier("aa-1-2-3-4")(reply({"dossierId": D, "externalReference": None})) == D


@pytest.mark.parametrize(
    "odd",
    [
        "",
        ".",
        "..",
        "a..b",
        "a/b",
        "a\\b",
        "a b",
        "a%2fb",
        "é",
        "all",
        "ALL",
        "a\n",
        "x" * 201,
        None,
        5,
        ["a"],
        {"a": 1},
    ],
)
def test_an_id_that_could_change_a_path_is_unreadable(odd: object) -> None:
    """`all` above all: DELETE /dossiers/all empties the account."""
    assert not is_id(odd)
    assert cause(response_parsers.created_dossier("r"), {"dossierId": odd}) == "unreadable"
    assert cause(response_parsers.created_process, ROW | {"processId": odd}) == "unreadable"
    assert cause(response_parsers.dossiers, [{"dossierId": odd}]) == "unreadable"
    assert cause(response_parsers.dossier(D), ABOUT | {"processes": [ROW | {"processId": odd}]}) == "unreadable"


@pytest.mark.parametrize(("pages", "kept"), [(1, 1), (2, 2), (3, None), (True, None), ("1", None), (1.0, None)])
def test_a_new_process_has_one_page_or_two(pages: object, kept: int | None) -> None:
    read = response_parsers.created_process(reply(ROW | {"documentPages": pages}))
    assert read == NewProcess(process_id=P, status=Status.PENDING, document_pages=kept)


def test_a_dossier_and_its_processes() -> None:
    reading = response_parsers.dossier(D)(reply(ABOUT | {"processes": [ROW, ROW | {"provider": "connect:idmethod"}]}))
    assert reading.reference == "aa-1-2-3-4"
    assert reading.processes[0] == ListedProcess(
        process_id=P,
        provider="signicatpictureid",
        process_type="document",
        status=Status.PENDING,
        created_at=TIMES["createdAt"],
        updated_at=TIMES["updatedAt"],
    )
    assert reading.processes[1].provider == "connect:idmethod"
    assert response_parsers.dossier(D)(reply(ABOUT)).processes == ()
    assert cause(response_parsers.dossier(D), ABOUT | {"processes": {}}) == "unreadable"


def test_dossiers() -> None:
    read = response_parsers.dossiers(reply([ABOUT, {"dossierId": D, "externalReference": 5, "createdAt": "Willeke"}]))
    assert read == (
        ListedDossier(dossier_id=D, reference="aa-1-2-3-4", created_at=TIMES["createdAt"]),
        ListedDossier(dossier_id=D, reference=None, created_at=""),
    )
    assert response_parsers.dossiers(reply([])) == ()


def test_a_list_with_one_bad_row_proves_nothing() -> None:
    assert cause(response_parsers.dossiers, [ABOUT, "x"]) == "unreadable"
    assert cause(response_parsers.dossiers, {"dossiers": []}) == "unreadable"
    assert cause(response_parsers.process_page, {"processes": [ROW, None], "totalResults": 2}) == "unreadable"
    assert cause(response_parsers.process_page, {"processes": [ROW]}) == "unreadable"


def test_an_unknown_status_of_another_product_does_not_invalidate_a_page() -> None:
    others = ROW | {"provider": "webid", "status": "not_matched"}
    page = response_parsers.process_page(reply({"processes": [others, ROW], "totalResults": 2}))
    assert [row.process_id for row in page.processes] == [ROW["processId"]]
    assert cause(
        response_parsers.process_page, {"processes": [ROW | {"status": "not_matched"}], "totalResults": 1}
    ) == ("unknown-status")


def test_a_page_of_processes_knows_their_dossiers() -> None:
    page = response_parsers.process_page(reply({"processes": [ROW | {"dossier": ABOUT}, ROW], "totalResults": 7}))
    assert page.total == 7
    assert (page.processes[0].dossier_id, page.processes[0].reference) == (D, "aa-1-2-3-4")
    assert (page.processes[1].dossier_id, page.processes[1].reference) == (None, None)


@pytest.mark.parametrize("link", ["https://a.example/capture/#/artifact=x", "http://127.0.0.1:8080/c"])
def test_a_capture_link(link: str) -> None:
    assert response_parsers.capture_link(reply({"url": link})) == link


@pytest.mark.parametrize(
    "link",
    ["", "ftp://a.example", "javascript:alert(1)", "https://", "https://a b", "https://a\n", "https://[a", 5, None],
)
def test_a_value_that_is_not_a_link_is_unreadable(link: object) -> None:
    with pytest.raises(ValueError):  # urlsplit's own will do: `classify` takes any
        response_parsers.capture_link(reply({"url": link}))


def test_an_image_is_a_jpeg_or_a_png() -> None:
    for image in (b"\xff\xd8\xff\xe0rest", b"\x89PNG\r\n\x1a\nrest"):
        assert response_parsers.image(HttpReply(status=200, body=image)) == image
    for other in (b"", b"<html>", b'{"title":"Not Found"}'):
        with pytest.raises(Unreadable):
            response_parsers.image(HttpReply(status=200, body=other))


@pytest.mark.parametrize("body", [b"", b" \r\n", b"{}", b"{ }\n"])
def test_no_body_may_be_blank_or_an_empty_object(body: bytes) -> None:
    response_parsers.empty_body(HttpReply(status=201, body=body, document=response_parsers.parse(body)))


@pytest.mark.parametrize(
    "body", [b'{"status":"great"}', b'{"ok":true}', b"[]", b"null", b'"x"', b"0", b"<html>", b"\0"]
)
def test_an_undocumented_body_is_not_from_assure(body: bytes) -> None:
    """Design §5: done is exactly the documented success. [I1]"""
    with pytest.raises(Unreadable):
        response_parsers.empty_body(HttpReply(status=201, body=body, document=response_parsers.parse(body)))


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, b'"\\ud800"'])
def test_a_value_that_is_not_json_is_not_json(body: bytes) -> None:
    assert response_parsers.parse(body) is NOT_JSON


READERS: list[Reader[Any]] = [
    response_parsers.empty_body,
    response_parsers.created_dossier("r"),
    response_parsers.created_process,
    response_parsers.capture_link,
    response_parsers.started_process(P),
    response_parsers.process(P),
    response_parsers.dossier(D),
    response_parsers.dossiers,
    response_parsers.process_page,
    response_parsers.image,
]

KEYS = st.text(max_size=5) | st.sampled_from(
    [
        *INCONCLUSIVE,
        *ABOUT,
        "document",
        "securityChecks",
        "passed",
        "type",
        "category",
        "processes",
        "totalResults",
        "url",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([P, D, "pending", "https://["])
)
HOSTILE = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=12)


@settings(max_examples=500, deadline=None)
@given(HOSTILE, st.sampled_from(READERS))
def test_a_parser_raises_only_value_error_for_any_body(document: object, read: Reader[Any]) -> None:
    with suppress(ValueError):
        read(HttpReply(status=200, body=b"x", document=document))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, HOSTILE, max_size=4))
def test_a_valid_process_stays_readable_with_extra_fields(junk: dict[str, object]) -> None:
    body = ROW | {"providerSpecific": {"document": {"securityChecks": junk}}, "statusReasons": [junk]} | junk
    reading = response_parsers.process(P)(HttpReply(status=200, document=body | {"processId": P, "status": "pending"}))
    assert reading.status is Status.PENDING


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_parse_or_do_not(body: bytes) -> None:
    response_parsers.parse(body)


PASSPORT = {
    "id": 137,
    "country": "NLD",
    "countryName": "Netherlands",
    "type": "passport",
    "name": "Dutch passport",
    "subType": "Passport",
    "icao": "TD3",
}


def test_document_types_are_read_with_all_that_is_documented() -> None:
    assert response_parsers.document_types(reply([PASSPORT])) == (
        DocumentType(
            id=137,
            country="NLD",
            country_name="Netherlands",
            type="passport",
            name="Dutch passport",
            sub_type="Passport",
            icao="TD3",
        ),
    )
    assert response_parsers.document_types(reply([])) == ()
    assert response_parsers.document_types(HttpReply(status=204)) == ()


@pytest.mark.parametrize(
    ("key", "odd"),
    [("id", odd) for odd in (None, True, 0, -1, 2**31, 137.0, "137")]
    + [(key, odd) for key in ("country", "type") for odd in (None, "", 1, "two words", "x" * 65, "\x1b[2J")],
)
def test_one_invalid_document_type_invalidates_the_list(key: str, odd: object) -> None:
    """It might be the second that fits."""
    assert cause(response_parsers.document_types, [PASSPORT, PASSPORT | {key: odd}]) == "unreadable"


@pytest.mark.parametrize("odd", [None, 1, [], "\x1b[2J", "a\nb", "x" * 101])
@pytest.mark.parametrize("key", ["countryName", "name", "subType", "icao"])
def test_an_invalid_description_of_a_document_type_is_dropped(key: str, odd: object) -> None:
    (row,) = response_parsers.document_types(reply([PASSPORT | {key: odd}]))
    assert (row.id, row.country, row.type) == (137, "NLD", "passport")
    assert "" in (row.country_name, row.name, row.sub_type, row.icao)


def test_a_204_with_a_body_is_not_a_list() -> None:
    with pytest.raises(Unreadable):
        response_parsers.document_types(HttpReply(status=204, body=b"<html>"))
