"""Settings: what each one is, and where it came from. A secret is told as set or not set, nothing more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from agent.cli.checks import Check, warning
from agent.platform.settings import PREFIX, Settings
from agent.platform.settings_sources import Found
from agent.platform.token_host import elsewhere
from agent.platform.trusted_files import readable_by_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A setting as it is shown."""

    name: str
    shown: str
    origin: str  # flag | environment | .env | secrets | yaml | file | default


def origins(settings: Settings, found: Mapping[str, Found]) -> list[Value]:
    """Every setting with its value and where it came from: the first source that has it."""
    return [
        Value(
            name=PREFIX + name.upper(),
            shown=_shown(name, settings),
            origin=found[name].origin if name in found else "default",
        )
        for name in Settings.model_fields
    ]


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


def checks(settings: Settings, found: Mapping[str, Found]) -> Iterator[Check]:
    """The files that settings came from, and where client id and secret are sent."""
    read = sorted({file for one in found.values() if (file := _file(one))})
    open_ones = [file for file in read if readable_by_others(Path(file))]
    if open_ones:
        message = f"others can read {', '.join(open_ones)}"
        yield warning("settings files", message, f"chmod 600 {' '.join(open_ones)}")
    else:
        yield Check(name="settings files", message=f"{', '.join(read) or 'none'}: nobody else can change them")
    place = elsewhere(settings.base_url, settings.token_url)
    where = f"at {place}, another host than that of BASE_URL" if place else "at the host of BASE_URL"
    yield Check(name="token endpoint", message=where)


def _file(one: Found) -> str:
    """The file that a value came from."""
    line_cut = one.where.rpartition(":")[0] if one.origin in (".env", "yaml") else one.where
    return line_cut if one.origin in (".env", "yaml", "secrets", "file") else ""
