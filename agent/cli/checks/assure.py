"""Checks against Assure: credentials and clock. The only call requests a token."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from agent.assure.account import addresses, client_config, need_credentials
from agent.assure.client import AssureClient
from agent.cli.checks import Check, problem, warning
from agent.cli.checks.network import PROXY_HINTS, certificate
from agent.core.answer import Busy, Refused
from agent.core.errors import AgentError, SettingsError
from agent.platform.clock import SystemClock
from agent.platform.endpoint_health import TOKEN, EndpointCause, trouble_of
from agent.platform.settings import Settings
from agent.store import open_reading, store_exists

_SKEW = 5.0  # seconds: this difference does not harm deadlines and lists of processes
_LARGE_SKEW = 60.0
_OTHER = "check ASSURE_AGENT_BASE_URL and the network; then try again"
HINTS = {
    EndpointCause.TLS: "check the host in ASSURE_AGENT_BASE_URL, and ASSURE_AGENT_CLIENT_CERT_FILE if it wants one",
    EndpointCause.TLS_UNTRUSTED: "add the authority of your company to ASSURE_AGENT_CA_FILE",
    EndpointCause.TLS_HOSTNAME: "check the host in ASSURE_AGENT_BASE_URL",
    EndpointCause.TLS_VALIDITY: "compare the clock of this machine with a time server",
    **PROXY_HINTS,
    EndpointCause.DNS: "check the host in ASSURE_AGENT_BASE_URL, and the name servers of this machine",
    EndpointCause.UNREADABLE: "check ASSURE_AGENT_BASE_URL and ASSURE_AGENT_TOKEN_URL: the answer is not Assure's",
    EndpointCause.STATUS_5XX: "wait until Assure has recovered, then try again",
    EndpointCause.THROTTLED: "wait until Assure accepts more calls, then try again",
}


async def checks(settings: Settings, offline: bool, now: Callable[[], float] = time.time) -> list[Check]:
    """Credentials and clock."""
    try:
        need_credentials(settings)
    except SettingsError as error:
        return [problem("credentials", str(error).rstrip("."), error.hint)]
    if offline:
        return [Check(name="credentials", message="set; not tested, because of --offline")]
    config = client_config(settings)
    async with AssureClient(config, SystemClock()) as client:
        before = now()
        answer = await client.authenticate()
        middle = (before + now()) / 2  # the time of the answer, within half the round trip
        assure_time = client.server_time
    trouble = trouble_of(answer) if answer is not None else None
    found = await certificate(settings, config.token_url, trouble, now()) if trouble is not None else None
    return [
        _credentials(settings, answer),
        *([found] if found is not None else []),
        _clock(assure_time, middle),
        *_events(settings, assure_time),
    ]


def _events(settings: Settings, assure_time: float | None) -> Iterator[Check]:
    """Report a last event in the future, which a wrong clock wrote."""
    if assure_time is None or not store_exists(settings):
        return
    with suppress(AgentError, OSError), open_reading(settings) as reading:  # the check of the store reports an error
        ahead = reading.last_event_at() - assure_time
        if ahead > _LARGE_SKEW:
            yield problem(
                "clock of the store",
                f"the last event of the store is {ahead:.0f} s ahead of Assure's clock",
                "start the agent, or keep it running: it reads the time from Assure and corrects open requests",
            )


def _credentials(settings: Settings, answer: Refused | Busy | None) -> Check:
    if answer is None:
        return Check(name="credentials", message=f"Assure issues a token at {settings.base_url}")
    trouble = trouble_of(answer)
    cause = replace(trouble, address=addresses(settings)[TOKEN]).sentence if trouble is not None else "no answer"
    if isinstance(answer, Refused):
        return problem(
            "credentials",
            f"Assure issues no token: {cause}",
            "check ASSURE_AGENT_CLIENT_ID and ASSURE_AGENT_CLIENT_SECRET against the Signicat Dashboard",
        )
    hint = HINTS.get(trouble.cause, _OTHER) if trouble is not None else _OTHER
    return problem("credentials", f"Assure issues no token: {cause}", hint)


def _clock(assure_time: float | None, local_time: float) -> Check:
    if assure_time is None:
        return warning("clock", "Assure did not send its time", "compare the clock of this machine with a time server")
    skew = local_time - assure_time
    ahead = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Assure's"
    if abs(skew) > _LARGE_SKEW:
        return problem("clock", f"this clock is {ahead}", "set the clock, for example with chrony or timesyncd")
    if abs(skew) > _SKEW:
        return warning("clock", f"this clock is {ahead}", "synchronize the clock with chrony or timesyncd")
    return Check(name="clock", message="within a few seconds of Assure's")
