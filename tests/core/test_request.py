"""Valid and invalid request files."""

import json
from copy import deepcopy
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from agent.core.assure_types import Depiction, ProcessType
from agent.core.request import VerificationRequest, canonical, essence, read_request


def upload() -> dict[str, Any]:
    """The smallest upload request."""
    images = {"front": "customer-4711/front.jpg"}
    return {
        "apiVersion": "assure-agent/v1",
        "kind": "VerificationRequest",
        "metadata": {"name": "customer-4711"},
        "spec": {"processType": "document", "upload": {"documentId": 137, "images": images}},
    }


def capture(**options: Any) -> dict[str, Any]:
    """The smallest capture request."""
    document = upload()
    redirect = {"redirectUrl": "https://shop.example/verified"}
    document["spec"] = {"processType": "document", "capture": redirect | options}
    return document


def put(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy with one value set."""
    document = deepcopy(document)
    *parents, last = path.split("/")
    part = document
    for step in parents:
        part = part.setdefault(step, {})
    part[last] = value
    return document


def refusals(document: dict[str, Any]) -> dict[str, str]:
    """The messages of all errors by path. Empty for a valid request."""
    try:
        read_request(document)
    except ValidationError as error:
        return {"/".join(map(str, one["loc"])): str(one.get("ctx", {}).get("message", "")) for one in error.errors()}
    return {}


def test_the_smallest_upload_request_has_the_documented_defaults() -> None:
    request = read_request(upload())
    assert (request.name, request.mode, request.rerun_token, request.resolve_answer) == (
        "customer-4711", "upload", None, None
    )  # fmt: skip
    spec = request.spec
    assert spec.process_type is ProcessType.DOCUMENT
    assert (spec.deadline, spec.retention, spec.suspend, spec.result.keep) == (86_400.0, 0.0, False, "outcome")
    assert spec.upload is not None
    assert spec.upload.images.paths == {Depiction.FRONT: "customer-4711/front.jpg"}
    assert not spec.upload.read_back


def test_the_smallest_capture_request_has_its_mode_and_host() -> None:
    request = read_request(capture(redirectUrl="https://Shop.Example:8443/x?y=1"))
    assert request.mode == "capture"
    assert request.spec.capture is not None
    assert request.spec.capture.redirect_host == "shop.example"


def test_the_annotations_of_the_agent_are_returned_as_written() -> None:
    annotations = {"assure-agent/rerun": "2026-11-23a", "assure-agent/resolve": "retry@h-7f3a", "my/own": "x"}
    request = read_request(put(upload(), "metadata/annotations", annotations))
    assert (request.rerun_token, request.resolve_answer) == ("2026-11-23a", "retry@h-7f3a")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("apiVersion", "assure-agent/v2"),
        ("kind", "Pod"),
        ("metadata/name", "Customer"),
        ("metadata/name", "a" * 254),
        ("metadata/name", "a..b"),
        ("metadata/name", "a\n"),
        ("metadata/name", 4711),
        ("metadata/labels", {f"k{number}": "v" for number in range(17)}),
        ("metadata/labels/team", "has space"),
        ("metadata/labels/team", "x" * 64),
        ("metadata/labels/team", 1),
        ("spec/processType", "documentVideo"),
        ("spec/upload/documentId", "137"),
        ("spec/upload/documentId", 137.0),
        ("spec/upload/documentId", True),
        ("spec/upload/documentId", 0),
        ("spec/upload/documentId", 2**31),
        ("spec/upload/documentId", None),
        ("spec/upload/readBack", "true"),
        ("spec/upload/readBack", 1),
        ("spec/upload/images/front", None),
        ("spec/upload/images/portrait", "a.jpg"),
        ("spec/deadline", "0s"),
        ("spec/deadline", 24),
        ("spec/retention", "-1h"),
        ("spec/suspend", "false"),
        ("spec/nope", 1),
    ],
)
def test_an_invalid_value_is_refused_at_its_location(path: str, value: object) -> None:
    assert list(refusals(put(upload(), path, value))) == [path]


@pytest.mark.parametrize("key", ["a/b/c", "-a", "", "A/b", "x" * 64, "p" * 254 + "/k", "a b"])
def test_a_label_key_has_the_form_of_kubernetes(key: str) -> None:
    document = upload()
    document["metadata"]["labels"] = {key: "v"}
    assert list(refusals(document)) == [f"metadata/labels/{key}/[key]"]


@pytest.mark.parametrize("key", ["team", "example.com/team", "a.b-c_d", "T1"])
@pytest.mark.parametrize("value", ["", "onboarding", "A.b-c_1", "x" * 63])
def test_valid_labels_are_accepted(key: str, value: str) -> None:
    document = upload()
    document["metadata"]["labels"] = {key: value}
    assert refusals(document) == {}


def test_an_unknown_annotation_of_the_agent_is_refused() -> None:
    document = upload()
    document["metadata"]["annotations"] = {"assure-agent/re-run": "x"}
    with pytest.raises(ValidationError) as caught:
        read_request(document)
    assert "assure-agent/rerun or assure-agent/resolve" in caught.value.errors()[0]["ctx"]["hint"]


@pytest.mark.parametrize("token", ["", "a\nb", "x" * 201])
def test_a_rerun_token_is_short_and_printable(token: str) -> None:
    document = upload()
    document["metadata"]["annotations"] = {"assure-agent/rerun": token}
    assert list(refusals(document)) == ["metadata/annotations/assure-agent/rerun"]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../a.jpg",
        "a/../b.jpg",
        "a//b.jpg",
        "./a.jpg",
        "a/",
        "a\\b.jpg",
        "a\n.jpg",
        "a\0",
        "x" * 1025,
    ],
)
def test_an_image_path_stays_below_the_images_folder(path: str) -> None:
    assert list(refusals(put(upload(), "spec/upload/images/front", path))) == ["spec/upload/images/front"]


@pytest.mark.parametrize("path", ["front.jpg", "a/b/c.png", "Zoë/voorkant 1.jpg", "..a/b", "a/...jpg"])
def test_a_valid_image_path_is_accepted(path: str) -> None:
    assert refusals(put(upload(), "spec/upload/images/front", path)) == {}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop.example/x",
        "http://shop.example/x",
        "ftp://shop.example",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@shop.example/",
        "https://u:p@shop.example/",
        "https://shop.example/#part",
        "https://shop.example/#",
        "https://shop.example\\@evil.example/",
        "https://shop.example:99999/",
        "https://shop example/",
        "https://shop.example/\n",
        "https://[::1",
        "https://[zz]/",
        "https://-a.example/",
        "http://127.0.0.1.evil.example/",
        "http://localhost.evil.example/",
        "http://128.0.0.1/",
        "https://schöp.example/",
        "https://shop.example/" + "x" * 2048,
    ],
)
def test_a_redirect_url_that_could_mislead_is_refused(url: str) -> None:
    assert list(refusals(capture(redirectUrl=url))) == ["spec/capture/redirectUrl"]


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "HTTPS://SHOP.example:8443/a?b=c%20d",
        "http://localhost:8080/x",
        "http://127.0.0.1/",
        "http://127.9.9.9:1/",
        "http://[::1]:8080/",
        "https://[2001:db8::1]/x",
        "https://192.0.2.1/x",
    ],
)
def test_a_valid_redirect_url_is_accepted(url: str) -> None:
    assert refusals(capture(redirectUrl=url)) == {}


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        ("uiProfile", "my-profile", "x" * 101),
        ("language", "pt-BR", "english please"),
        ("defaultCountry", "NLD", "nld"),
        ("requestDomain", "myapp.app.signicat.com", "https://myapp"),
    ],
)
def test_invalid_capture_options_are_refused(option: str, good: str, bad: str) -> None:
    assert refusals(capture(**{option: good})) == {}
    assert list(refusals(capture(**{option: bad}))) == [f"spec/capture/{option}"]


def test_exactly_one_of_upload_and_capture_is_required() -> None:
    neither, both = upload(), upload()
    del neither["spec"]["upload"]
    both["spec"]["capture"] = {"redirectUrl": "https://shop.example/"}
    assert refusals(neither) == {"spec/upload": "expected one of upload and capture; neither is there"}
    assert refusals(both) == {"spec/capture": "expected either upload or capture, not both"}


def test_a_selfie_is_required_exactly_with_document_selfie() -> None:
    place = "spec/upload/images/selfie"
    with_selfie = put(upload(), place, "a/selfie.jpg")
    assert refusals(with_selfie) == {place: "selfie is only for documentSelfie"}
    assert refusals(put(with_selfie, "spec/processType", "documentSelfie")) == {}
    assert refusals(put(upload(), "spec/processType", "documentSelfie")) == {
        place: "selfie is missing; documentSelfie needs it"
    }


def test_exactly_one_of_document_id_and_document_type_is_required() -> None:
    both = put(upload(), "spec/upload/documentType", {"country": "NLD", "type": "passport"})
    assert refusals(both) == {"spec/upload/documentType": "expected either documentId or documentType, not both"}
    typed = put(both, "spec/upload/documentId", None)
    assert refusals(typed) == {}
    neither = put(typed, "spec/upload/documentType", None)
    assert refusals(neither) == {
        "spec/upload/documentId": "expected one of documentId and documentType; neither is there"
    }


@pytest.mark.parametrize(
    ("field", "value"), [("country", "nld"), ("country", "NL"), ("country", None), ("type", "Passport"), ("type", 1)]
)
def test_a_document_type_has_a_country_and_a_type_of_assure(field: str, value: object) -> None:
    typed = put(upload(), "spec/upload/documentId", None)
    typed = put(typed, "spec/upload/documentType", {"country": "NLD", "type": "passport"} | {field: value})
    assert list(refusals(typed)) == [f"spec/upload/documentType/{field}"]


def test_claims_are_kept_as_long_as_the_file_asks_or_thirty_days() -> None:
    def kept_for(**result: str) -> float | None:
        return read_request(put(upload(), "spec/result", result)).spec.result.kept_for

    assert kept_for() is None
    assert kept_for(keep="outcome") is None
    assert kept_for(keep="claims") == 30 * 86_400
    assert kept_for(keep="claims", claimsTtl="1h") == 3600


def test_claims_ttl_is_only_for_claims_and_above_zero() -> None:
    for result in ({"claimsTtl": "30d"}, {"keep": "outcome", "claimsTtl": "30d"}):
        ttl = put(upload(), "spec/result", result)
        assert refusals(ttl) == {"spec/result/claimsTtl": "claimsTtl is only for keep: claims"}
    zero = put(upload(), "spec/result", {"keep": "claims", "claimsTtl": "0s"})
    assert refusals(zero) == {"spec/result/claimsTtl": "expected a duration above zero"}


def test_all_errors_are_reported_together() -> None:
    document = put(put(upload(), "spec/processType", "documentSelfie"), "spec/deadline", 3)
    document = put(put(document, "metadata/name", "A"), "spec/upload/documentId", "137")
    document = put(put(document, "spec/capture", {"language": 1}), "kind", 1)
    assert set(refusals(document)) == {
        "kind",
        "metadata/name",
        "spec/upload/documentId",
        "spec/upload/images/selfie",
        "spec/capture",
        "spec/capture/redirectUrl",
        "spec/capture/language",
        "spec/deadline",
    }


def test_the_canonical_form_has_sorted_keys_defaults_and_no_nulls() -> None:
    assert canonical(read_request(upload())) == (
        b'{"apiVersion":"assure-agent/v1","kind":"VerificationRequest",'
        b'"metadata":{"annotations":{},"labels":{},"name":"customer-4711"},'
        b'"spec":{"deadline":"24h","processType":"document","result":{"keep":"outcome"},"retention":"0s","suspend":false,'
        b'"upload":{"documentId":137,"images":{"front":"customer-4711/front.jpg"},"readBack":false}}}'
    )


def test_the_canonical_form_parses_to_the_same_request() -> None:
    for document in (put(upload(), "metadata/labels", {"b": "1", "a": "2"}), capture(language="en")):
        request = read_request(document)
        assert VerificationRequest.model_validate_json(canonical(request)) == request


def test_equivalent_documents_have_the_same_canonical_form() -> None:
    plain = upload()
    spelled = put(put(upload(), "spec/deadline", "1440m"), "spec/capture", None)
    spelled["metadata"] = {"labels": {}, "name": "customer-4711"}
    first, second = (canonical(read_request(one)) for one in (plain, spelled))
    assert first == second


@pytest.mark.parametrize(
    ("path", "value", "in_place"),
    [
        ("metadata/labels", {"a": "b"}, True),
        ("metadata/annotations", {"a": "b"}, True),
        ("spec/retention", "1h", True),
        ("spec/deadline", "1h", True),
        ("spec/suspend", True, True),
        ("spec/upload/documentId", 138, False),
        ("spec/upload/images/back", "b.jpg", False),
        ("spec/upload/readBack", True, False),
        ("metadata/name", "other", False),
    ],
)
def test_the_essence_omits_fields_that_change_in_place(path: str, value: object, in_place: bool) -> None:
    before, after = (read_request(one) for one in (upload(), put(upload(), path, value)))
    assert (essence(canonical(before)) == essence(canonical(after))) is in_place
    assert canonical(before) != canonical(after)


def test_no_personal_data_appears_in_repr_or_errors() -> None:
    document = put(upload(), "spec/upload/images/front", "jan-jansen/front.jpg")
    request = read_request(document)
    assert "jansen" not in repr(request) + str(request.spec.upload)
    with pytest.raises(ValidationError) as caught:
        read_request(put(document, "spec/upload/images/front", "../jan-jansen"))
    assert "jansen" not in str(caught.value)


def test_a_request_is_immutable() -> None:
    with pytest.raises(ValidationError):
        read_request(upload()).spec.suspend = True  # type: ignore[misc]


def test_each_field_has_a_description_in_the_json_schema() -> None:
    schema = VerificationRequest.model_json_schema()
    assert json.dumps(schema)
    for model in every_model(VerificationRequest):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


def every_model(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and the models of its fields."""
    found = [model]
    for field in model.model_fields.values():
        kinds = [field.annotation, *getattr(field.annotation, "__args__", ())]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += every_model(kind)
    return found
