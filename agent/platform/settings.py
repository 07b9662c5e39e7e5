"""Loading the settings: command-line flags, the environment, `.env`, a secrets folder, a YAML file.

The first source that has a setting wins. The YAML file is `assure-agent.yaml`, with the names in lower case; the
secrets folder is `/run/secrets`.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr, ValidationError

from agent.core.errors import AgentError, SettingsError, WrongUse
from agent.platform.settings_errors import settings_error
from agent.platform.settings_files import read_text
from agent.platform.settings_model import Settings
from agent.platform.settings_sources import PREFIX, FoundSetting, gather
from agent.platform.settings_types import loopback, secrets_of
from agent.platform.store_settings import OF_DATABASE, OF_FILE
from agent.platform.store_url import POSTGRES
from agent.platform.token_host import refuse_foreign_token_host
from agent.platform.trusted_files import read_trusted

__all__ = ["PREFIX", "Settings", "load_settings", "loopback", "refuse_renamed", "secrets_of"]

SHARED: ContextVar[Mapping[str, str]] = ContextVar("SHARED", default={})  # noqa: B039 - never changed
"""The flags that every command accepts."""


def load_settings(**flags: Any) -> Settings:
    """Load the settings. A flag of None counts as not set. Raises SettingsError for the first fault."""
    return load_found(**flags)[0]


def load_found(**flags: Any) -> tuple[Settings, Mapping[str, FoundSetting]]:
    """The settings, and the source of each value that is not a default. Raises SettingsError."""
    given = {**SHARED.get(), **{name: value for name, value in flags.items() if value is not None}}
    try:
        found = gather(given, Settings.model_fields, _SECRETS)
    except OSError as error:
        raise SettingsError(
            f"The settings file {error.filename} cannot be read: {error.strerror}.",
            "correct the permissions of that file",
        ) from None
    if _is_flag(found.get("source_url")) and not _is_flag(found.get("specs_dir")):
        found.pop("specs_dir", None)  # the command line names the repository to read instead of the folder
    if _is_flag(found.get("state_url")):
        _drop_other_engine(found)
    for name in ("client_secret", "claims_key", "proxy_password"):
        _from_file(name, found)
    try:
        settings = Settings(**{name: one.value for name, one in found.items()})
    except ValidationError as error:
        raise settings_error(error, found, Settings.model_fields, _SECRETS) from None
    named = found.get("token_url")
    of_file = named is not None and named.origin not in ("flag", "environment")
    refuse_foreign_token_host(settings.base_url, settings.token_url, settings.token_host, of_file)
    if settings.ca_file is not None or settings.client_cert_file is not None:
        from agent.platform.tls import check_files  # imported late: few settings name such files, and ssl is large

        check_files(settings.ca_file, settings.client_cert_file, settings.client_key_file)
    return settings, found


def _from_file(name: str, found: dict[str, FoundSetting]) -> None:
    """Set NAME to the content of NAME_FILE, unless NAME itself is set."""
    named, itself = found.get(f"{name}_file"), found.get(name)
    variable = f"{PREFIX}{name.upper()}_FILE"
    if named is None or not str(named.value).strip():
        return
    if itself is not None and str(itself.value).strip():
        if itself.origin == named.origin:
            raise WrongUse(f"{variable} is set, and {PREFIX}{name.upper()} as well.", "remove one of them")
        return
    path = Path(str(named.value).strip()).expanduser()
    try:
        secret = read_text(read_trusted(path, secret=True), str(path))
    except OSError as error:
        raise SettingsError(
            f"{variable}: {path} cannot be read ({error.strerror}); set in {named.where}.",
            "name a file that this user can read",
        ) from None
    except AgentError as error:
        raise type(error)(f"{variable}: {error}", error.hint) from None
    found[name] = FoundSetting(value=secret, origin="file", where=str(path))


def _drop_other_engine(found: dict[str, FoundSetting]) -> None:
    """The command line names another store than the settings: those of the other engine are not for it."""
    for name in OF_FILE if str(found["state_url"].value).strip().startswith(POSTGRES) else OF_DATABASE:
        if not _is_flag(found.get(name)):
            found.pop(name, None)


def _is_flag(one: FoundSetting | None) -> bool:
    return one is not None and one.origin == "flag"


def _secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


_SECRETS = frozenset(name for name, field in Settings.model_fields.items() if _secret(field.annotation))


def named_log_format() -> str:
    """LOG_FORMAT of the environment, for errors before the settings are loaded. Empty: not set."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "").strip()


def refuse_renamed(source: str, followed: str | None) -> None:
    """Raise SettingsError if the store belongs to another source: a new name makes every request new."""
    if followed is not None:
        raise SettingsError(
            f"{PREFIX}SOURCE_NAME is {source}, but the store belongs to the source {followed}. Under a new name, "
            "every request would be verified and billed again.",
            f"set it back to {followed}, or use a separate store for the new source",
        )
