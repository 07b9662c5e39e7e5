"""The request file as JSON Schema, draft 2020-12, for editors and for programs that write requests.

It is generated from the models of `request.py`, so fields, types and descriptions have one source. The rules between
fields (`contradictions`) are written here again as JSON Schema. The schema accepts every valid request. It cannot
refuse every invalid one, for example a duplicate name, a missing image, or 137.0 for 137.
"""

import json
import re
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from agent.core.assure_types import ProcessType
from agent.core.duration import format_duration
from agent.core.field_types import OUR_ANNOTATIONS
from agent.core.request import Spec, VerificationRequest

Schema = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_OWN_ANNOTATIONS = "|".join(re.escape(key.partition("/")[2]) for key in OUR_ANNOTATIONS)
_PATH = rf"^(?!(?:.*/)?\.{{0,2}}(?:/|$))[^\\{_CONTROL}]+$"  # no part is empty, `.` or `..`
_LOOPBACK = r"(?:[Ll][Oo][Cc][Aa][Ll][Hh][Oo][Ss][Tt]|127\.[0-9.]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?(?:[/?]|$)"
_URL = rf'^[Hh][Tt][Tt][Pp](?:[Ss]://|://(?={_LOOPBACK}))[!"$-.0->A-\[\]-~]+(?:[/?][!"$-\[\]-~]*)?$'


class _Generator(GenerateJsonSchema):
    """Generates no field titles: they would only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def request_schema() -> Schema:
    """The schema of one document of a request file."""
    made = VerificationRequest.model_json_schema(schema_generator=_Generator)
    parts: dict[str, Schema] = made["$defs"]
    _metadata(parts["Metadata"]["properties"])
    _spec(parts["Spec"])
    _upload(parts["Upload"], parts["Images"]["properties"])
    parts["Capture"]["properties"]["redirectUrl"] |= {"pattern": _URL, "maxLength": 2048}
    _result(parts["Result"])
    _without_nulls(made)
    return {"$schema": _DIALECT, **made}


def schema_text() -> str:
    """The schema as text, as printed and published."""
    return json.dumps(request_schema(), indent=2) + "\n"


def _metadata(fields: dict[str, Schema]) -> None:
    for field in (fields["labels"], fields["annotations"]):
        ((pattern, values),) = field.pop("patternProperties").items()
        field["propertyNames"] |= {"pattern": pattern}
        field["additionalProperties"] = values
        field["type"] = ["object", "null"]
    ours = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": f"^[^{_CONTROL}]*$"}
    fields["annotations"]["properties"] = dict.fromkeys(OUR_ANNOTATIONS, ours)
    fields["annotations"]["propertyNames"]["not"] = {"pattern": f"^assure-agent/(?!(?:{_OWN_ANNOTATIONS})$)"}


def _result(result: Schema) -> None:
    claims = {"required": ["keep"], "properties": {"keep": {"const": "claims"}}}
    result["if"], result["else"] = claims, {"properties": {"claimsTtl": {"type": "null"}}}
    for kind in result["properties"]["claimsTtl"]["anyOf"]:
        if "string" in kind["type"]:
            kind["allOf"] = [_ABOVE_ZERO]


def _spec(spec: Schema) -> None:
    fields = spec["properties"]
    fields["deadline"]["allOf"] = [_ABOVE_ZERO]
    for name in ("deadline", "retention"):
        fields[name]["default"] = format_duration(Spec.model_fields[name].default)
    spec["oneOf"] = [_requires("upload"), _requires("capture")]
    spec["allOf"] = [
        _with_process(ProcessType.DOCUMENT_SELFIE, {"required": ["selfie"], "properties": {"selfie": _NOT_NULL}}),
        _with_process(ProcessType.DOCUMENT, {"properties": {"selfie": {"type": "null"}}}),
    ]


def _upload(upload: Schema, images: dict[str, Schema]) -> None:
    upload["oneOf"] = [_requires("documentId"), _requires("documentType")]
    for field in images.values():
        path = next((kind for kind in field.get("anyOf", ()) if kind["type"] == "string"), field)
        path |= {"pattern": _PATH, "maxLength": 1024}


_ABOVE_ZERO: Schema = {"pattern": "[1-9]", "exclusiveMinimum": 0}
_NOT_NULL: Schema = {"not": {"type": "null"}}


def _requires(field: str) -> Schema:
    return {"required": [field], "properties": {field: _NOT_NULL}}


def _with_process(process_type: ProcessType, images: Schema) -> Schema:
    """The rule for the images of an upload of this process type."""
    asked = {"properties": {"processType": {"const": process_type.value}}, "required": ["processType"]}
    return {"if": asked, "then": {"properties": {"upload": {"properties": {"images": images}}}}}


def _without_nulls(part: Any) -> None:
    """Remove null defaults: the field is optional without them."""
    if isinstance(part, dict):
        if part.get("default", ...) is None:
            del part["default"]
        elif isinstance(part.get("default"), dict):
            part["default"] = {key: value for key, value in part["default"].items() if value is not None}
        for below in part.values():
            _without_nulls(below)
    elif isinstance(part, list):
        for below in part:
            _without_nulls(below)
