"""Capture configurations (contract §10): the pages do not hide the API, and a uiProfile has its effect."""

from typing import Any

import pytest

from agent.sandbox.config import DOCUMENTS

from .conftest import Begin
from .support import Api

PICTURE_ID = "signicatpictureidConfig"
SWEDISH = next(row.id for row in DOCUMENTS if (row.country, row.type) == ("SWE", "passport"))
PATH = "/capture/configurations"


async def make(api: Api, name: str, **settings: Any) -> None:
    assert (await api.call("POST", f"{PATH}/{name}", json={PICTURE_ID: settings})).status_code == 201


async def test_a_configuration_is_created_once_listed_replaced_and_deleted(api: Api) -> None:
    assert (await api.call("GET", PATH)).json() == []
    assert (await api.call("GET", f"{PATH}/shop")).status_code == 404
    assert (await api.call("PUT", f"{PATH}/shop", json={})).status_code == 400
    created = await api.call("POST", f"{PATH}/shop", json={"pageTitle": "Shop", "favicon": None})
    times = {"id": "shop", "createdAt": "2023-11-14T22:13:20Z", "updatedAt": "2023-11-14T22:13:20Z"}
    assert (created.status_code, created.json()) == (201, {"pageTitle": "Shop"} | times)
    assert (await api.call("POST", f"{PATH}/shop", json={})).status_code == 409
    api.clock.advance(60)
    settings = {PICTURE_ID: {"allowedIdTypes": [137], "translations": {"en": {"start_title": "Hello"}}}}
    assert (await api.call("PUT", f"{PATH}/shop", json=settings)).status_code == 200
    assert (await api.call("GET", f"{PATH}/shop")).json() == settings
    assert (await api.call("GET", PATH)).json() == [times | {"updatedAt": "2023-11-14T22:14:20Z"}]
    assert (await api.call("DELETE", f"{PATH}/shop")).status_code == 204
    assert (await api.call("DELETE", f"{PATH}/shop")).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {"surprise": 1},
        {"pageTitle": 7},
        {"takeSelfie": "yes"},
        {"maxRetries": True},
        {"allowFileUpload": "desktop"},
        {"translations": []},
        {"prerequisitesScreenItems": ["x"]},
        {"prerequisitesScreenItems": [{"icon": 7}]},
        {"prerequisitesScreenItems": [{"surprise": 7}]},
        {"documentTypes": ["libraryCard"]},
        {PICTURE_ID: {"surprise": 1}},
        {PICTURE_ID: {"allowedIdTypes": ["137"]}},
        {PICTURE_ID: {"allowTakePhoto": [7]}},
        {PICTURE_ID: {"defaultCountry": 7}},
        {PICTURE_ID: {"translations": {"en": 7}}},
        {"languages": ["en", "en"]},
    ],
)
async def test_an_invalid_configuration_is_400(api: Api, sent: dict[str, Any] | None) -> None:
    assert (await api.call("POST", f"{PATH}/shop", json=sent)).status_code == 400
    assert (await api.call("GET", PATH)).json() == []


async def test_an_id_has_at_most_100_characters(api: Api) -> None:
    for length, status in ((100, 201), (101, 400)):
        assert (await api.call("POST", f"{PATH}/{'x' * length}", json={})).status_code == status


@pytest.mark.parametrize("path", ["", "/shop"])
async def test_the_capture_pages_do_not_shadow_the_configurations(api: Api, path: str) -> None:
    """Each method gets Assure's JSON, needs a token, and lists the allowed methods."""
    methods = {"": {"GET"}, "/shop": {"GET", "POST", "PUT", "DELETE"}}[path]
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH"):
        response = await api.http.request(method, f"/assure{PATH}{path}", json={})
        assert response.status_code == (401 if method in methods else 405)
        assert response.json()["status"] == response.status_code
        if method not in methods:
            assert set(response.headers["allow"].split(", ")) == methods | {"HEAD"}
    assert (await api.http.get(f"/assure{PATH}/shop/picture")).json()["status"] == 404


async def test_configurations_survive_a_restart(begin: Begin, tmp_path: Any) -> None:
    api = await begin(persist=tmp_path / "sandbox.json")
    await make(api, "shop", defaultCountry="SWE")
    await api.server.stop()
    again = await begin(persist=tmp_path / "sandbox.json")
    assert (await again.call("GET", f"{PATH}/shop")).json() == {PICTURE_ID: {"defaultCountry": "SWE"}}


async def test_a_profile_chooses_country_and_documents(begin: Begin) -> None:
    api = await begin(interactive=True)
    await make(api, "nordic", defaultCountry="SWE", allowedIdTypes=[137, SWEDISH, 4711])
    link = await api.link(captureParameters={"uiProfile": "nordic"})
    page = (await api.http.get(f"{link}/country")).text
    assert 'value="SWE" required checked' in " ".join(page.split())
    assert "Norway" not in page
    assert (await api.http.post(f"{link}/country", data={"country": "NOR"})).status_code == 400
    await api.http.post(f"{link}/country", data={"country": "SWE"})
    page = (await api.http.get(f"{link}/document")).text
    assert page.count('name="document"') == 1
    assert (await api.http.get("/sandbox/ledger")).json()["missingProfiles"] == {}


async def test_the_request_overrides_its_profile(begin: Begin) -> None:
    api = await begin(interactive=True)
    await make(api, "nordic", defaultCountry="SWE")
    override = {PICTURE_ID: {"defaultCountry": "DEU"}}
    for parameters, country in (
        ({"uiProfileJSON": override}, "DEU"),
        ({"uiProfile": "nordic", "uiProfileJSON": override}, "DEU"),
        ({"uiProfile": "nordic", "uiProfileJSON": override, "defaultCountry": "BEL"}, "BEL"),
        ({"uiProfile": "nordic", "defaultCountry": "XXX"}, "NLD"),
    ):
        page = (await api.http.get(await api.link(captureParameters=parameters) + "/country")).text
        assert f'value="{country}" required checked' in " ".join(page.split())


@pytest.mark.parametrize(("upload", "photo"), [(["desktop"], []), ([], ["mobile"])])
async def test_a_profile_chooses_how_pictures_are_taken(begin: Begin, upload: list[str], photo: list[str]) -> None:
    api = await begin(interactive=True)
    await make(api, "one-way", allowFileUpload=upload, allowTakePhoto=photo)
    provider = {"provider": "signicatpictureid", "processType": "document", "documentId": 137}
    link = await api.link(captureParameters={"uiProfile": "one-way"}, providers=[provider])
    page = " ".join((await api.http.get(f"{link}/front")).text.split())
    assert ("Take a picture</button>" in page) == bool(photo)
    assert ('class="file" hidden' in page) == (not upload)


async def test_an_unknown_profile_is_reported_and_the_default_is_used(begin: Begin) -> None:
    api = await begin(interactive=True)
    note = "names no capture configuration"
    assert note in (await api.http.get(await api.link(captureParameters={"uiProfile": "typo"}))).text
    assert (await api.http.get("/sandbox/ledger")).json()["missingProfiles"] == {api.entry()["dossierId"]: 1}
    await make(api, "typo")
    assert note not in (await api.http.get(await api.link(captureParameters={"uiProfile": "typo"}))).text
    assert note not in (await api.http.get(await api.link())).text


async def test_an_unknown_profile_can_be_refused(begin: Begin) -> None:
    api = await begin(unknown_profile="refuse")
    body = {
        "providers": [{"provider": "signicatpictureid"}],
        "redirectUrl": "https://shop.example/",
        "captureParameters": {"uiProfile": "typo"},
    }
    path = f"/dossiers/{await api.dossier()}/capture"
    assert (await api.call("POST", path, json=body)).status_code == 400
    await make(api, "typo")
    assert (await api.call("POST", path, json=body)).status_code == 201
    body["captureParameters"] = {"uiProfile": "sandbox-outcome-rejected"}
    assert (await api.call("POST", path, json=body)).status_code == 201
