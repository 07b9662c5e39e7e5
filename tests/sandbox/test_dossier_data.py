"""User data and files of a dossier (contract §4): stored as the vendor describes, and deleted with the dossier."""

from pathlib import Path
from typing import Any

import pytest

from .conftest import Begin
from .support import JPEG, PNG, Api, data_url

PERSON = {"firstName": "Ada", "lastName": "Canary", "address": {"locality": "Oslo", "country": "NOR"}}


async def user_data(api: Api, dossier: str) -> Any:
    return (await api.call("GET", f"/dossiers/{dossier}/userdata")).json()["userData"]


async def held(api: Api) -> Any:
    return (await api.http.get("/sandbox/ledger")).json()["holds"]


async def test_user_data_is_set_once_and_updated_field_by_field(api: Api) -> None:
    dossier = await api.dossier()
    path = f"/dossiers/{dossier}/userdata"
    assert (await api.call("GET", path)).status_code == 404
    assert (await api.call("PUT", path, json={"userData": PERSON})).status_code == 404
    created = await api.call("POST", path, json={"userData": PERSON})
    assert (created.status_code, created.content) == (201, b"")
    assert (await api.call("POST", path, json={"userData": {}})).status_code == 409
    api.clock.advance(60)
    change = {"firstName": "", "gender": "F", "email": None, "address": {"locality": "Bergen"}}
    assert (await api.call("PUT", path, json={"userData": change})).status_code == 204
    assert (await api.call("GET", path)).json() == {
        "dossierId": dossier,
        "userData": {"lastName": "Canary", "gender": "F", "address": {"locality": "Bergen", "country": "NOR"}},
        "createdAt": "2023-11-14T22:13:20Z",
        "updatedAt": "2023-11-14T22:14:20Z",
    }
    assert (await api.call("DELETE", path)).status_code == 204
    assert (await api.call("DELETE", path)).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        {"firstName": "Ada"},
        {"userData": {"firstName": "x" * 65}},
        {"userData": {"gender": "X"}},
        {"userData": {"mobile": 47}},
        {"userData": {"surprise": "x"}},
        {"userData": {"address": {"surprise": "x"}}},
        {"userData": {"address": {"country": 7}}},
        {"userData": []},
    ],
)
async def test_invalid_user_data_is_400_and_changes_nothing(api: Api, sent: dict[str, Any]) -> None:
    dossier = await api.dossier()
    assert (await api.call("POST", f"/dossiers/{dossier}/userdata", json=sent)).status_code == 400
    assert await held(api) == {}
    await api.call("POST", f"/dossiers/{dossier}/userdata", json={"userData": PERSON})
    assert (await api.call("PUT", f"/dossiers/{dossier}/userdata", json=sent)).status_code == 400
    assert await user_data(api, dossier) == PERSON


async def test_files_are_uploaded_copied_replaced_and_deleted(api: Api) -> None:
    process = await api.process(kind="documentSelfie")
    dossier = api.entry()["dossierId"]
    path = f"/dossiers/{dossier}/files"
    assert (await api.call("DELETE", path)).status_code == 404
    assert (await api.call("POST", path, json={"front": data_url(PNG)})).status_code == 201
    assert (await api.call("GET", path, params={"depiction": "front"})).content == PNG
    assert (await api.call("GET", path, params={"depiction": "back"})).status_code == 404
    for depiction in ("portrait", "", "FRONT"):
        assert (await api.call("GET", path, params={"depiction": depiction})).status_code == 400
    copy = {"processId": process.rpartition("/")[2]}
    assert (await api.call("POST", path, json=copy)).status_code == 404  # it has no images yet
    await api.call("POST", f"{process}/images", json={"front": data_url(JPEG), "selfie": data_url(JPEG)})
    assert (await api.call("POST", path, json=copy)).status_code == 201
    assert (await api.call("GET", path, params={"depiction": "front"})).content == JPEG
    assert await held(api) == {dossier: ["files/front", "files/selfie"]}
    for sent in ({}, {"front": "nonsense"}, {"surprise": 1}, {"processId": 7}, {"front": None}):
        assert (await api.call("POST", path, json=sent)).status_code == 400
    assert (await api.call("POST", path, json={"processId": "another"})).status_code == 404
    assert (await api.call("DELETE", path)).status_code == 204
    assert (await api.call("GET", path, params={"depiction": "front"})).status_code == 404


@pytest.mark.parametrize("used", [True, False])
async def test_a_start_without_images_may_take_the_files_of_the_dossier(begin: Begin, used: bool) -> None:
    api = await begin(start_uses_files=used)
    process = await api.process()
    await api.call("POST", f"/dossiers/{api.entry()['dossierId']}/files", json={"front": data_url()})
    assert (await api.call("POST", process)).status_code == (200 if used else 400)
    assert api.entry()["processes"][0]["starts"] == used


async def test_user_data_and_files_are_gone_with_the_dossier(begin: Begin, tmp_path: Path) -> None:
    """[I7] They are deleted from the file of the simulated world as well."""
    file = tmp_path / "sandbox.json"
    api = await begin(persist=file)
    dossier = await api.dossier()
    await api.call("POST", f"/dossiers/{dossier}/userdata", json={"userData": PERSON})
    await api.call("POST", f"/dossiers/{dossier}/files", json={"selfie": data_url(PNG)})
    await api.server.stop()

    again = await begin(persist=file)
    assert await held(again) == {dossier: ["userData", "files/selfie"]}
    assert await user_data(again, dossier) == PERSON
    picture = await again.call("GET", f"/dossiers/{dossier}/files", params={"depiction": "selfie"})
    assert picture.content == PNG
    assert (await again.call("DELETE", f"/dossiers/{dossier}")).status_code == 204
    assert await held(again) == {}
    for path in ("userdata", "files?depiction=selfie"):
        found = await again.http.get(f"/assure/dossiers/{dossier}/{path}", headers=bearer(again))
        assert found.status_code == 404
    await again.server.stop()
    assert "Canary" not in file.read_text()
    assert data_url(PNG).partition(",")[2] not in file.read_text()


def bearer(api: Api) -> dict[str, str]:
    return {"Authorization": f"Bearer {api.token}"}
