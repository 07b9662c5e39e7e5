"""The settings of this version: names, types, defaults, validation (design §10).

Every setting is `ASSURE_AGENT_` and its name in capitals. Secrets show in no repr, no log and no error.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from agent.core.policy import Policy
from agent.platform.settings_types import (
    Address,
    Bytes,
    GivenPath,
    Seconds,
    checked_url,
    host_and_port,
    matching,
    secrets_of,
    signing_keys,
    split_list,
)
from agent.platform.store_settings import StoreSettings

_SHORTEST_KEY = 32  # characters of CLAIMS_KEY: it is used without key stretching, so it has to be random
_SHORTEST_TOKEN = 16  # characters of API_TOKEN: too long to be guessed


class Settings(StoreSettings):
    """All settings of this version, with their defaults. Durations are in seconds once read."""

    images_dir: GivenPath = Field(
        Path("images"), description="Folder of the images. Image paths in request files are relative to it."
    )
    listen: Address = Field(
        "127.0.0.1:9464", description="HOST:PORT of metrics, health, API and status page. Port 0: a free port."
    )
    events_listen: Address = Field(
        "127.0.0.1:9465", description="HOST:PORT of POST /events, which receives Assure Events. Needs EVENTS_SECRET."
    )
    events_secret: SecretStr = Field(
        SecretStr(""), description="Secret of the event subscription. Two, comma-separated, during a rotation."
    )
    events_signature_header: Annotated[
        str, AfterValidator(matching(r"[A-Za-z0-9-]{1,64}", "1 to 64 letters, digits and hyphens"))
    ] = Field("X-Signicat-Signature", description="Header with the HMAC-SHA256 of the event's body.")
    events_signature_encoding: Literal["hex", "base64"] = Field(
        "hex", description="Encoding of the HMAC in that header."
    )
    events_signature_prefix: str = Field("", description="Text before the HMAC in that header, such as `sha256=`.")
    api_token: SecretStr = Field(
        SecretStr(""),
        description="Bearer token of /api/requests and the status page: at least 16 characters. Empty: no API.",
    )
    sink_urls: Annotated[list[str], BeforeValidator(split_list)] = Field(
        [], description="URLs that receive CloudEvents, comma-separated: https, or http on loopback."
    )
    sink_secret: SecretStr = Field(
        SecretStr(""),
        validate_default=True,
        description="Secret that signs the CloudEvents (Standard Webhooks). Two, comma-separated, during a rotation.",
    )
    redirect_hosts: Annotated[list[str], BeforeValidator(split_list)] = Field(
        [], description="Hosts that redirectUrl may name, comma-separated. Empty: any host."
    )
    concurrency: int = Field(
        64, ge=1, le=1000, description="Number of requests that the agent works on at the same time."
    )
    rate_limit: float = Field(
        0,
        ge=0,
        le=10_000,
        description="Maximum of HTTP requests to Assure per second, including token requests. 0: no limit.",
    )
    max_starts_per_day: int = Field(0, ge=0, description="Maximum of billable starts per day (UTC). 0: no limit.")
    poll_interval: Seconds = Field(5.0, description="Time between two polls of Assure for results.")
    scan_interval: Seconds = Field(10.0, description="Time between two full scans of SPECS_DIR.")
    request_timeout: Seconds = Field(
        30.0, description="Timeout of a call to Assure, from the last byte sent to the answer."
    )
    images_after_upload: Literal["keep", "delete"] = Field(
        "keep", description="delete: delete an image file after the outcome, when no open request needs it."
    )
    max_image_bytes: Bytes = Field(
        10 * 1024**2, description="Maximum size of an image, in bytes or with a unit such as MiB."
    )
    hold_ttl: Seconds = Field(7 * 86400.0, description="Maximum time that a held request may keep a dossier at Assure.")
    claims_key: SecretStr = Field(
        SecretStr(""),
        description="Key that encrypts claims: at least 32 characters, as of `openssl rand -base64 32`.",
    )
    claims_key_file: GivenPath | None = Field(None, description="File that contains the key, instead of CLAIMS_KEY.")
    agent_id: Annotated[str, AfterValidator(matching(r"[a-z0-9]{0,16}", "at most 16 small letters and digits"))] = (
        Field("", description="Name of this agent in external references. Empty: derived from the key.")
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Format of the log. auto: text on a terminal, otherwise json."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Minimum log level.")
    env_file: str = Field("", description="File to read instead of `.env`. Only in the environment or as `--env-file`.")
    config_file: str = Field(
        "", description="File to read instead of `assure-agent.yaml`. Only in the environment or as `--config-file`."
    )

    @field_validator("sink_urls")
    @classmethod
    def _safe_urls(cls, values: list[str]) -> list[str]:
        return list(dict.fromkeys(checked_url(value, "https://shop.example/assure", query=True) for value in values))

    @field_validator("sink_secret")
    @classmethod
    def _check_signature_settings(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        signing_keys(value.get_secret_value())
        if info.data.get("sink_urls") and not secrets_of(value):
            raise ValueError("expected a secret, because SINK_URLS is set and every CloudEvent is signed")
        return value

    @field_validator("claims_key", "api_token")
    @classmethod
    def _long_enough(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        shortest = _SHORTEST_KEY if info.field_name == "claims_key" else _SHORTEST_TOKEN
        length = len(value.get_secret_value())
        if 0 < length < shortest:
            raise ValueError(f"expected {shortest} characters or more, as of `openssl rand -base64 32`, not {length}")
        return value

    @property
    def keeps_claims(self) -> bool:
        """True if CLAIMS_KEY is set."""
        return bool(self.claims_key.get_secret_value())

    @property
    def source_folder(self) -> Path:
        """The folder next to the local files with the mirror and the exported revisions of SOURCE_URL.

        It is absolute, because git runs in another working directory.
        """
        return self.local_path.absolute().with_suffix(".source")

    @property
    def requests_dir(self) -> Path:
        """The folder of the request files: SPECS_DIR, or the current revision of SOURCE_URL."""
        return self.source_folder / "current" if self.source_url else self.specs_dir

    @property
    def ignores_others(self) -> bool:
        """True if documents of another apiVersion group are ignored."""
        return self.other_documents == "ignore"

    @property
    def policy(self) -> Policy:
        """The settings that the core uses."""
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
