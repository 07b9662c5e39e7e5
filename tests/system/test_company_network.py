"""A whole life through a real proxy and TLS of a company's own authority; and each way in which it can fail."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.core.record import Outcome, Phase
from agent.platform.endpoint_health import ASSURE, TOKEN, EndpointCause
from tests.support.company_proxy import Company, company_proxy, settings_of, terminating
from tests.support.environment import World

CREDENTIALS = "agent:pass word"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with company_proxy(tmp_path_factory.mktemp("proxy"), CREDENTIALS) as address:
        yield address


@pytest.fixture
def company(folder: Path) -> Company:
    return Company(folder / "company")


def port_of(world: World) -> int:
    return int(world.sandbox.url.rpartition(":")[2])


async def test_a_life_through_proxy_and_tls_with_a_client_certificate(
    world: World, proxy: str, company: Company
) -> None:
    world.upload("a")
    world.capture("b")
    async with terminating(company.server("assure.test", asks=True), port_of(world)) as at:
        given = settings_of(proxy, company, base_url=f"https://assure.test:{at}", client_cert_file=company.client_file)
        await world.settle(**given)
    for record in world.records().values():
        assert (record.phase, record.outcome) == (Phase.DONE, Outcome.ACCEPTED)
    world.check()
    world.check_nothing_left()
    assert len(world.ledger.dossiers) == 2, "no call was sent twice"
    assert not [line for line in map(str, world.logs) if "pass word" in line or "pass%20word" in line]


async def test_without_credentials_a_proxy_that_wants_none_is_used(
    world: World, company: Company, tmp_path: Path
) -> None:
    world.upload("a")
    with company_proxy(tmp_path) as open_proxy:
        async with terminating(company.server("assure.test"), port_of(world)) as at:
            await world.settle(
                proxy_url=f"http://{open_proxy}", ca_file=company.ca_file, base_url=f"https://assure.test:{at}"
            )
    assert world.record("a").outcome is Outcome.ACCEPTED


async def test_token_and_api_go_different_ways(
    world: World, proxy: str, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[str] = []

    async def resolve(loop: Any, host: str, port: int) -> list[Any]:
        resolved.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr("agent.assure.http.dial._resolve", resolve)
    world.upload("a")
    async with terminating(company.server("assure.test", "login.test"), port_of(world)) as at:
        token = f"https://login.test:{at}/auth/open/connect/token"
        given = settings_of(proxy, company, base_url=f"https://assure.test:{at}", token_url=token)
        await world.settle(**given, no_proxy="login.test")
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert set(resolved) == {"login.test", "127.0.0.1"}, "the proxy resolves the name of Assure"


@pytest.mark.parametrize(
    ("host", "change", "cause"),
    [
        ("assure.test", {"proxy_url": "http://agent:wrong-secret@{proxy}"}, EndpointCause.PROXY_CREDENTIALS),
        ("assure.test", {"proxy_url": "http://{proxy}"}, EndpointCause.PROXY_CREDENTIALS),
        ("forbidden.test", {}, EndpointCause.PROXY_REFUSED),
        ("gone.test", {}, EndpointCause.PROXY_GATEWAY),
        ("assure.test", {"proxy_url": "http://127.0.0.1:9"}, EndpointCause.PROXY_UNREACHABLE),
        ("assure.test", {"ca_file": None}, EndpointCause.TLS_UNTRUSTED),
        ("other.test", {}, EndpointCause.TLS_HOSTNAME),
        ("assure.test", {"client_cert_file": None}, EndpointCause.RESET),  # asyncio's server sends no alert
    ],
    ids=["wrong password", "no password", "refused", "no route", "no proxy", "no authority", "name", "no certificate"],
)
async def test_each_failure_has_a_cause_and_nothing_is_sent_or_billed(
    world: World, proxy: str, company: Company, host: str, change: dict[str, Any], cause: EndpointCause
) -> None:
    change = {name: str(value).format(proxy=proxy) if name == "proxy_url" else value for name, value in change.items()}
    world.upload("a")
    async with terminating(
        company.server("assure.test", "forbidden.test", "gone.test", asks=True), port_of(world)
    ) as at:
        given = settings_of(proxy, company, base_url=f"https://assure.test:{at}", client_cert_file=company.client_file)
        async with world.running(**given | {"base_url": f"https://{host}:{at}"} | change) as agent:
            await world.clock.advance(30)
            trouble = agent._health._endpoints.current[TOKEN]
        assert trouble.cause is cause, trouble
        assert world.calls == [], "nothing arrived at Assure"
        assert "wrong-secret" not in trouble.sentence + str(world.logs)
        if cause is EndpointCause.PROXY_REFUSED:
            world.clock.release()
            await world.settle(**given)
            assert world.record("a").outcome is Outcome.ACCEPTED, "the request continues when the way is open"
            world.check()


async def test_calls_that_the_proxy_did_not_let_through_are_made_later_and_once(
    world: World, proxy: str, company: Company
) -> None:
    """The token endpoint needs no proxy, so that each call of the request itself meets the proxy."""
    world.upload("a")
    async with terminating(company.server("assure.test", "localhost"), port_of(world)) as at:
        token = f"https://localhost:{at}/auth/open/connect/token"
        given = settings_of(proxy, company, base_url=f"https://assure.test:{at}", token_url=token)
        async with world.running(**given | {"proxy_url": f"http://agent:wrong@{proxy}"}) as agent:
            await world.clock.advance(120)
            assert agent._health._endpoints.current[ASSURE].cause is EndpointCause.PROXY_CREDENTIALS
            assert "does not accept the user and password of PROXY_URL" in agent._health.troubles()[0][2]
        assert set(world.calls) == {"token"}
        assert world.record("a").hold is None, "an unsent call is not an unknown answer"
        await world.settle(**given)
    assert world.record("a").outcome is Outcome.ACCEPTED
    assert [process.starts for entry in world.ledger.dossiers.values() for process in entry.processes] == [1]
    world.check()
