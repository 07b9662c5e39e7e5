"""The settings: environment, `.env`, a secrets folder, a YAML file; flags win (design §10).

Every setting is `ASSURE_AGENT_` and its name in capitals. The YAML file is `assure-agent.yaml`, with the names in lower
case; the secrets folder is `/run/secrets`. Secrets show in no repr, no log and no error.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from agent.core.errors import SettingsError
from agent.core.policy import Policy
from agent.misread import DOTENV, SECRETS, YAML_FILE, misread
from agent.setting_types import Bytes, GivenPath, GivenText, Seconds, optional, printable, words

PREFIX = "ASSURE_AGENT_"
_SHORTEST_KEY = 32  # characters of CLAIMS_KEY: it is stretched by nothing, so it has to be random


class Settings(BaseSettings):
    """All settings of this version, with their defaults. Durations are in seconds once read."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=DOTENV,
        extra="ignore",
        hide_input_in_errors=True,
        yaml_file=YAML_FILE,
        secrets_dir=SECRETS if SECRETS.is_dir() else None,
        frozen=True,
    )

    base_url: GivenText = Field("https://api.signicat.com", description="Where Assure is: https, or http on loopback.")
    token_url: str = Field("", description="The token endpoint; derived from BASE_URL when empty.")
    client_id: str = Field("", description="The API client of the Assure account.")
    client_secret: SecretStr = Field(SecretStr(""), description="Its secret.")
    client_secret_file: GivenPath | None = Field(None, description="A file that holds the secret, instead.")
    specs_dir: GivenPath = Field(
        Path("specs"), description="The folder of request files; a link is followed at each scan."
    )
    source_name: GivenText = Field(
        "default", description="The name of the source; part of every uid, so never change it."
    )
    images_dir: GivenPath = Field(Path("images"), description="The folder below which image paths lead.")
    state_url: str = Field("sqlite:///state/agent.db", description="The store: three slashes relative, four absolute.")
    listen: str = Field(
        "127.0.0.1:9464", description="Where metrics, health, API and status page are served; port 0 picks one."
    )
    events_listen: str = Field(
        "127.0.0.1:9465", description="Where POST /events takes Assure Events; served only with EVENTS_SECRET."
    )
    events_secret: SecretStr = Field(
        SecretStr(""), description="The secret of the event subscription; two, comma-separated, while it rotates."
    )
    events_signature_header: str = Field(
        "X-Signicat-Signature",
        pattern=r"^[A-Za-z0-9-]{1,64}$",
        description="The header with the HMAC-SHA256 of an event's body.",
    )
    events_signature_encoding: Literal["hex", "base64"] = Field("hex", description="How the HMAC is written there.")
    events_signature_prefix: str = Field("", description="What stands before it, such as `sha256=`.")
    api_token: SecretStr = Field(
        SecretStr(""), description="The bearer token of /api/requests and of the status page; without it no API."
    )
    sink_urls: Annotated[list[str], NoDecode, BeforeValidator(words)] = Field(
        [], description="Where CloudEvents are sent, comma-separated: https, or http on loopback."
    )
    sink_secret: SecretStr = Field(
        SecretStr(""), description="Signs what is sent (Standard Webhooks); two, comma-separated, while it rotates."
    )
    redirect_hosts: Annotated[list[str], NoDecode, BeforeValidator(words)] = Field(
        [], description="Hosts that redirectUrl may lead to, comma-separated; empty: any."
    )
    concurrency: int = Field(64, ge=1, le=1000, description="Requests that are driven at the same time.")
    rate_limit: float = Field(0, ge=0, le=10_000, description="Calls to Assure in a second, tokens too; 0: no limit.")
    max_starts_per_day: int = Field(0, ge=0, description="Billable starts in a day of UTC; 0: no brake.")
    poll_interval: Seconds = Field(5.0, description="Between two looks at what waits for a result.")
    scan_interval: Seconds = Field(10.0, description="Between two full scans of SPECS_DIR.")
    request_timeout: Seconds = Field(30.0, description="From the last byte sent to Assure's answer.")
    images_after_upload: Literal["keep", "delete"] = Field(
        "keep", description="delete: an image file is deleted once the outcome is there and no open request needs it."
    )
    max_image_bytes: Bytes = Field(10 * 1024**2, description="The largest image that is admitted.")
    hold_ttl: Seconds = Field(7 * 86400.0, description="How long a held request may keep a dossier at Assure.")
    backup_dir: Annotated[Path | None, BeforeValidator(optional)] = Field(
        None, description="A folder for backups at intervals; empty: none are made."
    )
    backup_interval: Seconds = Field(86400.0, description="Between two of these backups.")
    backup_keep: int = Field(7, ge=1, description="How many of them are kept.")
    claims_key: SecretStr = Field(
        SecretStr(""),
        description="What `keep: claims` needs: 32 characters or more, as from `openssl rand -base64 32`.",
    )
    claims_key_file: GivenPath | None = Field(None, description="A file that holds it, instead.")
    agent_id: str = Field(
        "", pattern=r"^[a-z0-9]{0,16}$", description="Part of external references; derived when empty."
    )
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, json in a pipe.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is told.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, `.env`, secrets folder, YAML file: the first that has a value wins."""
        yaml = YamlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, dotenv_settings, file_secret_settings, yaml

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        if isinstance(value, str) and value != printable(value):
            raise ValueError("expected text in UTF-8")
        return value

    @field_validator("base_url", "token_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return _checked(value, "https://api.signicat.com").rstrip("/") if value else value

    @field_validator("sink_urls")
    @classmethod
    def _safe_urls(cls, values: list[str]) -> list[str]:
        return list(dict.fromkeys(_checked(value, "https://shop.example/assure", query=True) for value in values))

    @field_validator("state_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        path = value.removeprefix("sqlite:///")
        if path == value or path.startswith(":") or "\0" in path or not Path(path).name or path.endswith("/"):
            raise ValueError("expected sqlite:/// and the path of a file, such as sqlite:///state/agent.db")
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a folder may not be looked into
            raise ValueError("expected the path of a file, such as sqlite:///state/agent.db; there is a folder")
        return value

    @field_validator("listen", "events_listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError("expected HOST:PORT, such as 127.0.0.1:9464")
        return value

    @model_validator(mode="after")
    def _read_secrets(self) -> "Settings":
        for name in ("client_secret", "claims_key"):
            path: Path | None = getattr(self, f"{name}_file")
            if path is not None and not getattr(self, name).get_secret_value():
                try:
                    secret = path.read_text().strip()
                except (OSError, UnicodeDecodeError):
                    raise ValueError(f"{name.upper()}_FILE cannot be read") from None
                object.__setattr__(self, name, SecretStr(secret))
        if 0 < len(self.claims_key.get_secret_value()) < _SHORTEST_KEY:
            raise ValueError(
                f"CLAIMS_KEY: expected {_SHORTEST_KEY} characters or more, as of `openssl rand -base64 32`"
            )
        return self

    @model_validator(mode="after")
    def _signed(self) -> "Settings":
        if self.sink_urls and not secrets_of(self.sink_secret):
            raise ValueError("SINK_URLS needs SINK_SECRET: whatever is sent is signed")
        return self

    @property
    def keeps_claims(self) -> bool:
        """True when there is a CLAIMS_KEY."""
        return bool(self.claims_key.get_secret_value())

    @property
    def state_path(self) -> Path:
        """The state file; of a symbolic link the file that it leads to, because key and lock stand beside that."""
        path = Path(self.state_url.removeprefix("sqlite:///"))
        try:
            return path.resolve() if path.is_symlink() else path
        except (OSError, RuntimeError):
            raise SettingsError(
                f"ASSURE_AGENT_STATE_URL: the symbolic link {path} leads to itself.", "set it to a file"
            ) from None

    @property
    def policy(self) -> Policy:
        """What the machine needs to know of the settings."""
        return Policy(
            poll_interval=self.poll_interval,
            request_timeout=self.request_timeout,
            hold_ttl=self.hold_ttl,
            budgeted=self.max_starts_per_day > 0,
            discard_images=self.images_after_upload == "delete",
        )

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of LISTEN."""
        return _host_and_port(self.listen)

    @property
    def events_address(self) -> tuple[str, int]:
        """Host and port of EVENTS_LISTEN."""
        return _host_and_port(self.events_listen)


def secrets_of(value: SecretStr) -> tuple[str, ...]:
    """The secrets of a setting that may hold several while they rotate."""
    return tuple(secret for part in value.get_secret_value().split(",") if (secret := part.strip()))


def loopback(host: str) -> bool:
    """True for a name or an address of this machine to itself."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _checked(value: str, example: str, query: bool = False) -> str:
    """The URL, if it is one that secrets may be sent to."""
    parts = urlsplit(value)
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.fragment or (parts.query and not query):
        raise ValueError(f"expected a URL such as {example}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("expected a URL without user info")
    if parts.scheme == "http" and not loopback(parts.hostname):
        raise ValueError("expected https; plain http is for loopback only")
    return value


def load_settings(**flags: Any) -> Settings:
    """Read the settings; flags that are None were not given. Raises SettingsError with the first fault."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        reason = str(first["msg"]).removeprefix("Value error, ")
        where = f"{PREFIX}{name.upper()}: " if name else ""
        raise SettingsError(f"{where}{reason}.", "see the table of settings in README.md") from None
    except Exception as error:
        raise _unreadable(error) from None


def _unreadable(error: Exception) -> SettingsError:
    return SettingsError(f"The settings cannot be read: {misread(error)}.", "correct that file")


def refuse_renamed(source: str, followed: str | None) -> None:
    """Raise SettingsError where the store follows another source: under a new name everybody is new."""
    if followed is not None:
        raise SettingsError(
            f"{PREFIX}SOURCE_NAME is {source}, and the state file follows the source {followed}: all of its requests "
            "would be verified anew, and billed.",
            f"set it back to {followed}, or give another source a state file of its own",
        )


def unknown_settings() -> list[str]:
    """What looks like a setting of ours and is none, in the environment, `.env` and YAML file: most likely a typo.

    Raises SettingsError where one of the files cannot be read, as load_settings does.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    try:
        named = {*os.environ, *dotenv_values(DOTENV, interpolate=False)}
        of_file = YamlConfigSettingsSource(Settings).yaml_data.keys() - Settings.model_fields.keys()
    except Exception as error:
        raise _unreadable(error) from None
    unknown = {name for name in named if name.upper().startswith(PREFIX) and name.upper() not in known}
    return sorted(map(printable, {*unknown, *(f"{name} ({YAML_FILE})" for name in map(str, of_file))}))
