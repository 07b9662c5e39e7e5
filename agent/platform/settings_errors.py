"""Error messages for settings: the expected value, the value found and its source. They contain no secret."""

from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from agent.core.errors import SettingsError
from agent.platform.settings_sources import PREFIX, FoundSetting

_SHOWN = 60  # characters of a value that is shown
_TRY = "correct it; see docs/reference/settings.md"


def settings_error(
    error: ValidationError, found: Mapping[str, FoundSetting], secrets: Collection[str]
) -> SettingsError:
    """The message for the first fault."""
    first = error.errors(include_url=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    reason = _reason(str(first["type"]), first.get("ctx", {}), str(first["msg"]))
    if not name:
        return SettingsError(f"{reason}.", _TRY)
    one = found.get(name)
    seen = ""
    if one is not None:
        value = "" if name in secrets else _shown(str(one.value).strip())
        place = f"{'on' if one.origin == 'flag' else 'in'} {one.where}"
        seen = f"; found {value} {place}" if value else f"; set {place}"
    return SettingsError(f"{PREFIX}{name.upper()}: {reason}{seen}.", _TRY)


def _reason(kind: str, context: Mapping[str, Any], message: str) -> str:
    if kind == "literal_error":
        return f"expected {str(context['expected']).replace(chr(39), '')}"
    fixed = {
        "int_parsing": "expected a whole number",
        "int_type": "expected a whole number",
        "int_from_float": "expected a whole number",
        "float_parsing": "expected a number",
        "float_type": "expected a number",
        "greater_than_equal": f"expected a number greater than or equal to {context.get('ge', 0):g}",
        "less_than_equal": f"expected a number less than or equal to {context.get('le', 0):g}",
        "extra_forbidden": "unknown setting",
        "value_error": message.removeprefix("Value error, "),
    }
    return fixed.get(kind, "expected another value").rstrip(".")


def _shown(value: str) -> str:
    """The value, unless it may contain a secret."""
    if "@" in value or "?" in value:
        return ""
    printable = "".join(one if one.isprintable() else f"\\u{ord(one):04x}" for one in value[:_SHOWN])
    return f"'{printable}{'...' if len(value) > _SHOWN else ''}'"
