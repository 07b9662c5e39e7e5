"""Error messages for settings: the expected value, the value found and its source. They contain no secret."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from agent.core.duration import similar_duration
from agent.core.errors import SettingsError, did_you_mean
from agent.platform.settings_sources import PREFIX, SETTINGS_PAGE, FoundSetting
from agent.platform.settings_types import Bytes, Seconds, similar_size

_SHOWN = 60  # characters of a value that is shown
_TRY = f"correct it; {SETTINGS_PAGE} describes it"


def settings_error(
    error: ValidationError,
    found: Mapping[str, FoundSetting],
    fields: Mapping[str, FieldInfo],
    secrets: Collection[str],
) -> SettingsError:
    """The message for the first fault."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:  # of several settings; the text begins with the name of one
        return SettingsError(f"{PREFIX}{str(first['ctx']['error']).rstrip('.')}.", _TRY)
    name = str(first["loc"][0])
    reason = _reason(first["type"], first.get("ctx", {}), fields[name])
    one = found.get(name)
    if one is None:
        return SettingsError(
            f"{PREFIX}{name.upper()}: {reason}; it is not set.", f"set it; {SETTINGS_PAGE} describes it"
        )
    text = str(one.value).strip()
    value = "" if name in secrets else _shown(text)
    seen = f"found {value}" if value else "set"
    place = f"{'on' if one.origin == 'flag' else 'in'} {one.where}"
    meant = _similar(text, fields[name]) if value else ""
    return SettingsError(f"{PREFIX}{name.upper()}: {reason}; {seen} {place}.{meant}", _TRY)


def _reason(kind: str, context: Mapping[str, Any], field: FieldInfo) -> str:
    if kind == "value_error":
        return str(context["error"]).rstrip(".")
    if kind == "literal_error":
        return f"expected {_alternatives(get_args(field.annotation))}"
    if field.annotation in (int, float):
        return f"expected a {'whole ' if field.annotation is int else ''}number{_range(field)}"
    return "expected another value"


def _alternatives(values: Sequence[str]) -> str:
    return f"{', '.join(values[:-1])} or {values[-1]}"


def _range(field: FieldInfo) -> str:
    """The limits of a number, such as ` from 1 to 1000`."""
    low = next((one.ge for one in field.metadata if hasattr(one, "ge")), None)
    high = next((one.le for one in field.metadata if hasattr(one, "le")), None)
    if low is None:
        return ""
    return f" of at least {low}" if high is None else f" from {low} to {high}"


def _similar(text: str, field: FieldInfo) -> str:
    """A question with the value that was probably meant; empty if none is similar."""
    for kind, similar in ((Seconds, similar_duration), (Bytes, similar_size)):
        if field.annotation is get_args(kind)[0] and set(get_args(kind)[1:]) <= {*field.metadata}:
            meant = similar(text)
            return f" Did you mean {meant!r}?" if meant else ""
    return did_you_mean(text.lower(), get_args(field.annotation)) if get_origin(field.annotation) is Literal else ""


def _shown(value: str) -> str:
    """The value, unless it may contain a secret."""
    if "@" in value or "?" in value:
        return ""
    printable = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in value[:_SHOWN])
    return f"'{printable}{'...' if len(value) > _SHOWN else ''}'"
