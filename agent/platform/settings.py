"""The settings: environment, `.env`, a secrets folder, a YAML file; flags win (design §10).

Every setting is `ASSURE_AGENT_` and its name in capitals. The YAML file is `assure-agent.yaml`, with the names in lower
case; the secrets folder is `/run/secrets`. Secrets show in no repr, no log and no error.
"""

import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.core.errors import AgentError, SettingsError, WrongUse
from agent.core.policy import Policy
from agent.platform.settings_errors import fault
from agent.platform.settings_files import text_of
from agent.platform.settings_sources import PREFIX, Found, gather
from agent.platform.settings_types import (
    Bytes,
    GivenPath,
    GivenText,
    Seconds,
    checked_url,
    clean,
    host_and_port,
    loopback,
    optional,
    shaped,
    signing_keys,
    uid_of,
    words,
)
from agent.platform.token_host import refuse_elsewhere
from agent.platform.trusted_files import read_trusted

__all__ = ["PREFIX", "Settings", "load_settings", "loopback", "refuse_renamed", "secrets_of"]

SHARED: ContextVar[Mapping[str, str]] = ContextVar("SHARED", default={})  # noqa: B039 - the flags of every command; never changed
_SHORTEST_KEY = 32  # characters of CLAIMS_KEY: it is stretched by nothing, so it has to be random


class Settings(BaseSettings):
    """All settings of this version, with their defaults. Durations are in seconds once read."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    base_url: GivenText = Field("https://api.signicat.com", description="Where Assure is: https, or http on loopback.")
    token_url: str = Field(
        "", description="The token endpoint, on the host of BASE_URL or its vendor; derived from BASE_URL when empty."
    )
    token_host: Annotated[
        str, AfterValidator(shaped(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(:\d{1,5})?", "a host, or HOST:PORT"))
    ] = Field("", description="Another host that TOKEN_URL may lead to; environment and `--token-host` only.")
    client_id: str = Field("", description="The API client of the Assure account.")
    client_secret: SecretStr = Field(SecretStr(""), description="Its secret.")
    client_secret_file: GivenPath | None = Field(None, description="A file that holds the secret, instead.")
    specs_dir: GivenPath = Field(
        Path("specs"), description="The folder of request files; a link is followed at each scan."
    )
    source_name: GivenText = Field(
        "default", description="The name of the source; part of every uid, so never change it."
    )
    source_owner: Annotated[list[str], BeforeValidator(words)] = Field(
        [], description="Users or uids, comma-separated: request files that others own or can change are refused."
    )
    other_documents: Literal["refuse", "ignore"] = Field(
        "refuse", description="Documents of another apiVersion group, such as a Kustomization: refused, or passed over."
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
    events_signature_header: Annotated[
        str, AfterValidator(shaped(r"[A-Za-z0-9-]{1,64}", "1 to 64 letters, digits and hyphens"))
    ] = Field("X-Signicat-Signature", description="The header with the HMAC-SHA256 of an event's body.")
    events_signature_encoding: Literal["hex", "base64"] = Field("hex", description="How the HMAC is written there.")
    events_signature_prefix: str = Field("", description="What stands before it, such as `sha256=`.")
    api_token: SecretStr = Field(
        SecretStr(""), description="The bearer token of /api/requests and of the status page; without it no API."
    )
    sink_urls: Annotated[list[str], BeforeValidator(words)] = Field(
        [], description="Where CloudEvents are sent, comma-separated: https, or http on loopback."
    )
    sink_secret: SecretStr = Field(
        SecretStr(""), description="Signs what is sent (Standard Webhooks); two, comma-separated, while it rotates."
    )
    redirect_hosts: Annotated[list[str], BeforeValidator(words)] = Field(
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
    agent_id: Annotated[str, AfterValidator(shaped(r"[a-z0-9]{0,16}", "at most 16 small letters and digits"))] = Field(
        "", description="Part of external references; derived when empty."
    )
    log_format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, json in a pipe.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level that is told.")
    env_file: str = Field(
        "", description="A file to read instead of `.env`, as `--env-file`; environment and flag only."
    )
    config_file: str = Field(
        "", description="A file to read instead of `assure-agent.yaml`, as `--config-file`; environment and flag only."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` gathered: the usual sources would believe any file, whoever wrote it."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return clean(value)
        except ValueError as error:
            if info.field_name != "state_url":
                raise
            raise ValueError(f"expected sqlite:/// and the path of a file; {error}") from None

    @field_validator("base_url", "token_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return checked_url(value, "https://api.signicat.com").rstrip("/") if value else value

    @field_validator("sink_urls")
    @classmethod
    def _safe_urls(cls, values: list[str]) -> list[str]:
        return list(dict.fromkeys(checked_url(value, "https://shop.example/assure", query=True) for value in values))

    @field_validator("source_owner")
    @classmethod
    def _users(cls, values: list[str]) -> list[str]:
        for user in values:
            uid_of(user)
        return values

    @field_validator("state_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        path = value.removeprefix("sqlite:///")
        if path.startswith("~"):
            path = str(Path(path).expanduser())
        if path == value or path.startswith(":") or "\0" in path or not Path(path).name or path.endswith("/"):
            raise ValueError("expected sqlite:/// and the path of a file, such as sqlite:///state/agent.db")
        if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where a folder may not be looked into
            raise ValueError("expected the path of a file, such as sqlite:///state/agent.db; there is a folder")
        return f"sqlite:///{path}"

    @field_validator("listen", "events_listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host_and_port(value)
        return value

    @field_validator("sink_secret")
    @classmethod
    def _signing(cls, value: SecretStr) -> SecretStr:
        signing_keys(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _long_enough(self) -> "Settings":
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
    def ignores_others(self) -> bool:
        """True when documents of another apiVersion group are passed over."""
        return self.other_documents == "ignore"

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
        return host_and_port(self.listen)

    @property
    def events_address(self) -> tuple[str, int]:
        """Host and port of EVENTS_LISTEN."""
        return host_and_port(self.events_listen)


def secrets_of(value: SecretStr) -> tuple[str, ...]:
    """The secrets of a setting that may hold several while they rotate."""
    return tuple(secret for part in value.get_secret_value().split(",") if (secret := part.strip()))


def load_settings(**flags: Any) -> Settings:
    """Read the settings; flags that are None were not given. Raises SettingsError with the first fault."""
    return load_found(**flags)[0]


def load_found(**flags: Any) -> tuple[Settings, Mapping[str, Found]]:
    """The settings, and where each value came from that is not a default. Raises SettingsError."""
    given = {**SHARED.get(), **{name: value for name, value in flags.items() if value is not None}}
    try:
        found = gather(given, Settings.model_fields, _SECRETS)
    except OSError as error:
        raise SettingsError(
            f"The settings cannot be read: {error.filename}: {error.strerror}.", "correct the rights of that file"
        ) from None
    for name in ("client_secret", "claims_key"):
        _from_file(name, found)
    try:
        settings = Settings(**{name: one.value for name, one in found.items()})
    except ValidationError as error:
        raise fault(error, found, _SECRETS) from None
    named = found.get("token_url")
    of_file = named is not None and named.origin not in ("flag", "environment")
    refuse_elsewhere(settings.base_url, settings.token_url, settings.token_host, of_file)
    return settings, found


def _from_file(name: str, found: dict[str, Found]) -> None:
    """Put the content of NAME_FILE in the place of NAME, where that is not set itself."""
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
        secret = text_of(read_trusted(path, secret=True), str(path))
    except OSError as error:
        raise SettingsError(
            f"{variable}: {path} cannot be read: {error.strerror}.", "name a file that this user can read"
        ) from None
    except AgentError as error:
        raise type(error)(f"{variable}: {error}", error.hint) from None
    found[name] = Found(value=secret, origin="file", where=str(path))


def _secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in get_args(annotation)


_SECRETS = frozenset(name for name, field in Settings.model_fields.items() if _secret(field.annotation))


def named_log_format() -> str:
    """LOG_FORMAT of the environment, where the settings as a whole cannot be read; empty: not set."""
    return os.environ.get(f"{PREFIX}LOG_FORMAT", "").strip()


def refuse_renamed(source: str, followed: str | None) -> None:
    """Raise SettingsError where the store follows another source: under a new name everybody is new."""
    if followed is not None:
        raise SettingsError(
            f"{PREFIX}SOURCE_NAME is {source}, and the state file follows the source {followed}: all of its requests "
            "would be verified anew, and billed.",
            f"set it back to {followed}, or give another source a state file of its own",
        )
