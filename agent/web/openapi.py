"""The OpenAPI 3.1 description of the API, generated from `api_models.py`. A copy is checked in as docs/openapi.json."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from agent import __version__
from agent.core.notifications import EVENT_TYPE_PREFIX, NoticeType
from agent.web.api_models import CloudEvent, Page, Problem, Replicas, RequestWithLink

_SCHEMAS = "#/components/schemas/"
_PROBLEMS = {
    "400": "A query parameter is invalid.",
    "401": "The bearer token is missing or wrong.",
    "404": "There is no request of this name, or API_TOKEN is not set.",
    "503": "The database is busy. Try again in a few seconds.",
}


class _Generator(GenerateJsonSchema):
    """Leaves out the titles of fields, which repeat their names, and the docstrings of enums, which are not public."""

    def enum_schema(self, schema: Any) -> Any:
        """Without the docstring of the class."""
        found = super().enum_schema(schema)
        found.pop("description", None)
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _schemas() -> dict[str, Any]:
    models = [(model, "serialization") for model in (Page, RequestWithLink, Replicas, Problem, CloudEvent)]
    _, schema = models_json_schema(
        models,  # type: ignore[arg-type]
        ref_template=_SCHEMAS + "{model}",
        schema_generator=_Generator,
    )
    found: dict[str, Any] = schema["$defs"]
    return found


def _query(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _responses(schema: str) -> dict[str, Any]:
    found = {"description": "Found.", "content": {"application/json": {"schema": {"$ref": _SCHEMAS + schema}}}}
    return {"200": found, **{code: {"$ref": f"#/components/responses/{code}"} for code in _PROBLEMS}}


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": _SCHEMAS + "Problem"}}}
    return {"description": description, "content": content}


_LABELS = {"type": "array", "maxItems": 16, "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
_LIST = {
    "operationId": "listRequests",
    "summary": "List requests, page by page, without their capture links",
    "parameters": [
        _query("label", "KEY=VALUE. If given more than once, a request must have all of them.", _LABELS),
        _query("phase", "Only requests in this phase.", {"$ref": _SCHEMAS + "Phase"}),
        _query("outcome", "Only requests with this outcome.", {"$ref": _SCHEMAS + "Outcome"}),
        _query("reason", "Only requests that are held for this reason.", {"$ref": _SCHEMAS + "HoldReason"}),
        _query(
            "limit", "Maximum number of requests.", {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}
        ),
        _query("cursor", "The cursor of the page before.", {"type": "string", "pattern": "^[0-9a-f]{24}$"}),
    ],
    "responses": _responses("Page"),
}
_GET = {
    "operationId": "getRequest",
    "summary": "Get one request, with its capture link while the end user can use it",
    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
    "responses": _responses("RequestWithLink"),
}


_REPLICAS = {
    "operationId": "listReplicas",
    "summary": "List the agents that run on the store",
    "responses": _responses("Replicas"),
}

_EVENTS = {
    NoticeType.CAPTURE_READY: "The capture link exists. Read it from the API",
    NoticeType.SETTLED: "The request has an outcome",
    NoticeType.HELD: "The request waits for an operator",
    NoticeType.DELETED: "The dossier is deleted at Assure, and a read confirmed it",
}
_SIGNED = {
    "webhook-id": "The id of the event.",
    "webhook-timestamp": "The time of this delivery, in seconds since the epoch.",
    "webhook-signature": "`v1,` and the base64 of HMAC-SHA256 over ID.TIMESTAMP.BODY. Two while the key rotates.",
}


def _webhook(notice: NoticeType) -> dict[str, Any]:
    """The delivery of an event to each URL of SINK_URLS."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": meaning, "schema": {"type": "string"}}
        for name, meaning in _SIGNED.items()
    ]
    content = {"application/cloudevents+json": {"schema": {"$ref": _SCHEMAS + "CloudEvent"}}}
    return {
        "post": {
            "operationId": "".join(part.capitalize() for part in f"on.{notice}".split(".")),
            "summary": _EVENTS[notice],
            "security": [],
            "parameters": headers,
            "requestBody": {"required": True, "content": content},
            "responses": {
                "2XX": {"description": "The sink accepts the event. The answer must come within ten seconds."},
                "default": {"description": "The agent sends the event again later."},
            },
        }
    }


def openapi() -> dict[str, Any]:
    """The description, as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assure Agent",
            "version": __version__,
            "description": "The requests of the agent, and its events. Read-only. Needs the API_TOKEN of the agent.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            "/api/requests": {"get": _LIST},
            "/api/requests/{name}": {"get": _GET},
            "/api/replicas": {"get": _REPLICAS},
        },
        "webhooks": {EVENT_TYPE_PREFIX + notice: _webhook(notice) for notice in NoticeType},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {code: _problem(description) for code, description in _PROBLEMS.items()},
        },
    }
