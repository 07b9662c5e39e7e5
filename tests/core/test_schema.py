"""The JSON Schema accepts what the models accept, and refuses what it can."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from test_request import capture, put, upload

from agent.core.request import read_request
from agent.core.request_schema import request_schema
from agent.source.error_messages import fields

SCHEMA = request_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
TYPE = {"country": "NLD", "type": "passport"}


def ours(document: Any) -> bool:
    try:
        read_request(document)
    except ValidationError:
        return False
    return True


def theirs(document: Any) -> bool:
    return bool(VALIDATOR.is_valid(document))


def typed() -> dict[str, Any]:
    """The smallest request with a document type."""
    document = upload()
    document["spec"]["upload"] = {"documentType": TYPE, "images": {"front": "a/front.jpg"}}
    return document


def selfie() -> dict[str, Any]:
    document = put(upload(), "spec/processType", "documentSelfie")
    return put(document, "spec/upload/images/selfie", "a/selfie.jpg")


def test_the_schema_is_valid_for_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_schema_has_every_field_with_its_description() -> None:
    for path in fields():
        part = SCHEMA
        for step in path:
            part = part["properties"][step]
            below = next((kind for kind in part.get("anyOf", ()) if "$ref" in kind), part)
            if "$ref" in below:
                target = SCHEMA["$defs"][below["$ref"].rpartition("/")[2]]
                assert part.get("description") or target["description"], path
                part = target
            else:
                assert part["description"], path


@pytest.mark.parametrize("result", [{"keep": "claims"}, {"keep": "claims", "claimsTtl": "90d"}, {"keep": "outcome"}])
def test_every_value_of_keep_is_accepted(result: Any) -> None:
    assert ours(put(upload(), "spec/result", result))
    assert theirs(put(upload(), "spec/result", result))


@pytest.mark.parametrize("smallest", [upload, capture, typed, selfie])
def test_the_smallest_requests_are_accepted(smallest: Any) -> None:
    assert ours(smallest())
    assert theirs(smallest())


BAD: dict[str, Any] = {
    "no request": [],
    "another version": put(upload(), "apiVersion", "assure-agent/v2"),
    "another kind": put(upload(), "kind", "Pod"),
    "an unknown field": put(upload(), "spec/nope", 1),
    "an unknown field far below": put(upload(), "spec/upload/images/portrait", "a.jpg"),
    "no name": put(upload(), "metadata", {}),
    "a name in capitals": put(upload(), "metadata/name", "Customer"),
    "a long name": put(upload(), "metadata/name", "a" * 254),
    "seventeen labels": put(upload(), "metadata/labels", {f"k{number}": "v" for number in range(17)}),
    "a label key with a space": put(upload(), "metadata/labels", {"a b": "v"}),
    "a label key of two slashes": put(upload(), "metadata/labels", {"a/b/c": "v"}),
    "a label that is a number": put(upload(), "metadata/labels", {"team": 1}),
    "a long label": put(upload(), "metadata/labels", {"team": "x" * 64}),
    "an annotation that is a number": put(upload(), "metadata/annotations", {"team": 1}),
    "a misspelled annotation of the agent": put(upload(), "metadata/annotations", {"assure-agent/re-run": "x"}),
    "an empty rerun token": put(upload(), "metadata/annotations", {"assure-agent/rerun": ""}),
    "a rerun token of two lines": put(upload(), "metadata/annotations", {"assure-agent/rerun": "a\nb"}),
    "a long rerun token": put(upload(), "metadata/annotations", {"assure-agent/rerun": "x" * 201}),
    "neither upload nor capture": put(upload(), "spec/upload", None),
    "upload and capture": put(upload(), "spec/capture", {"redirectUrl": "https://shop.example/"}),
    "an unknown process type": put(upload(), "spec/processType", "documentVideo"),
    "neither id nor type": put(upload(), "spec/upload/documentId", None),
    "id and type": put(upload(), "spec/upload/documentType", TYPE),
    "an id of zero": put(upload(), "spec/upload/documentId", 0),
    "an id that is too large": put(upload(), "spec/upload/documentId", 2**31),
    "an id that is text": put(upload(), "spec/upload/documentId", "137"),
    "an id that is true": put(upload(), "spec/upload/documentId", True),
    "a country in small letters": put(typed(), "spec/upload/documentType/country", "nld"),
    "a kind that Assure does not name": put(typed(), "spec/upload/documentType/type", "Passport"),
    "a type without a country": put(typed(), "spec/upload/documentType", {"type": "passport"}),
    "no front": put(upload(), "spec/upload/images", {"back": "a.jpg"}),
    "no selfie with documentSelfie": put(upload(), "spec/processType", "documentSelfie"),
    "a null selfie with documentSelfie": put(selfie(), "spec/upload/images/selfie", None),
    "a selfie with document": put(upload(), "spec/upload/images/selfie", "a.jpg"),
    "a boolean that is text": put(upload(), "spec/upload/readBack", "true"),
    "a deadline of nothing": put(upload(), "spec/deadline", "0s"),
    "a deadline that is a number": put(upload(), "spec/deadline", 24),
    "a deadline that is the number zero": put(upload(), "spec/deadline", 0),
    "a retention that is a number": put(upload(), "spec/retention", 24),
    "a deadline without a unit": put(upload(), "spec/deadline", "24"),
    "a negative retention": put(upload(), "spec/retention", "-1h"),
    "claims for no time": put(upload(), "spec/result", {"keep": "claims", "claimsTtl": "0s"}),
    "claimsTtl with outcome": put(upload(), "spec/result", {"keep": "outcome", "claimsTtl": "30d"}),
    "claimsTtl without claims": put(upload(), "spec/result", {"claimsTtl": "30d"}),
    "a language of words": capture(language="english please"),
    "a domain with a scheme": capture(requestDomain="https://myapp"),
    "a profile that is long": capture(uiProfile="x" * 101),
    "no redirectUrl": put(upload(), "spec", {"processType": "document", "capture": {}}),
} | {
    f"the image path {path!r}": put(upload(), "spec/upload/images/front", path)
    for path in ("", "/etc/passwd", "../a.jpg", "a/../b.jpg", "a//b.jpg", "./a.jpg", "a/", "a\\b.jpg", "a\n.jpg", "..")
} | {
    f"the redirectUrl {url!r}": capture(redirectUrl=url)
    for url in (
        "", "shop.example/x", "http://shop.example/x", "ftp://shop.example", "javascript:alert(1)", "https://",
        "https:///path", "https://u:p@shop.example/", "https://shop.example/#", "https://shop.example\\@evil.example/",
        "https://shop example/", "http://127.0.0.1.evil.example/", "http://localhost.evil.example/",
        "http://128.0.0.1/", "https://schöp.example/", "https://shop.example/" + "x" * 2048,
    )
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_the_schema_refuses_invalid_requests(what: str) -> None:
    assert not ours(BAD[what])
    assert not theirs(BAD[what])


# -- valid requests ----------------------------------------------------------------------------------------------------

URLS = (
    "https://shop.example", "HTTPS://SHOP.example:8443/a?b=c%20d", "http://localhost:8080/x", "http://LOCALHOST",
    "http://127.9.9.9:1/", "http://[::1]:8080/", "http://[0:0:0:0:0:0:0:1]", "https://[2001:db8::1]/x",
    "https://shop.example/a@b", "https://shop.example?x=@", "https://shop.example:/",
)  # fmt: skip
texts = st.text(max_size=30) | st.text("abAB09-._/ ", max_size=30)
junk = st.none() | st.booleans() | st.integers(-1, 2**32) | st.floats() | texts | st.just([]) | st.just({})
names = st.from_regex(r"[a-z0-9](?:[-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
paths = st.sampled_from(["a/front.jpg", "Zoë/voorkant 1.jpg", "..a/b", "a/...jpg", "😀.png", "a" * 1024]) | texts
durations = (
    st.sampled_from(["24h", "0", "0s", "1h30m", ".5h", "1.s", "250ms", "3µs", "9μs", "3650d", "0.0h1us"]) | texts
)
keys = st.sampled_from(["team", "example.com/team", "a.b-c_d", "assure-agent/rerun", "assure-agent/resolve"]) | texts
words = st.sampled_from(["en", "pt-BR", "NLD", "my-profile", "myapp.app.signicat.com"]) | texts


def parts(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly valid values."""
    return st.one_of(*[strategy] * 9, st.none(), junk)


images = parts({"front": maybe(paths)}, {"back": maybe(paths), "selfie": maybe(paths)})
kinds = parts({"country": st.sampled_from(["NLD", "XKX"]) | texts, "type": st.sampled_from(["passport", "visa"])}, {})
uploads = parts(
    {"images": maybe(images)},
    {"documentId": maybe(st.integers(1, 2**31 - 1)), "documentType": maybe(kinds), "readBack": maybe(st.booleans())},
)
captures = parts(
    {"redirectUrl": maybe(st.sampled_from(URLS) | texts)},
    dict.fromkeys(("uiProfile", "language", "defaultCountry", "requestDomain"), maybe(words)),
)
results = parts({}, {"keep": st.sampled_from(["outcome", "claims"]), "claimsTtl": maybe(durations)})
specs = parts(
    {"processType": st.sampled_from(["document", "documentSelfie"])},
    {
        "upload": maybe(uploads),
        "capture": maybe(captures),
        "deadline": durations,
        "retention": durations,
        "result": maybe(results),
        "suspend": maybe(st.booleans()),
    },
)
metadata = parts(
    {"name": maybe(names)},
    {
        "labels": st.dictionaries(keys, maybe(words), max_size=17),
        "annotations": st.dictionaries(keys, maybe(texts), max_size=4),
    },
)
requests = st.fixed_dictionaries(
    {"apiVersion": st.just("assure-agent/v1"), "kind": st.just("VerificationRequest")}
    | {"metadata": metadata, "spec": specs}
)
FIELDS = [path for path in fields() if len(path) > 1]


@settings(max_examples=400, deadline=None)
@given(requests)
def test_the_schema_accepts_every_valid_request(document: dict[str, Any]) -> None:
    assert theirs(document) or not ours(document)


VALUES: dict[str, Any] = {
    "name": names, "labels": st.dictionaries(keys, words), "annotations": st.dictionaries(keys, texts),
    "front": paths, "back": paths, "selfie": paths, "deadline": durations, "retention": durations,
    "redirectUrl": st.sampled_from(URLS) | texts.map("https://".__add__), "upload": uploads, "capture": captures,
    "documentType": kinds,
}  # fmt: skip


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from([upload, capture, typed, selfie]), st.sampled_from(FIELDS), st.data())
def test_the_schema_accepts_every_valid_change_of_one_field(smallest: Any, path: Any, data: st.DataObject) -> None:
    """Mostly valid requests, unlike requests that are completely random."""
    document = deepcopy(smallest())
    part = document
    for step in path[:-1]:
        part = part.setdefault(step, {})
        if not isinstance(part, dict):
            return
    part[path[-1]] = data.draw(VALUES.get(path[-1], words) | junk)
    assert theirs(document) or not ours(document)
