"""The account at Assure: what the settings say of it, and what is said when it does not answer."""

from agent.assure.client import AssureClient, Config
from agent.core.answer import Busy, Refused, Trouble
from agent.core.errors import RemoteError, SettingsError
from agent.ending import Ending
from agent.log import logger
from agent.ports import Clock
from agent.settings import Settings
from agent.token_host import elsewhere

CIRCUIT = "circuit"  # under this the store remembers why nothing is sent just now; empty: all is well
PATIENCE = 5  # attempts to reach Assure before `run --once` gives up
TOKEN_PATH = "/auth/open/connect/token"  # noqa: S105 - a path (contract §1)


def need_credentials(settings: Settings) -> None:
    """Raise SettingsError when there are none."""
    if not settings.client_id or not settings.client_secret.get_secret_value():
        raise SettingsError(
            "ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET are not set.",
            "set them to the API client of your Signicat account, or try the simulator: assure-agent run --sandbox",
        )


def not_accepted() -> RemoteError:
    """The token endpoint said `invalid_client`."""
    return RemoteError(
        "Assure does not accept the client id and secret.",
        "check ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET against the Signicat Dashboard",
    )


def unreachable(settings: Settings, comfort: str) -> RemoteError:
    """Nobody answered."""
    return RemoteError(
        f"Assure cannot be reached at {settings.base_url}.", f"check ASSURE_AGENT_BASE_URL and the network; {comfort}"
    )


def account_of(settings: Settings) -> str:
    """What a store is bound to: the client, where Assure is, and where tokens come from if that is another host."""
    place = elsewhere(settings.base_url, settings.token_url)
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


async def reach(client: AssureClient, settings: Settings, patient: bool, ending: Ending, clock: Clock) -> None:
    """Is Assure there, and does it know us? A wrong client ends the agent; silence only when we are not patient."""
    for failures in range(PATIENCE):
        answer = await ending.unless_asked(client.authenticate())
        if ending.asked.is_set():
            return
        if isinstance(answer, Refused):
            raise not_accepted()
        if answer is None:
            return
        if not isinstance(answer, Busy) or answer.evidence.trouble is not Trouble.CONNECT:
            return  # something answers: the loops are patient
        await clock.wait(ending.asked, 0.2 * 2**failures)
    silence = unreachable(settings, "the requests are kept and nothing is lost")
    if not patient:
        raise silence
    logger().error("unreachable", error=str(silence), hint=silence.hint)
