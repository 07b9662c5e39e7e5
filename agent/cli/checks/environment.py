"""Settings: what each one is, and where it came from. A secret is told as set or not set, nothing more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import SecretStr
from pydantic_settings import (
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    YamlConfigSettingsSource,
)

from agent.cli.checks import Check, warning
from agent.settings import PREFIX, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A setting as it is shown."""

    name: str
    shown: str
    origin: str  # flag | environment | .env | secrets | yaml | file | default


def origins(settings: Settings, flags: Mapping[str, object]) -> list[Value]:
    """Every setting with its value and where it came from: the first source that has it."""
    sources: list[tuple[str, PydanticBaseSettingsSource]] = [
        ("environment", EnvSettingsSource(Settings)),
        (".env", DotEnvSettingsSource(Settings)),
        ("secrets", SecretsSettingsSource(Settings)),
        ("yaml", YamlConfigSettingsSource(Settings)),
    ]
    given: list[tuple[str, Mapping[str, Any]]] = [
        ("flag", {name: value for name, value in flags.items() if value is not None}),
        *((name, source()) for name, source in sources),
    ]
    values = []
    for name in Settings.model_fields:
        origin = next((where for where, found in given if name in found), "default")
        if origin == "default" and getattr(settings, f"{name}_file", None) is not None:
            origin = "file"
        values.append(Value(name=PREFIX + name.upper(), shown=_shown(name, settings), origin=origin))
    return values


def _shown(name: str, settings: Settings) -> str:
    value = getattr(settings, name)
    annotation = Settings.model_fields[name].annotation
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if annotation is SecretStr or SecretStr in get_args(annotation):
        return "not set" if not value else "set"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def unknown(names: Sequence[str]) -> Check:
    """Variables that look like ours and are not."""
    if names:
        hint = "correct or remove them; see the table of settings in README.md"
        return warning("unknown settings", f"not settings of this version: {', '.join(names)}", hint)
    return Check(name="unknown settings", message="none")
