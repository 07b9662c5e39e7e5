"""The agent keeps only known words of an error body [I6]."""

import pytest

from agent.core.classify import HttpReply, evidence_of
from agent.core.error_words import KNOWN, error_words

ASSURE = {"type": "base:client-problem", "status": 400, "detail": "Ola Nordmann has no valid passport."}
GATEWAY = "https://developer.signicat.com/errors/request"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({**ASSURE, "title": "Bad Request"}, "base:client-problem; Bad Request"),
        ({**ASSURE, "title": "Malformed Authorization header."}, "base:client-problem; Malformed Authorization header"),
        (
            {**ASSURE, "title": "The documentId 4242 is not supported."},
            "base:client-problem; The documentId ... is not supported",
        ),
        (
            {"type": GATEWAY, "title": "Invalid request", "code": "invalid_request_parameter"},
            "Invalid request; invalid_request_parameter",
        ),
        ({"code": "InvalidDocumentId"}, "InvalidDocumentId"),
        ({"code": "INVALID_TOKEN"}, "INVALID_TOKEN"),
    ],
)
def test_type_title_and_code_are_kept(document: object, words: str) -> None:
    assert error_words(document) == words


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "invalid request",
        {"detail": "invalid request", "message": "invalid", "reason": "invalid"},
        {"title": 5, "type": None, "code": ["invalid"]},
        {"title": "Ola Nordmann 010190"},
        {"type": "invalid:Nordmann", "code": "invalid_nordmann"},
        {"code": "invalid request"},
        {"code": "invalid_" * 30 + "token"},
    ],
)
def test_other_fields_and_unknown_codes_are_dropped(document: object) -> None:
    assert error_words(document) == ""


@pytest.mark.parametrize("name", ["Nordmann", "Østby", "1990-01-01", "AB123456", "documentNordmann", "a-b", "ﬁle"])
def test_a_title_keeps_no_unknown_word(name: str) -> None:
    """[I6]"""
    kept = error_words({"title": f"The document of {name} ({name}) is invalid: {name}."})
    assert kept == "The document of ... is invalid ..."


def test_a_long_title_is_cut() -> None:
    assert len(error_words({"title": "invalid " * 1000})) <= 200


def test_every_known_word_is_one_piece_in_lower_case() -> None:
    assert all(word.isascii() and word.isalpha() and word.islower() for word in KNOWN)


def test_a_success_has_no_words() -> None:
    body = {"title": "invalid"}
    assert evidence_of(HttpReply(status=200, document=body), "").words == ""
    assert evidence_of(HttpReply(status=400, document=body), "").words == "invalid"
