"""The way to Assure: the proxy, and the certificate of a server that TLS does not trust."""

import os
from collections.abc import Iterator

from agent.assure.account import client_config
from agent.assure.http.messages import Origin
from agent.assure.presented import Presented, presented
from agent.cli.checks import Check, problem, warning
from agent.core.timestamps import format_timestamp
from agent.platform.endpoint_health import EndpointCause, EndpointTrouble
from agent.platform.settings import PREFIX, Settings

_FOREIGN = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
_SKEW = 60.0  # seconds
_CERTIFICATE = (EndpointCause.TLS_UNTRUSTED, EndpointCause.TLS_HOSTNAME, EndpointCause.TLS_VALIDITY)
PROXY_HINTS = {
    EndpointCause.PROXY_UNREACHABLE: "check host and port of ASSURE_AGENT_PROXY_URL, and that this machine may reach "
    "them; a host that needs no proxy goes into ASSURE_AGENT_NO_PROXY",
    EndpointCause.PROXY_CREDENTIALS: "check the user and password in ASSURE_AGENT_PROXY_URL or "
    "ASSURE_AGENT_PROXY_PASSWORD; the agent supports Basic authentication only",
    EndpointCause.PROXY_REFUSED: "ask the operator of the proxy to allow this host, or add it to "
    "ASSURE_AGENT_NO_PROXY if this machine may call it directly",
    EndpointCause.PROXY_GATEWAY: "check the host in ASSURE_AGENT_BASE_URL; then ask the operator of the proxy",
}


def checks(settings: Settings) -> Iterator[Check]:
    """The proxy of each host, and a proxy of the environment that is not used."""
    proxy = settings.proxy
    foreign = next((name for name in _FOREIGN if os.environ.get(name)), None)
    if proxy is None and foreign is not None:
        yield warning(
            "proxy",
            f"{foreign} is set, and the agent does not use it: it calls Assure without a proxy",
            f"set {PREFIX}PROXY_URL to that proxy; or keep this if Assure can be reached without it",
        )
        return
    if proxy is None:
        yield Check(name="proxy", message="none")
        return
    config = client_config(settings)
    origins = {Origin.of(url) for url in (config.base_url, config.token_url, *settings.sink_urls)}
    ways: dict[bool, list[str]] = {True: [], False: []}
    for origin in sorted(origins, key=lambda one: one.authority):
        ways[settings.proxy_to(origin.host, origin.port) is not None].append(origin.authority)
    named = f"{proxy.url} {'with' if proxy.authorization else 'without'} credentials"
    direct = f"; without it: {', '.join(ways[False])}" if ways[False] else ""
    yield Check(name="proxy", message=f"{named}, for {', '.join(ways[True]) or 'no host'}{direct}")


async def certificate(settings: Settings, url: str, trouble: EndpointTrouble, now: float) -> Check | None:
    """The reason why TLS does not trust a server. None: the trouble is another one, or nothing more is known."""
    found = await presented(url, client_config(settings)) if trouble.cause in _CERTIFICATE else None
    if found is None:
        return None
    if trouble.cause is EndpointCause.TLS_UNTRUSTED:
        return problem(
            "certificate",
            f"its issuer is {found.issuer}, which this machine does not trust",
            f"if that is your company's authority, put its certificate, as your network team publishes it, into a PEM "
            f"file, and set {PREFIX}CA_FILE to it",
        )
    if trouble.cause is EndpointCause.TLS_HOSTNAME:
        return problem(
            "certificate",
            f"it is for {found.hosts or 'no host'}, not for {Origin.of(url).host}",
            f"check the host in {PREFIX}BASE_URL and {PREFIX}TOKEN_URL",
        )
    return _validity(found, now)


def _validity(found: Presented, now: float) -> Check:
    """Distinguish an expired certificate from a wrong clock of this machine, by the clock of the server."""
    valid = f"it is valid from {format_timestamp(found.begins)} to {format_timestamp(found.ends)}"
    here, there = format_timestamp(now), found.server_time
    if there is None:
        return problem(
            "certificate",
            f"{valid}; this clock shows {here}, and the server did not send its time",
            "compare the clock of this machine with a time server; if it is right, the certificate has to be renewed",
        )
    if abs(now - there) > _SKEW and found.begins <= there <= found.ends:
        return problem(
            "certificate",
            f"{valid}; this clock shows {here}, and the server's {format_timestamp(there)}: this clock is wrong",
            "set the clock, for example with chrony or timesyncd",
        )
    return problem(
        "certificate",
        f"{valid}, and the server's clock shows {format_timestamp(there)}: it, or an authority of its chain, is not "
        "valid now",
        "wait until the operator of the server, or of a proxy that inspects TLS, has renewed it",
    )
