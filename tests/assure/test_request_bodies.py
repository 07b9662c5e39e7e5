"""Request bodies, to the byte where it matters: only documented fields, and none without a value."""

import json

from agent.assure import request_bodies
from agent.core.assure_types import CaptureOptions, Depiction, ProcessType, Status
from agent.ports import Image


def test_new_dossier() -> None:
    assert request_bodies.new_dossier("aa-1-2-3-4") == b'{"externalReference":"aa-1-2-3-4"}'


def test_new_process() -> None:
    body = request_bodies.new_process(ProcessType.DOCUMENT_SELFIE, 137)
    assert body == b'{"provider":"signicatpictureid","processType":"documentSelfie","documentId":137}'


def test_images_are_data_urls() -> None:
    images = {
        Depiction.FRONT: Image(content=b"\xff\xd8\xff", media_type="image/jpeg"),
        Depiction.SELFIE: Image(content=b"\x89PNG", media_type="image/png"),
    }
    assert json.loads(request_bodies.new_images(images)) == {
        "front": "data:image/jpeg;base64,/9j/",
        "selfie": "data:image/png;base64,iVBORw==",
    }


def test_the_smallest_capture() -> None:
    options = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/verified")
    assert json.loads(request_bodies.new_capture(options)) == {
        "providers": [{"provider": "signicatpictureid", "processType": "document"}],
        "sdk": "capture",
        "redirectUrl": "https://shop.example/verified",
    }


def test_the_largest_capture() -> None:
    options = CaptureOptions(
        process_type=ProcessType.DOCUMENT,
        redirect_url="https://shop.example/verified",
        ui_profile="my-profile",
        language="nl",
        default_country="NLD",
        request_domain="shop.app.signicat.com",
    )
    body = json.loads(request_bodies.new_capture(options))
    assert body["requestDomain"] == "shop.app.signicat.com"
    assert body["captureParameters"] == {"uiProfile": "my-profile", "uiLanguage": "nl", "defaultCountry": "NLD"}


def test_capture_parameters_hold_only_what_was_asked_for() -> None:
    options = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://a.example", language="nl")
    assert json.loads(request_bodies.new_capture(options))["captureParameters"] == {"uiLanguage": "nl"}


def test_the_query_of_processes_repeats_status_and_cuts_to_whole_seconds() -> None:
    query = request_bodies.process_query(1_800_000_000.9, (Status.ACCEPTED, Status.FAILED), 2000, 2000)
    assert query == "startCreationDate=2027-01-15T08%3A00%3A00Z&status=accepted&status=failed&offset=2000&limit=2000"
    assert (
        request_bodies.process_query(0, (), 0, 100) == "startCreationDate=1970-01-01T00%3A00%3A00Z&offset=0&limit=100"
    )
