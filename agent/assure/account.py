"""The account at Assure: what the settings say of it, and what is said when it does not answer."""

from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from agent.assure.client import AssureClient
from agent.assure.connection import Config
from agent.core.answer import Answer, Refused, Trouble
from agent.core.errors import RemoteError, SettingsError
from agent.platform.endpoint_health import ASSURE, TOKEN, trouble_of
from agent.platform.settings import Settings
from agent.platform.token_host import foreign_token_host
from agent.ports.sink import sink_id

ENDPOINTS = "endpoints"  # under this the store remembers the troubles of the endpoints, as JSON
CIRCUIT = "circuit"  # under this the store remembers why nothing is sent just now; empty: all is well
TOKEN_PATH = "/auth/open/connect/token"  # noqa: S105 - a path (contract §1)


def need_credentials(settings: Settings) -> None:
    """Raise SettingsError when there are none."""
    if not settings.client_id or not settings.client_secret.get_secret_value():
        raise SettingsError(
            "ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET are not set.",
            "set them to the API client of your Signicat account, or try the simulator: assure-agent run --sandbox",
        )


def client_rejected(code: str = "") -> RemoteError:
    """The token endpoint said `invalid_client`, or another OAuth error about the client."""
    return RemoteError(
        f"Assure does not accept the client id and secret{f' ({code})' if code else ''}.",
        "check ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET against the Signicat Dashboard",
    )


def unreachable(
    settings: Settings, answer: Answer[Any], note: str, what: str = "Assure cannot be reached"
) -> RemoteError:
    """Assure or its token endpoint did not answer as it should; the cause is said."""
    trouble = trouble_of(answer)
    name = TOKEN if trouble is None or answer.evidence.trouble is Trouble.NO_TOKEN else ASSURE
    cause = f": {replace(trouble, address=addresses(settings)[name]).sentence}" if trouble is not None else ""
    return RemoteError(f"{what}{cause}.", f"check ASSURE_AGENT_BASE_URL and the network; {note}")


async def authenticate(client: AssureClient, settings: Settings, note: str) -> None:
    """Get a token, so that what follows asks Assure itself. Raises RemoteError with the cause where there is none."""
    answer = await client.authenticate()
    if isinstance(answer, Refused):
        raise client_rejected(answer.evidence.cause)
    if answer is not None:
        raise unreachable(settings, answer, note)


def addresses(settings: Settings) -> dict[str, str]:
    """Scheme, host and port of each endpoint: all of a URL that holds no secret."""
    config = client_config(settings)
    found = {ASSURE: _address(config.base_url), TOKEN: _address(config.token_url)}
    return found | {sink_name(url): _address(url) for url in settings.sink_urls}


def sink_name(url: str) -> str:
    """A sink among the endpoints; their number is bounded by the setting."""
    return f"sink-{sink_id(url)[:8]}"


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def account_of(settings: Settings) -> str:
    """What a store is bound to: the client, where Assure is, and where tokens come from if that is another host."""
    place = foreign_token_host(settings.base_url, settings.token_url)
    return f"{settings.client_id} at {settings.base_url}" + (f", with tokens of {place}" if place else "")


def client_config(settings: Settings) -> Config:
    """What the client needs of the settings."""
    return Config(
        base_url=settings.base_url,
        token_url=settings.token_url or settings.base_url + TOKEN_PATH,
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        request_timeout=settings.request_timeout,
        concurrency=settings.concurrency,
    )
