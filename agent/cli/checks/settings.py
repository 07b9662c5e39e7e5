"""The value and the source of each setting. A secret is shown as `set` or `not set`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import SecretStr

from agent.cli.checks import Check, problem, warning
from agent.core.errors import SettingsError
from agent.daemon.backups import need_backup_folder
from agent.platform.settings import PREFIX, Settings
from agent.platform.settings_sources import FoundSetting
from agent.platform.token_host import foreign_token_host
from agent.platform.trusted_files import readable_by_others


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A setting in the output."""

    name: str
    shown: str
    default: str
    origin: str  # flag | environment | .env | secrets | yaml | file | default
    where: str  # the place in it, such as .env:3; empty for a default


def origins(settings: Settings, found: Mapping[str, FoundSetting]) -> list[Value]:
    """Every setting with its value, its default and its source."""
    defaults = Settings()
    return [
        Value(
            name=PREFIX + name.upper(),
            shown=_shown(name, getattr(settings, name)),
            default=_shown(name, getattr(defaults, name)),
            origin=found[name].origin if name in found else "default",
            where=found[name].where if name in found else "",
        )
        for name in Settings.model_fields
    ]


def _shown(name: str, value: object) -> str:
    annotation = Settings.model_fields[name].annotation
    if isinstance(value, SecretStr):
        return "set" if value.get_secret_value() else "not set"
    if annotation is SecretStr or SecretStr in get_args(annotation):
        return "not set" if not value else "set"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def checks(settings: Settings, found: Mapping[str, FoundSetting]) -> Iterator[Check]:
    """The files that contain settings, and the host that receives the client id and secret."""
    read = sorted({file for one in found.values() if (file := _file(one))})
    open_ones = [file for file in read if readable_by_others(Path(file))]
    if open_ones:
        message = f"other users can read {', '.join(open_ones)}"
        yield warning("settings files", message, f"chmod 600 {' '.join(open_ones)}")
    else:
        yield Check(
            name="settings files", message=f"{', '.join(read)}: no other user can change them" if read else "none"
        )
    try:
        need_backup_folder(settings)
    except SettingsError as error:
        yield problem("backups", str(error).rstrip("."), error.hint)
    place = foreign_token_host(settings.base_url, settings.token_url)
    where = f"at {place}, not at the host of BASE_URL" if place else "at the host of BASE_URL"
    yield Check(name="token endpoint", message=where)


def _file(one: FoundSetting) -> str:
    """The file that contains a value; empty if no file does."""
    line_cut = one.where.rpartition(":")[0] if one.origin in (".env", "yaml") else one.where
    return line_cut if one.origin in (".env", "yaml", "secrets", "file") else ""
