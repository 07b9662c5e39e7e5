"""Dossiers (contract §4) and the list of document types (§5)."""

import pytest

from agent.sandbox.config import DOCUMENTS

from .conftest import Begin
from .support import Api


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content": b""},
        {"content": b"{}"},
        {"json": {}},
        {"content": b"", "headers": {"Content-Type": "application/json"}},
    ],
)
async def test_a_dossier_needs_no_body(api: Api, sent: dict[str, object]) -> None:
    response = await api.call("POST", "/dossiers", **sent)
    assert response.status_code == 201
    assert set(response.json()) == {"dossierId", "createdAt", "updatedAt"}
    assert response.json()["createdAt"] == "2023-11-14T22:13:20Z"


async def test_the_same_reference_again_makes_another_dossier(api: Api) -> None:
    first, second = await api.dossier("same"), await api.dossier("same")
    assert first != second
    assert [entry.dossier_id for entry in api.server.ledger.by_reference("same")] == [first, second]


@pytest.mark.parametrize("sent", [{"externalReference": 7}, {"surprise": 1}])
async def test_an_undocumented_body_is_refused(api: Api, sent: dict[str, object]) -> None:
    assert (await api.call("POST", "/dossiers", json=sent)).status_code == 400


@pytest.mark.parametrize("content", [b"[]", b"{", b'"text"', b"null"])
async def test_a_body_other_than_an_object_is_refused(api: Api, content: bytes) -> None:
    assert (await api.call("POST", "/dossiers", content=content)).status_code == 400


async def test_a_body_of_another_content_type_is_refused(api: Api) -> None:
    assert (await api.call("POST", "/dossiers", data={"externalReference": "x"})).status_code == 400


@pytest.mark.parametrize(("order", "newest"), [("newest-first", 0), ("oldest-first", -1)])
async def test_the_list_holds_the_last_hundred_that_are_not_deleted(begin: Begin, order: str, newest: int) -> None:
    api = await begin(dossier_order=order)
    made = [await api.dossier(f"r{number}") for number in range(103)]
    await api.call("DELETE", f"/dossiers/{made[-1]}")
    listed = [row["dossierId"] for row in (await api.call("GET", "/dossiers")).json()]
    assert len(listed) == 100
    assert set(listed) == set(made[2:-1])
    assert listed[newest] == made[-2]


async def test_a_deleted_dossier_is_gone_with_its_processes(api: Api) -> None:
    path = await api.started()
    dossier = path.split("/processes")[0]
    assert (await api.call("DELETE", dossier)).status_code == 204
    for method, gone in (("DELETE", dossier), ("GET", dossier), ("GET", path), ("POST", path)):
        assert (await api.call(method, gone)).status_code == 404
    assert (await api.call("GET", "/dossiers")).json() == []
    assert api.server.world.processes == {}
    assert api.entry()["processes"][0]["status"] == "processing"


async def test_a_dossier_shows_its_processes_oldest_first(api: Api) -> None:
    dossier = await api.dossier()
    paths = [await api.process(dossier) for _ in range(2)]
    api.clock.advance(5)
    await api.call("POST", f"{paths[1]}/fail")
    body = await api.read(f"/dossiers/{dossier}")
    assert [row["processId"] for row in body["processes"]] == [path.split("/")[-1] for path in paths]
    assert [row["status"] for row in body["processes"]] == ["pending", "failed"]
    assert body["updatedAt"] == "2023-11-14T22:13:25Z"


async def test_document_types_are_known_for_pictureid_only(api: Api) -> None:
    rows = (await api.call("GET", "/signicatpictureid/document-types")).json()
    assert {row["id"] for row in rows} == {document.id for document in DOCUMENTS}
    dutch = next(row for row in rows if row["id"] == 137)
    assert (dutch["country"], dutch["type"], dutch["icao"]) == ("NLD", "passport", "TD3")
    assert (await api.call("GET", "/signicatvideoid/document-types")).status_code == 204


async def test_a_null_reference_counts_as_absent(api: Api) -> None:
    """Some clients serialize empty fields as null. The answer then has no reference."""
    created = await api.call("POST", "/dossiers", json={"externalReference": None})
    assert created.status_code == 201
    assert set(created.json()) == {"dossierId", "createdAt", "updatedAt"}
