"""Processes: creation, images, start, result, and end (contract §6 to §9)."""

from typing import Any

import pytest

from agent.sandbox import CANARIES
from agent.sandbox.config import DOCUMENTS

from .conftest import Begin
from .support import JPEG, PNG, Api, data_url, marked

TWO_PAGES = next(document.id for document in DOCUMENTS if document.pages == 2)
GOOD = {"provider": "signicatpictureid", "documentId": 137}


async def test_a_new_process_is_pending_and_documentselfie_by_default(api: Api) -> None:
    dossier = await api.dossier()
    body = (await api.call("POST", f"/dossiers/{dossier}/processes", json=GOOD)).json()
    assert (body["processType"], body["status"], body["documentPages"]) == ("documentSelfie", "pending", 1)
    body = (await api.call("POST", f"/dossiers/{dossier}/processes", json=GOOD | {"documentId": TWO_PAGES})).json()
    assert body["documentPages"] == 2


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        {"provider": "signicatpictureid"},
        {"documentId": 137},
        GOOD | {"provider": "onfido"},
        GOOD | {"provider": "nobody"},
        GOOD | {"processType": "substantial"},
        GOOD | {"documentId": 1},
        GOOD | {"documentId": "137"},
        GOOD | {"documentId": True},
        GOOD | {"eventTags": "tag"},
        GOOD | {"eventTags": [1]},
        GOOD | {"notificationUrl": "https://shop.example"},
    ],
)
async def test_a_process_that_cannot_be_is_400(api: Api, sent: dict[str, Any] | None) -> None:
    dossier = await api.dossier()
    response = await api.call("POST", f"/dossiers/{dossier}/processes", json=sent)
    assert response.status_code == 400
    assert response.json()["timestamp"]
    assert (await api.read(f"/dossiers/{dossier}"))["processes"] == []


async def test_images_replace_each_other_until_the_start(api: Api) -> None:
    path = await api.process()
    for content in (JPEG, PNG):
        response = await api.call("POST", f"{path}/images", json={"front": data_url(content)})
        assert (response.status_code, response.content) == (201, b"")
        assert "content-type" not in response.headers
    response = await api.call("GET", f"{path}/images", params={"depiction": "front"})
    assert response.content == PNG
    await api.call("POST", path)
    assert (await api.call("POST", f"{path}/images", json={"front": data_url()})).status_code == 400
    assert (await api.call("GET", f"{path}/images", params={"depiction": "front"})).content == PNG
    assert [violation["kind"] for violation in api.server.ledger.violations] == ["upload-after-start"]


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        {"portrait": data_url()},
        {"front": "text"},
        {"front": 7},
        {"front": data_url().replace("jpeg", "png")},
        {"front": data_url().replace("jpeg", "gif")},
        {"front": "data:image/jpeg;base64,%%%"},
        {"front": "data:image/jpeg;base64,"},
        {"front": data_url(), "back": "text"},
        {"front": data_url(JPEG + bytes(1000))},
    ],
)
async def test_invalid_images_are_refused_and_change_nothing(begin: Begin, sent: dict[str, Any] | None) -> None:
    api = await begin(max_image_bytes=1000)
    path = await api.process()
    assert (await api.call("POST", f"{path}/images", json=sent)).status_code == 400
    assert (await api.call("GET", f"{path}/images", params={"depiction": "front"})).status_code == 404


async def test_oversize_and_late_images_have_switches(begin: Begin) -> None:
    api = await begin(max_image_bytes=20, oversize_status=413, late_images_status=409)
    path = await api.process()
    headers = {"Authorization": f"Bearer {api.token}"}
    for content, status in ((bytes(30), 413), (b"", 201)):
        sent = {"front": data_url(JPEG + content)}
        assert (await api.http.post(f"/assure{path}/images", json=sent, headers=headers)).status_code == status
    await api.call("POST", path)
    sent = {"front": data_url()}
    assert (await api.http.post(f"/assure{path}/images", json=sent, headers=headers)).status_code == 409


@pytest.mark.parametrize("depiction", ["portrait", "PORTRAIT", "FRONT", "", "side", None])
async def test_an_image_is_requested_in_lower_case_and_never_as_portrait(api: Api, depiction: str | None) -> None:
    path = await api.process()
    await api.call("POST", f"{path}/images", json={"front": data_url()})
    params = {} if depiction is None else {"depiction": depiction}
    assert (await api.call("GET", f"{path}/images", params=params)).status_code == 400
    portrait = (depiction or "").lower() == "portrait"
    assert [violation["kind"] for violation in api.server.ledger.violations] == ["portrait"] * portrait


@pytest.mark.parametrize(
    ("document", "kind", "images", "status"),
    [
        (137, "document", (), 400),
        (137, "document", ("front",), 200),
        (TWO_PAGES, "document", ("front",), 400),
        (TWO_PAGES, "document", ("front", "back"), 200),
        (137, "documentSelfie", ("front",), 400),
        (TWO_PAGES, "documentSelfie", ("front", "back", "selfie"), 200),
    ],
)
async def test_a_start_needs_its_images(
    api: Api, document: int, kind: str, images: tuple[str, ...], status: int
) -> None:
    path = await api.process(document=document, kind=kind)
    if images:
        await api.call("POST", f"{path}/images", json={name: data_url() for name in images})
    assert (await api.call("POST", path)).status_code == status
    assert (await api.read(path))["status"] == ("processing" if status == 200 else "pending")
    assert api.entry()["processes"][0]["starts"] == (1 if status == 200 else 0)


async def test_a_start_without_images_can_be_accepted_and_fail_later(begin: Begin) -> None:
    api = await begin(start_without_images="fail")
    path = await api.process()
    assert (await api.call("POST", path)).json()["status"] == "processing"
    api.clock.advance(10)
    assert (await api.read(path))["failReason"]["type"] == "upload_failed"


@pytest.mark.parametrize("sent", [{}, {"json": {}}, {"json": {"imageDepiction": "front"}}])
async def test_the_result_is_visible_after_its_delay_and_not_before(api: Api, sent: dict[str, Any]) -> None:
    path = await api.process()
    await api.call("POST", f"{path}/images", json={"front": data_url()})
    started = (await api.call("POST", path, **sent)).json()
    assert started == {"processId": path.split("/")[-1], "status": "processing"}
    api.clock.advance(9.9)
    assert (await api.read(path))["status"] == "processing"
    api.clock.advance(0.1)
    body = await api.read(path)
    assert (body["status"], body["updatedAt"]) == ("accepted", "2023-11-14T22:13:30Z")


async def test_a_second_start_is_refused_and_counted(api: Api) -> None:
    path = await api.started()
    response = await api.call("POST", path)
    assert (response.status_code, response.json()["detail"]) == (400, "Verification already started.")
    assert api.entry()["processes"][0]["starts"] == 2
    assert [violation["kind"] for violation in api.server.ledger.violations] == ["start-while-not-pending"]


@pytest.mark.parametrize(("marker", "seconds"), [("1500ms", 1.5), ("2s", 2), ("0.5m", 30), ("0s", 0)])
async def test_a_marker_in_an_image_sets_the_delay(api: Api, marker: str, seconds: float) -> None:
    path = await api.process()
    await api.call("POST", f"{path}/images", json={"front": marked(f"sandbox-delay={marker}", PNG)})
    reply = (await api.call("POST", path)).json()
    assert reply["status"] == ("accepted" if seconds == 0 else "processing")
    api.clock.advance(seconds)
    assert (await api.read(path))["status"] == "accepted"


async def test_outcomes_come_by_weight_and_by_seed(begin: Begin) -> None:
    async def outcomes() -> list[str]:
        api = await begin(outcomes={"rejected": 1, "inconclusive": 1}, seed=3)
        paths = [await api.started() for _ in range(12)]
        api.clock.advance(10)
        return [(await api.read(path))["status"] for path in paths]

    first = await outcomes()
    assert set(first) == {"rejected", "inconclusive"}
    assert await outcomes() == first


async def test_results_contain_canaries_and_the_documented_checks(api: Api) -> None:
    path = await api.started("sandbox-outcome=accepted", "documentSelfie")
    api.clock.advance(10)
    response = await api.call("GET", path)
    assert all(canary in response.text for canary in CANARIES)
    body = response.json()
    assert len(body["finalResult"]) == 10
    checks = body["providerSpecific"]["document"]["securityChecks"]
    assert checks["nonExpired"] == {"name": "Document not expired", "passed": True}
    assert checks["selfieAndDocumentMatch"]["similarityLevel"] == "high"
    assert "passed" not in checks["selfieAndDocumentMatch"]


async def test_only_a_pending_process_can_be_failed_by_request(api: Api) -> None:
    path = await api.process()
    body = (await api.call("POST", f"{path}/fail")).json()
    assert (body["status"], body["reason"]["category"]) == ("failed", "User.Request")
    assert (await api.call("POST", f"{path}/fail")).status_code == 409
    assert (await api.read(path))["failReason"]["message"] == "Failed by request."
    assert (await api.read(path))["depictions"] == []


async def test_a_deleted_process_is_gone_and_its_dossier_stays(api: Api) -> None:
    path = await api.started()
    assert (await api.call("DELETE", path)).status_code == 204
    assert (await api.call("DELETE", path)).status_code == 404
    assert (await api.read(path.split("/processes")[0]))["processes"] == []


async def test_unknown_fields_pass_when_not_strict_but_are_noted(begin: Begin) -> None:
    api = await begin(strict=False)
    headers = {"Authorization": f"Bearer {api.token}"}
    response = await api.http.post(
        "/assure/dossiers", json={"externalReference": "r", "nickname": "x"}, headers=headers
    )
    assert response.status_code == 201
    assert [(entry["kind"], entry["detail"]) for entry in api.server.ledger.violations] == [
        ("unknown-field", "nickname")
    ]
