"""The first call to Assure after a start: a token, with the credentials of the settings."""

from agent.assure.account import client_rejected, unreachable
from agent.assure.client import AssureClient
from agent.core.answer import Busy, Refused, Trouble
from agent.platform.log import logger
from agent.platform.settings import Settings
from agent.platform.shutdown import Shutdown
from agent.ports import Clock

MAX_ATTEMPTS = 5  # attempts to reach Assure before `run --once` gives up


async def reach(client: AssureClient, settings: Settings, wait: bool, shutdown: Shutdown, clock: Clock) -> None:
    """Is Assure there, and does it know us? A wrong client ends the agent; silence only when we are not patient."""
    for failures in range(MAX_ATTEMPTS):
        answer = await shutdown.run_until_requested(client.authenticate())
        if shutdown.requested.is_set():
            return
        if isinstance(answer, Refused):
            raise client_rejected(answer.evidence.cause)
        if answer is None:
            return
        await clock.wait(shutdown.requested, 0.2 * 2**failures)
    if not isinstance(answer, Busy) or answer.evidence.trouble is not Trouble.CONNECT:
        return  # something answers: the loops are patient
    assert answer is not None
    silence = unreachable(settings, answer, "the requests are kept and nothing is lost")
    if not wait:
        raise silence
    logger().error("unreachable", error=str(silence), hint=silence.hint)
