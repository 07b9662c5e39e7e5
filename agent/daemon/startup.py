"""The first call to Assure after a start: a token, with the credentials of the settings."""

from agent.assure.account import not_accepted, unreachable
from agent.assure.client import AssureClient
from agent.core.answer import Busy, Refused, Trouble
from agent.platform.log import logger
from agent.platform.settings import Settings
from agent.platform.shutdown import Ending
from agent.ports import Clock

PATIENCE = 5  # attempts to reach Assure before `run --once` gives up


async def reach(client: AssureClient, settings: Settings, patient: bool, ending: Ending, clock: Clock) -> None:
    """Is Assure there, and does it know us? A wrong client ends the agent; silence only when we are not patient."""
    for failures in range(PATIENCE):
        answer = await ending.unless_asked(client.authenticate())
        if ending.asked.is_set():
            return
        if isinstance(answer, Refused):
            raise not_accepted(answer.evidence.cause)
        if answer is None:
            return
        await clock.wait(ending.asked, 0.2 * 2**failures)
    if not isinstance(answer, Busy) or answer.evidence.trouble is not Trouble.CONNECT:
        return  # something answers: the loops are patient
    assert answer is not None
    silence = unreachable(settings, answer, "the requests are kept and nothing is lost")
    if not patient:
        raise silence
    logger().error("unreachable", error=str(silence), hint=silence.hint)
