"""Messages for invalid fields: pydantic's errors with their positions in the text."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agent.core.request import Part, VerificationRequest
from agent.source.diagnostics import README, dotted
from agent.source.yaml_reader import Path, RefusedValue, YamlDocument, YamlProblem

_QUOTES = "put the value in quotes"
_EXPECTED: Mapping[str, tuple[str, str]] = {
    "string_type": ("text", _QUOTES),
    "int_type": ("a whole number", "write a number such as 137, without quotes"),
    "int_from_float": ("a whole number", "write a number such as 137, without quotes"),
    "bool_type": ("true or false", "write true or false, without quotes"),
    "mapping_type": ("`key: value` lines", "remove the field, or give it `key: value` lines"),
    "dict_type": ("`key: value` lines", "remove the field, or give it `key: value` lines"),
    "model_type": ("`key: value` lines", "write its fields below it, indented"),
    "enum": ("{expected}", README),
    "literal_error": ("{expected}", README),
    "greater_than": ("a number greater than {gt}", README),
    "less_than_equal": ("a number up to {le}", README),
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
        message, hint = _message(one, path)
        is_key = one["type"] == "extra_forbidden" or one["loc"][-1:] == ("[key]",)
        place = tree.position_of_key(path) if is_key else tree.position_of(path)
        yield YamlProblem(place, message, hint)


def _message(error: ErrorDetails, path: Path) -> tuple[str, str]:
    context = error.get("ctx", {})
    match error["type"]:
        case "missing":
            return f"{dotted(path)} is missing", f"add `{path[-1]}:`"
        case "extra_forbidden":
            return f"unknown field {dotted(path)}", _nearest(path)
        case "refused":
            return f"{dotted(path)}: {context['message']}", str(context["hint"])
        case "value_error":
            return f"{dotted(path)}: {context['error']}", README
    expected, hint = _EXPECTED.get(error["type"], ("another value", README))
    expectation = expected.format_map({key: _ticks(value) for key, value in context.items()})
    return f"{dotted(path)}: expected {expectation}", hint


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
