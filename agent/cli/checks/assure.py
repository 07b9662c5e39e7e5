"""Assure: does it let us in, and what time is it there? One token is asked for, nothing else."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from agent.assure.account import addresses, client_config
from agent.assure.client import AssureClient
from agent.cli.checks import Check, problem, warning
from agent.core.answer import Busy, Refused
from agent.core.errors import AgentError
from agent.platform.clock import SystemClock
from agent.platform.endpoint_health import TOKEN, EndpointCause, trouble_of
from agent.platform.settings import Settings
from agent.store.readonly import ReadOnlyStore

_SKEW = 5.0  # seconds: deadlines and lists of processes bear this much
_LARGE_SKEW = 60.0
_OTHER = "check ASSURE_AGENT_BASE_URL and the network; then try again"
HINTS = {
    EndpointCause.TLS: "check the host in ASSURE_AGENT_BASE_URL, and the certificate authorities of this machine",
    EndpointCause.DNS: "check the host in ASSURE_AGENT_BASE_URL, and the name servers of this machine",
    EndpointCause.UNREADABLE: "check ASSURE_AGENT_BASE_URL and ASSURE_AGENT_TOKEN_URL: something else answers there",
    EndpointCause.STATUS_5XX: "wait: it is on their side; then try again",
    EndpointCause.THROTTLED: "wait: it is on their side; then try again",
}


async def checks(settings: Settings, offline: bool, now: Callable[[], float] = time.time) -> list[Check]:
    """Credentials and clock."""
    if not settings.client_id or not settings.client_secret.get_secret_value():
        return [
            problem(
                "credentials",
                "ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET are not both set",
                "set them to the API client of your Signicat account, or use `assure-agent run --sandbox`",
            )
        ]
    if offline:
        return [Check(name="credentials", message="set; not tried, because of --offline")]
    async with AssureClient(client_config(settings), SystemClock()) as client:
        before = now()
        answer = await client.authenticate()
        middle = (before + now()) / 2  # when it was answered, give or take half the round trip
        theirs = client.server_time
    return [_credentials(settings, answer), _clock(theirs, middle), *_events(settings, theirs)]


def _events(settings: Settings, theirs: float | None) -> Iterator[Check]:
    """A last event in the future was written by a clock that was wrong."""
    path = settings.state_path
    if theirs is None or not path.exists():
        return
    with suppress(AgentError, OSError), ReadOnlyStore(path) as reading:  # told by the check of the store
        ahead = reading.last_event_at() - theirs
        if ahead > _LARGE_SKEW:
            yield problem(
                "clock of the store",
                f"the last event of the store is {ahead:.0f} s in the future by Assure's clock",
                "start the agent, or leave it running: it asks Assure for the time and corrects what is open",
            )


def _credentials(settings: Settings, answer: Refused | Busy | None) -> Check:
    if answer is None:
        return Check(name="credentials", message=f"a token can be had at {settings.base_url}")
    trouble = trouble_of(answer)
    cause = replace(trouble, address=addresses(settings)[TOKEN]).sentence if trouble is not None else "no answer"
    if isinstance(answer, Refused):
        return problem(
            "credentials",
            f"no token can be had: {cause}",
            "check ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET against the Signicat Dashboard",
        )
    hint = HINTS.get(trouble.cause, _OTHER) if trouble is not None else _OTHER
    return problem("credentials", f"no token can be had: {cause}", hint)


def _clock(theirs: float | None, ours: float) -> Check:
    if theirs is None:
        return warning("clock", "Assure did not say what time it is", "compare the clock of this machine yourself")
    skew = ours - theirs
    ahead = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Assure's"
    if abs(skew) > _LARGE_SKEW:
        return problem("clock", f"this clock is {ahead}", "set the clock, for instance with chrony or timesyncd")
    if abs(skew) > _SKEW:
        return warning("clock", f"this clock is {ahead}", "let chrony or timesyncd keep the clock")
    return Check(name="clock", message="within a few seconds of Assure's")
