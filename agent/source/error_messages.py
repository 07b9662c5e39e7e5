"""Messages for invalid fields: pydantic's errors with their positions in the text."""

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.core.duration import similar_duration
from agent.core.request import Part, VerificationRequest
from agent.source.diagnostics import FIELDS_PAGE, dotted
from agent.source.yaml_reader import Path, RefusedValue, YamlDocument, YamlProblem

_QUOTES = "put the value in quotes"
_DOCUMENT_TYPES = "write a number that `assure-agent document-types` lists"  # only documentId has limits
_EXPECTED: Mapping[str, tuple[str, str]] = {
    "string_type": ("text", _QUOTES),
    "int_type": ("a whole number", "write a number such as 137, without quotes"),
    "int_from_float": ("a whole number", "write a number such as 137, without quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "mapping_type": ("`key: value` lines", "remove the field, or give it `key: value` lines"),
    "dict_type": ("`key: value` lines", "remove the field, or give it `key: value` lines"),
    "model_type": ("`key: value` lines", "write its fields below it, indented"),
    "greater_than": ("a number greater than {gt}", _DOCUMENT_TYPES),
    "less_than_equal": ("a number up to {le}", _DOCUMENT_TYPES),
    "too_long": ("at most {max_length} entries", "remove some"),
}


def fields(model: type[Part] = VerificationRequest, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of each field of a request file, as `("spec", "upload", "documentId")`."""
    for field in model.model_fields.values():
        here = (*path, field.alias or "")
        yield here
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Part):
                yield from fields(kind, here)


_FIELDS = tuple(fields())


def problems(error: ValidationError, tree: YamlDocument) -> Iterator[YamlProblem]:
    """Each error with its position. Errors about a value that the YAML reader refused are omitted."""
    for one in error.errors(include_url=False, include_input=False):
        path = tuple(step for step in one["loc"] if step != "[key]")
        if _at(tree.value, path) is RefusedValue:
            continue
        message, hint = _message(one, path, _at(tree.value, path))
        is_key = one["type"] == "extra_forbidden" or one["loc"][-1:] == ("[key]",)
        place = tree.position_of_key(path) if is_key else tree.position_of(path)
        yield YamlProblem(place, message, hint)


def _message(error: ErrorDetails, path: Path, value: object) -> tuple[str, str]:
    """The message and the hint. They show the kind of the value, or what it probably means, never the value [I6]."""
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{dotted(path)} is missing", f"add `{path[-1]}:`"
        case "extra_forbidden":
            return f"unknown field {dotted(path)}", _nearest(path)
        case "refused":
            return f"{dotted(path)}: {context['message']}", str(context["hint"])
        case "value_error":
            return f"{dotted(path)}: {context['error']}{_kind(value)}", _as_duration(value)
        case "enum" | "literal_error":
            expected = _ticks(context["expected"])
            hint = _as_alternative(value, re.findall("`(.+?)`", expected)) or FIELDS_PAGE
            return f"{dotted(path)}: expected {expected}{_kind(value)}", hint
    expected, hint = _EXPECTED.get(error["type"], ("another value", FIELDS_PAGE))
    found = _kind(value, text=True) if error["type"].endswith("_type") else ""
    return f"{dotted(path)}: expected {expected.format_map(context)}{found}", hint


_KINDS = {
    bool: "true or false", int: "a number", float: "a number with decimals", str: "text", dict: "`key: value` lines",
    list: "a list", type(None): "nothing",
}  # fmt: skip


def _kind(value: object, text: bool = False) -> str:
    """The kind of the value that was found; with `text`, also that of a text."""
    found = _KINDS.get(type(value))
    return f"; found {found}" if found and (text or not isinstance(value, str)) else ""


def _as_duration(value: object) -> str:
    """The hint for an invalid duration, with the one that it probably means."""
    meant = similar_duration(str(value)) if isinstance(value, str | int) else None
    return f"write a number with a unit (Did you mean `{meant}`?)" if meant else "write it like 24h"


def _as_alternative(value: object, known: Sequence[str]) -> str:
    """The hint with the alternative that is similar to the value; empty if none is."""
    lower = {one.lower(): one for one in known}
    close = get_close_matches(str(value)[:80].lower(), lower, n=1)
    return f"correct it (Did you mean `{lower[close[0]]}`?)" if close else ""


def _ticks(value: object) -> str:
    return str(value).replace("'", "`")


def _nearest(path: Path) -> str:
    """A suggestion: a similar field of the same part, or the same field of another part."""
    known = [field for field in _FIELDS if field[:-1] == path[:-1]]
    close = get_close_matches(str(path[-1])[:80], [field[-1] for field in known], n=1)
    if close:
        return f"rename or remove it (Did you mean `{close[0]}`?)"
    elsewhere: Sequence[str] = [dotted(field) for field in _FIELDS if field[-1] == path[-1]]
    if elsewhere:
        return f"move it (Did you mean `{elsewhere[0]}`?)"
    return f"remove it; the fields here are {', '.join(field[-1] for field in known)}"


def _at(value: object, path: Path) -> object:
    for step in path:
        value = value.get(step) if isinstance(value, dict) and isinstance(step, str) else None
    return value
