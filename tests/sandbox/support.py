"""A clock under control of the test, pictures, and a client that checks each answer against the vendor's OpenAPI."""

import base64
import json
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from agent.sandbox import SandboxConfig, SandboxServer
from agent.sandbox.routes import OPERATIONS
from tests.support.links import page_of

NAME = "shared/assure/assure-openapi.json"
# The document belongs to the vendor and is not part of the repository. It may be next to this checkout, or further up.
_FOUND = [above / NAME for above in Path(__file__).parents[2].parents if (above / NAME).exists()]
OPENAPI = _FOUND[0] if _FOUND else Path(NAME)
needs_openapi = pytest.mark.skipif(not OPENAPI.exists(), reason="the vendor's OpenAPI document is not on this machine")

JPEG = b"\xff\xd8\xff\xe0 a picture"
PNG = b"\x89PNG\r\n\x1a\n a picture"
EVERYTHING = {"startCreationDate": "2023-11-01T00:00:00Z"}

# Statuses that the OpenAPI does not declare and the contract says or infers (§5, §6, §7, §10): an error body.
UNDECLARED = {
    ("updateConfiguration_1", 401),
    ("setConfiguration_1", 401),
    ("getConfiguration_1", 401),
    ("deleteConfiguration_1", 401),
    ("getAllConfigurations_1", 401),
    ("createDossier", 400),
    ("createProcess", 404),
    ("setImages", 404),
    ("createArtifact", 404),
    ("getExternalId", 404),
    ("getAllProcess", 401),
    ("getDocumentTypes", 401),
    ("getDocumentTypes", 400),
}
# For these errors the vendor declares no body, or a result's body. All other errors have one.
SLIPS = {("getExternalId", 401), ("deleteProcess", 401), ("deleteProcess", 404)}


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.25  # 2023-11-14T22:13:20Z

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Sleeper:
    """Sleeps that take no time. It records their durations."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def data_url(content: bytes = JPEG) -> str:
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def marked(marker: str, content: bytes = JPEG) -> str:
    return data_url(content + marker.encode())


def close_objects(schema: Any) -> Any:
    """The schema without undeclared fields, and with the `enum` of its lists at their items, where it belongs."""
    if isinstance(schema, list):
        return [close_objects(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close_objects(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    if schema.get("type") == "array" and "enum" in closed:
        closed["items"] = closed["items"] | {"enum": closed.pop("enum")}
    return closed


@cache
def openapi() -> dict[str, Any]:
    document: dict[str, Any] = close_objects(json.loads(OPENAPI.read_text()))
    # The vendor's own example has this field, but the schema does not.
    schemas = document["components"]["schemas"]
    schemas["SelfieAndDocumentMatch"]["properties"]["similarityLevel"] = {"type": "string"}
    # The example has the languages at the top. The schema has them one level below.
    schemas["SignicatPictureIdTranslations"]["additionalProperties"] = True
    return document


def validate(schema: dict[str, Any], body: object) -> None:
    Draft202012Validator({"components": openapi()["components"], **schema}).validate(body)


def validate_error(body: object) -> None:
    validate({"$ref": "#/components/schemas/ErrorResponse", "required": ["status", "title", "traceId"]}, body)


def operation_of(method: str, path: str) -> str:
    """The operation of a request. Each `{}` of a path is one segment."""
    parts = path.split("/")
    for known, template, name, _ in OPERATIONS:
        expected = template.split("/")
        if (
            known == method
            and len(parts) == len(expected)
            and all(want.startswith("{") or want == part for want, part in zip(expected, parts, strict=True))
        ):
            return str(name)
    raise AssertionError(f"no operation for {method} {path}")


def declared(operation: str, status: int) -> dict[str, Any] | None:
    for methods in openapi()["paths"].values():
        for entry in methods.values():
            if entry.get("operationId") == operation and str(status) in entry["responses"]:
                found: dict[str, Any] = entry["responses"][str(status)]
                return found
    return None


def check(operation: str, response: httpx.Response) -> None:
    """Check status, content type and body against the vendor's declaration."""
    if not OPENAPI.exists():
        return
    key = (operation, response.status_code)
    kind = response.headers.get("content-type", "")
    answer = declared(*key)
    if answer is None or key in SLIPS:
        assert answer is not None or key in UNDECLARED, f"{key} is neither declared nor in the contract"
        validate_error(response.json())
    elif "content" not in answer or response.status_code == 204:
        assert response.content == b"", f"{key} has a body"
    else:
        declared_kind, content = next(iter(answer["content"].items()))
        assert declared_kind in (kind, "*/*"), f"{key} is {kind}, not {declared_kind}"
        if kind == "application/json" and "schema" not in content:
            validate_error(response.json())
        elif kind == "application/json":
            validate(content["schema"], response.json())


class Api:
    """A client of one simulator. `seen` holds the answers by operation."""

    def __init__(self, server: SandboxServer, http: httpx.AsyncClient, clock: Clock) -> None:
        self.server = server
        self.http = http
        self.clock = clock
        self.seen: set[tuple[str, int]] = set()
        self.token = ""

    async def log_in(self) -> None:
        response = await self.http.post(
            "/auth/open/connect/token",
            auth=(self.server.config.client_id, self.server.config.client_secret),
            data={"grant_type": "client_credentials", "scope": "signicat-api"},
        )
        assert response.status_code == 200
        self.token = response.json()["access_token"]

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"} | more.pop("headers", {})
        response = await self.http.request(method, f"/assure{path}", headers=headers, **more)
        operation = operation_of(method, f"/assure{path}")
        self.seen.add((operation, response.status_code))
        if "retry-after" not in response.headers and response.status_code < 429:
            check(operation, response)
        return response

    async def dossier(self, reference: str = "aa-1") -> str:
        response = await self.call("POST", "/dossiers", json={"externalReference": reference})
        assert response.status_code == 201
        return str(response.json()["dossierId"])

    async def process(self, dossier: str = "", document: int = 137, kind: str = "document") -> str:
        """Create a pending process and return its path."""
        dossier = dossier or await self.dossier()
        body = {"provider": "signicatpictureid", "processType": kind, "documentId": document}
        response = await self.call("POST", f"/dossiers/{dossier}/processes", json=body)
        assert response.status_code == 201, response.text
        return f"/dossiers/{dossier}/processes/{response.json()['processId']}"

    async def started(self, marker: str = "", kind: str = "document", dossier: str = "") -> str:
        """Create a started process and return its path."""
        path = await self.process(dossier, kind=kind)
        images = {"front": marked(marker)} | ({"selfie": marked("")} if kind == "documentSelfie" else {})
        assert (await self.call("POST", f"{path}/images", json=images)).status_code == 201
        assert (await self.call("POST", path)).status_code == 200
        return path

    async def read(self, path: str) -> dict[str, Any]:
        response = await self.call("GET", path)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def link(self, **more: Any) -> str:
        """Create a capture link in a new dossier and return the address of its page."""
        return page_of(await self.shown_link(**more))

    async def shown_link(self, **more: Any) -> str:
        """Create a capture link in a new dossier and return it as it was answered. `redirectUrl` has the path of the
        dossier as the first part of its query."""
        dossier = await self.dossier()
        provider = {"provider": "signicatpictureid", "processType": "document"}
        body = {"providers": [provider], "sdk": "capture", "redirectUrl": f"https://shop.example/?d={dossier}"} | more
        response = await self.call("POST", f"/dossiers/{dossier}/capture", json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["url"])

    def entry(self, reference: str = "aa-1") -> dict[str, Any]:
        rows = self.server.ledger.report()["dossiers"]
        found: dict[str, Any] = next(row for row in rows if row["externalReference"] == reference)
        return found


def config(**switches: Any) -> SandboxConfig:
    slow: dict[str, Any] = {"verification_delay": (10, 10), "capture_delay": 4}
    return SandboxConfig(**slow | switches)


def book(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = api.server.ledger.report()["events"]
    return rows
