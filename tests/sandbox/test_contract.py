"""Every answer of every operation against the vendor's OpenAPI. `Api.call` checks them, these tests cause them."""

import pytest

from agent.sandbox.routes import OPERATIONS

from .conftest import Begin
from .support import EVERYTHING, Api, data_url, declared, needs_openapi

GONE = "/dossiers/no-such/processes/no-such"

pytestmark = needs_openapi


async def test_each_operation_refuses_a_call_without_a_valid_token(begin: Begin) -> None:
    """A missing token differs from a malformed one, which is 400 in the vendor's example."""
    api = await begin(malformed_auth_status=401)
    for method, template, operation, _ in OPERATIONS:
        ids = {"dossier": "d", "process": "p", "provider": "signicatpictureid", "configuration": "c"}
        path = template.removeprefix("/assure").format(**ids)
        for authorization in ("Bearer stolen", "", "Basic abc", "Bearer"):
            response = await api.call(method, path, headers={"Authorization": authorization})
            assert response.status_code == 401, operation
            assert response.headers["www-authenticate"] == "Bearer"
    assert api.seen == {(str(operation), 401) for _, _, operation, _ in OPERATIONS}


async def test_a_malformed_header_is_400_as_in_the_vendors_example(api: Api) -> None:
    response = await api.call("GET", GONE, headers={"Authorization": "nonsense"})
    assert response.status_code == 400
    assert response.json()["title"] == "Malformed Authorization header."
    assert response.json()["timestamp"] == "2023-11-14T22:13:20Z"


async def test_a_missing_header_is_401_as_the_vendor_declares(api: Api) -> None:
    for method, path in (
        ("GET", "/dossiers"),
        ("POST", "/dossiers"),
        ("GET", GONE),
        ("GET", "/capture/configurations"),
    ):
        response = await api.http.request(method, f"/assure{path}")
        assert response.status_code == 401
        assert response.json()["status"] == 401


async def test_an_unknown_method_is_405_with_the_allowed_methods(api: Api) -> None:
    for path, methods in (
        ("/dossiers", "GET, HEAD, POST"),
        ("/dossiers/all", "DELETE"),
        ("/dossiers/d/processes/p", "DELETE, GET, HEAD, POST"),
        ("/dossiers/d/userdata", "DELETE, GET, HEAD, POST, PUT"),
    ):
        response = await api.http.request("PATCH", f"/assure{path}")
        assert (response.status_code, response.headers["allow"]) == (405, methods)


async def test_an_unknown_object_is_404_in_assures_shape(api: Api) -> None:
    body = {"provider": "signicatpictureid", "documentId": 137}
    for method, path, sent in (
        ("GET", "/dossiers/no-such", None),
        ("DELETE", "/dossiers/no-such", None),
        ("POST", "/dossiers/no-such/processes", body),
        ("POST", "/dossiers/no-such/capture", {"providers": []}),
        ("GET", GONE, None),
        ("POST", GONE, None),
        ("DELETE", GONE, None),
        ("POST", f"{GONE}/images", {"front": data_url()}),
        ("GET", f"{GONE}/images?depiction=front", None),
        ("POST", f"{GONE}/fail", None),
        ("GET", f"{GONE}/external-id", None),
    ):
        response = await api.call(method, path.partition("?")[0], json=sent, params={"depiction": "front"})
        assert response.status_code == 404, (method, path)
        assert response.json()["title"] == "Not Found"
        assert response.json()["detail"] == "Dossier not found."
        assert response.json()["instance"] == f"/assure{path.partition('?')[0]}"
        assert response.json()["method"] == method
        assert len(response.json()["traceId"]) == 32


@pytest.mark.parametrize("kind", ["document", "documentSelfie"])
@pytest.mark.parametrize("outcome", ["accepted", "rejected", "inconclusive", "failed"])
async def test_each_final_body_is_as_declared(api: Api, outcome: str, kind: str) -> None:
    path = await api.started(f"sandbox-outcome={outcome}", kind)
    api.clock.advance(60)
    body = await api.read(path)
    assert body["status"] == outcome
    assert ("finalResult" in body) == (outcome == "accepted")
    assert ("statusReasons" in body) == (outcome in ("rejected", "inconclusive"))
    assert ("failReason" in body) == ("providerSpecific" not in body) == (outcome == "failed")
    assert body["depictions"] == (["front"] if kind == "document" else ["front", "selfie"])


async def test_every_declared_success_of_simulated_operations_occurs(api: Api) -> None:
    dossier = await api.dossier()
    path = await api.process(dossier)
    await api.call("POST", f"{path}/images", json={"front": data_url()})
    await api.call("GET", f"{path}/images", params={"depiction": "front"})
    await api.call("GET", f"{path}/external-id")
    await api.call("POST", path)
    await api.read(path)
    await api.call("GET", "/processes", params=EVERYTHING)
    await api.call("DELETE", path)
    await api.call("POST", f"{await api.process(dossier)}/fail")
    await api.link()
    await api.call("POST", f"/dossiers/{dossier}/userdata", json={"userData": {"firstName": "A"}})
    await api.call("PUT", f"/dossiers/{dossier}/userdata", json={"userData": {"lastName": "B"}})
    await api.call("GET", f"/dossiers/{dossier}/userdata")
    await api.call("DELETE", f"/dossiers/{dossier}/userdata")
    await api.call("POST", f"/dossiers/{dossier}/files", json={"front": data_url()})
    await api.call("GET", f"/dossiers/{dossier}/files", params={"depiction": "front"})
    await api.call("DELETE", f"/dossiers/{dossier}/files")
    await api.call("POST", "/capture/configurations/shop", json={"pageTitle": "Shop"})
    await api.call("PUT", "/capture/configurations/shop", json={"signicatpictureidConfig": {"allowedIdTypes": [137]}})
    await api.call("GET", "/capture/configurations/shop")
    await api.call("GET", "/capture/configurations")
    await api.call("DELETE", "/capture/configurations/shop")
    await api.call("GET", "/dossiers")
    await api.call("GET", f"/dossiers/{dossier}")
    await api.call("DELETE", f"/dossiers/{dossier}")
    await api.call("DELETE", "/dossiers/all")
    for provider in ("signicatpictureid", "onfido"):
        await api.call("GET", f"/{provider}/document-types")
    # Only other providers answer startVerification with 204 (§8). PUT configuration answers 200 or 204: a choice.
    expected = {
        (str(operation), status)
        for _, _, operation, _ in OPERATIONS
        for status in (200, 201, 204)
        if declared(operation, status)
        and (operation, status) not in (("startVerification", 204), ("updateConfiguration_1", 204))
    }
    assert api.seen == expected


async def test_addresses_that_do_not_exist_are_refused_in_assures_shape(api: Api) -> None:
    for method, path, status in (("GET", "/assure/processes/p", 404), ("PUT", "/assure/dossiers", 405)):
        response = await api.http.request(method, path)
        assert response.status_code == status
        assert response.json()["status"] == status
