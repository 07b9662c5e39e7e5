"""The token endpoint (contract §1), and the validity of a token."""

import base64
import json
from typing import Any

import pytest

from .conftest import Begin
from .support import Api

PATH = "/auth/open/connect/token"
FORM = {"grant_type": "client_credentials", "scope": "signicat-api"}
CLIENT = ("sandbox-client", "sandbox-secret")


async def test_a_token_has_the_format_of_the_ones_of_signicat(api: Api) -> None:
    response = await api.http.post(PATH, auth=CLIENT, data=FORM)
    body = response.json()
    assert (body["expires_in"], body["token_type"], body["scope"]) == (600, "Bearer", "signicat-api")
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in body["access_token"].split(".")[:2])
    assert header["typ"] == "at+jwt"
    assert claims["exp"] - claims["iat"] == 600
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        ({"auth": ("sandbox-client", "wrong"), "data": FORM}, 401, "invalid_client"),
        ({"headers": {"Authorization": "Basic ???"}, "data": FORM}, 401, "invalid_client"),
        ({"data": FORM}, 401, "invalid_client"),
        ({"auth": CLIENT, "data": FORM | {"grant_type": "password"}}, 400, "unsupported_grant_type"),
        ({"auth": CLIENT, "data": FORM | {"scope": "everything"}}, 400, "invalid_scope"),
        ({"auth": CLIENT, "data": {"grant_type": "client_credentials"}}, 400, "invalid_scope"),
        ({"auth": CLIENT, "json": FORM}, 400, "invalid_request"),
    ],
)
async def test_the_token_endpoint_refuses_as_rfc_6749_requires(
    api: Api, sent: dict[str, Any], status: int, error: str
) -> None:
    response = await api.http.post(PATH, **sent)
    assert (response.status_code, response.json()["error"]) == (status, error)
    assert ("www-authenticate" in response.headers) == (status == 401)


async def test_a_token_ends_with_its_lifetime(begin: Begin) -> None:
    api = await begin(token_lifetime=30)
    api.clock.advance(29)
    assert (await api.call("GET", "/dossiers")).status_code == 200
    api.clock.advance(1)
    assert (await api.call("GET", "/dossiers")).status_code == 401
    await api.log_in()
    assert (await api.call("GET", "/dossiers")).status_code == 200


async def test_a_revoked_token_is_invalid_and_a_new_one_is_valid(api: Api) -> None:
    await api.http.post("/sandbox/faults", json=[{"operation": "getDossiers", "kind": "revoke-token", "nth": 2}])
    statuses = [(await api.call("GET", "/dossiers")).status_code for _ in range(3)]
    assert statuses == [200, 401, 401]
    await api.log_in()
    assert (await api.call("GET", "/dossiers")).status_code == 200
