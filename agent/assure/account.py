"""The account at Assure: its settings, and the errors if it cannot be reached."""

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Answer, Refused, Trouble
from agent.core.errors import RemoteError, SettingsError
from agent.platform.endpoint_health import ASSURE, TOKEN, trouble_of
from agent.platform.settings import Settings
from agent.platform.tls import tls_context
from agent.platform.token_host import foreign_token_host
from agent.ports.sink import sink_id

TOKEN_PATH = "/auth/open/connect/token"  # noqa: S105 - a path (contract §1)


def need_credentials(settings: Settings) -> None:
    """Raise SettingsError if client id or secret is missing."""
    if not settings.client_id or not settings.client_secret.get_secret_value():
        raise SettingsError(
            "ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET are not set.",
            "set them to the API client of your Signicat account, or try the simulator: assure-agent run --sandbox",
        )


def client_rejected(code: str = "") -> RemoteError:
    """The error for `invalid_client`, or another OAuth error about the client."""
    return RemoteError(
        f"Assure does not accept the client id and secret{f' ({code})' if code else ''}.",
        "check ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET against the Signicat Dashboard",
    )


def unreachable(
    settings: Settings, answer: Answer[Any], note: str, what: str = "Assure cannot be reached"
) -> RemoteError:
    """The error for a failed call to Assure or its token endpoint, with the cause."""
    trouble = trouble_of(answer)
    name = TOKEN if trouble is None or answer.evidence.trouble is Trouble.NO_TOKEN else ASSURE
    cause = f": {replace(trouble, address=addresses(settings)[name]).sentence}" if trouble is not None else ""
    return RemoteError(f"{what}{cause}.", f"check ASSURE_AGENT_BASE_URL and the network; {note}")


async def authenticate(client: AssureClient, settings: Settings, note: str) -> None:
    """Get a token. Raises RemoteError with the cause if there is none."""
    answer = await client.authenticate()
    if isinstance(answer, Refused):
        raise client_rejected(answer.evidence.cause)
    if answer is not None:
        raise unreachable(settings, answer, note)


def addresses(settings: Settings) -> dict[str, str]:
    """Scheme, host and port of each endpoint. The rest of a URL may contain a secret."""
    config = client_config(settings)
    found = {ASSURE: _address(config.base_url), TOKEN: _address(config.token_url)}
    return found | {sink_name(url): _address(url) for url in settings.sink_urls}


def sink_name(url: str) -> str:
    """The endpoint name of a sink."""
    return f"sink-{sink_id(url)[:8]}"


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def account_of(settings: Settings) -> str:
    """The account that a store is bound to: client id, URL of Assure, and a foreign host of the token endpoint."""
    place = foreign_token_host(settings.base_url, settings.token_url)
    return f"{settings.client_id} at {settings.base_url}" + (f", with tokens of {place}" if place else "")


def client_config(settings: Settings) -> Config:
    """The client's configuration from the settings."""
    return Config(
        base_url=settings.base_url,
        token_url=settings.token_url or settings.base_url + TOKEN_PATH,
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        request_timeout=settings.request_timeout,
        concurrency=settings.concurrency,
        tls=partial(tls_context, settings.ca_file, settings.client_cert_file, settings.client_key_file),
        proxy_to=settings.proxy_to,
    )
