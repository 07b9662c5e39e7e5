"""The OpenAPI 3.1 description of the API, made from the words of the code; a copy is checked in under docs/."""

from typing import Any

from agent import __version__
from agent.core.conditions import REASONS
from agent.core.record import HoldReason, Outcome, Phase

_STATES = ("active", "waiting", "held", "suspended", "done")
_TIMESTAMP = {"type": "string", "format": "date-time"}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _enumeration(values: Any, text: str) -> dict[str, Any]:
    return {"type": "string", "enum": [str(word) for word in values], "description": text}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


_CONDITION = _object(
    {
        "type": _enumeration(
            ("Ready", "Reconciling", "Stalled"), "Ready: settled for good; Stalled: a person has to act."
        ),
        "status": _enumeration(("True", "False"), "Whether it holds."),
        "reason": _enumeration(sorted(REASONS), "Why."),
        "observedGeneration": {"type": "integer", "minimum": 1},
        "lastTransitionTime": _TIMESTAMP,
    }
)
_REQUEST = _object(
    {
        "name": {"type": "string", "description": "metadata.name of the request file."},
        "uid": {"type": "string", "description": "Ours; the same for the same source and name."},
        "generation": {"type": "integer", "minimum": 1, "description": "Counts the verifications of this request."},
        "mode": _enumeration(("upload", "capture"), "Direct upload, or the hosted capture flow."),
        "phase": {"$ref": "#/components/schemas/Phase"},
        "state": _enumeration(_STATES, "How it stands."),
        "outcome": _nullable(_enumeration(Outcome, "Set once it is durable, before the dossier is deleted.")),
        "reason": _nullable(_enumeration(HoldReason, "Why it is held.")),
        "holdId": _nullable({"type": "string", "description": "What `resolve` answers."}),
        "externalReference": _nullable({"type": "string"}),
        "dossierId": _nullable({"type": "string"}),
        "processId": _nullable({"type": "string"}),
        "due": _nullable(_TIMESTAMP),
        "admittedAt": _TIMESTAMP,
        "settledAt": _nullable(_TIMESTAMP),
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "observedGeneration": {"type": "integer", "minimum": 1},
        "conditions": {"type": "array", "items": {"$ref": "#/components/schemas/Condition"}},
    }
)
_LINK = {
    "type": "string",
    "format": "uri",
    "description": "The capture link while a person may use it: a bearer secret. Send them there, keep it nowhere.",
}
_WITH_LINK = {
    "allOf": [
        {"$ref": "#/components/schemas/Request"},
        _object({"link": _nullable(_LINK)}),
    ]
}
_PAGE = _object(
    {
        "items": {"type": "array", "items": {"$ref": "#/components/schemas/Request"}},
        "cursor": _nullable({"type": "string", "description": "Leads to the next page; null: this is the last one."}),
    }
)
_PROBLEM = _object(
    {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    }
)


def _parameter(name: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _answers(schema: str, *problems: str) -> dict[str, Any]:
    found = {"description": "Found.", "content": {"application/json": {"schema": {"$ref": schema}}}}
    return {"200": found, **{code: {"$ref": f"#/components/responses/{code}"} for code in problems}}


def _problem(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": text, "content": {"application/problem+json": {"schema": schema}}}


_LABELS = {"type": "array", "maxItems": 16, "items": {"type": "string", "pattern": "^[^=]+=.*$"}}
_CURSOR = {"type": "string", "pattern": "^[0-9a-f]{24}$"}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": 500, "default": 100}


def openapi() -> dict[str, Any]:
    """The description, as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assure Agent",
            "version": __version__,
            "description": "What the agent knows of its requests. Read-only; needs the API_TOKEN of the agent.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": {
            "/api/requests": {
                "get": {
                    "operationId": "listRequests",
                    "summary": "Requests, page by page, without their capture links",
                    "parameters": [
                        _parameter("label", "KEY=VALUE; given more than once, all must be there.", _LABELS),
                        _parameter("phase", "Only those in this phase.", {"$ref": "#/components/schemas/Phase"}),
                        _parameter("limit", "How many at most.", _LIMIT),
                        _parameter("cursor", "That of the page before.", _CURSOR),
                    ],
                    "responses": _answers("#/components/schemas/Page", "400", "401", "404", "503"),
                }
            },
            "/api/requests/{name}": {
                "get": {
                    "operationId": "getRequest",
                    "summary": "One request, with its capture link while there is one",
                    "parameters": [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                    "responses": _answers("#/components/schemas/RequestWithLink", "400", "401", "404", "503"),
                }
            },
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Phase": _enumeration(Phase, "The step that is in progress. done: finished."),
                "Condition": _CONDITION,
                "Request": _REQUEST,
                "RequestWithLink": _WITH_LINK,
                "Page": _PAGE,
                "Problem": _PROBLEM,
            },
            "responses": {
                "400": _problem("A parameter is not as it should be."),
                "401": _problem("The token is missing or wrong."),
                "404": _problem("No such request, or no API_TOKEN is set."),
                "503": _problem("The store cannot be read at the moment."),
            },
        },
    }
