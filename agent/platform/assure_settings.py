"""The settings of the connection to Assure, and the rules that apply to every setting."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from agent.platform.proxy import Proxy, checked_exceptions, is_direct
from agent.platform.settings_types import (
    GivenPath,
    GivenText,
    checked_url,
    matching,
    split_list,
    strip_invisible,
)


class AssureSettings(BaseSettings):
    """The URLs, the credentials, the proxy and the certificates."""

    model_config = SettingsConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    base_url: GivenText = Field(
        "https://api.signicat.com", description="URL of the Assure API: https, or http on loopback."
    )
    token_url: str = Field(
        "",
        description="URL of the token endpoint, on the host of BASE_URL or its vendor. Empty: derived from BASE_URL.",
    )
    token_host: Annotated[
        str, AfterValidator(matching(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])?(:\d{1,5})?", "a host, or HOST:PORT"))
    ] = Field(
        "", description="An additional host that TOKEN_URL may name. Only in the environment or as `--token-host`."
    )
    client_id: str = Field("", description="Client id of the API client in the Assure account.")
    client_secret: SecretStr = Field(SecretStr(""), description="Secret of the API client.")
    client_secret_file: GivenPath | None = Field(
        None, description="File that contains the secret of the API client, instead of CLIENT_SECRET."
    )
    proxy_url: SecretStr = Field(
        SecretStr(""),
        description="Proxy for Assure, its token endpoint and sinks, as http://user:password@HOST:PORT. Empty: no "
        "proxy. HTTPS_PROXY is not read.",
    )
    proxy_password: SecretStr = Field(
        SecretStr(""), description="Password of the user in PROXY_URL, not percent-encoded."
    )
    proxy_password_file: GivenPath | None = Field(
        None, description="File that contains that password, instead of PROXY_PASSWORD."
    )
    no_proxy: Annotated[list[str], BeforeValidator(split_list), AfterValidator(checked_exceptions)] = Field(
        [],
        description="Hosts that are called without the proxy, comma-separated: login.example (with its subdomains), "
        ".example, 10.0.0.0/8, HOST:PORT. Loopback always is.",
    )
    ca_file: GivenPath | None = Field(
        None, description="PEM file of authorities that are trusted in addition to those of the system."
    )
    client_cert_file: GivenPath | None = Field(
        None, description="PEM file of a client certificate for Assure and its token endpoint; no sink receives it."
    )
    client_key_file: GivenPath | None = Field(
        None, description="PEM file of its unencrypted key, if CLIENT_CERT_FILE does not contain it."
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
        """Only the arguments of `load_settings`: the default sources would trust files of any owner."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _text(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return strip_invisible(value)
        except ValueError as error:
            if info.field_name != "state_url":
                raise
            raise ValueError(f"expected sqlite:/// and the path of a file; {error}") from None

    @field_validator("base_url", "token_url")
    @classmethod
    def _safe_url(cls, value: str) -> str:
        return checked_url(value, "https://api.signicat.com").rstrip("/") if value else value

    @model_validator(mode="after")
    def _consistent_connection(self) -> "AssureSettings":
        _ = self.proxy  # raises ValueError
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("CLIENT_KEY_FILE needs CLIENT_CERT_FILE: a key is of no use without its certificate")
        return self

    @property
    def proxy(self) -> Proxy | None:
        """The proxy of PROXY_URL."""
        url, password = self.proxy_url.get_secret_value(), self.proxy_password.get_secret_value()
        return Proxy.of(url, password) if url or password else None

    def proxy_to(self, host: str, port: int) -> Proxy | None:
        """The proxy for calls to a host; None: it is called directly."""
        return None if is_direct(host, port, self.no_proxy) else self.proxy
