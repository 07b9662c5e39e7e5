"""`doctor` behind a company's network: each fault has a finding of its own, with the remedy, and no secret."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from agent.cli.checks import Check, State, assure, network
from agent.platform.settings import load_settings
from agent.sandbox import SandboxServer
from tests.assure.http.conftest import serving
from tests.cli.command_runner import Here
from tests.support.company_proxy import Company, company_proxy, settings_of, terminating

CREDENTIALS = "agent:pass word"
TODAY = datetime.now(UTC)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with company_proxy(tmp_path_factory.mktemp("proxy"), CREDENTIALS) as address:
        yield address


@pytest.fixture
def company(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.chdir(folder)
    return Company(folder / "company")


class Server:
    """Answers with a time, and keeps the head of each request."""

    def __init__(self, time: datetime | None) -> None:
        self.heads: list[bytes] = []
        date = f"Date: {format_datetime(time, usegmt=True)}\r\n" if time is not None else ""
        self._answer = f"HTTP/1.1 404 Not Found\r\n{date}Content-Length: 0\r\n\r\n".encode()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self._answer)
        await writer.drain()

    @asynccontextmanager
    async def behind(self, **tls: Any) -> AsyncIterator[int]:
        async with serving(self, **tls) as port:
            yield port


async def findings(base_url: str, **given: Any) -> dict[str, Check]:
    secrets = {"client_id": "me", "client_secret": "hunter2"}
    settings = load_settings(base_url=base_url, state_url="sqlite:///state/agent.db", **secrets | given)
    found = {one.name: one for one in (*network.checks(settings), *await assure.checks(settings, offline=False))}
    text = " ".join(one.sentence for one in found.values())
    assert not [secret for secret in ("hunter2", "pass word", "pass%20word", "YWdlbnQ") if secret in text]
    return found


@pytest.mark.parametrize(
    ("host", "url", "message", "hint"),
    [
        ("assure.test", "http://agent:no@{}", "does not accept the user and password", "ASSURE_AGENT_PROXY_PASSWORD"),
        ("assure.test", "http://{}", "does not accept the user and password", "ASSURE_AGENT_PROXY_URL"),
        ("forbidden.test", "http://agent:pass%20word@{}", "refuses to connect to this host", "operator of the proxy"),
        ("gone.test", "http://agent:pass%20word@{}", "does not reach this host", "ASSURE_AGENT_BASE_URL"),
        ("assure.test", "http://127.0.0.1:9", "cannot be reached", "host and port of ASSURE_AGENT_PROXY_URL"),
        ("assure.test", "http://nonexistent.invalid:1", "(dns)", "host and port of ASSURE_AGENT_PROXY_URL"),
    ],
)
async def test_each_fault_of_the_proxy_is_a_problem_of_its_own(
    proxy: str, company: Company, host: str, url: str, message: str, hint: str
) -> None:
    found = (await findings(f"https://{host}:8443", proxy_url=url.format(proxy)))["credentials"]
    assert found.state is State.PROBLEM
    assert f"on the way to https://{host}:8443" in found.message
    assert message in found.message
    assert hint in found.hint


async def test_a_correct_network_passes(proxy: str, company: Company, remote: SandboxServer) -> None:
    async with terminating(company.server("assure.test", asks=True), int(remote.url.rpartition(":")[2])) as port:
        given = settings_of(proxy, company, client_cert_file=company.client_file)
        given |= {"client_id": "sandbox-client", "client_secret": "sandbox-secret"}
        found = await findings(f"https://assure.test:{port}", **given)
    assert "certificate" not in found
    assert found["credentials"].state is State.OK, found["credentials"]
    assert found["proxy"].message == f"http://{proxy} with credentials, for assure.test:{port}"


async def test_an_unreachable_assure_is_not_blamed_on_a_proxy(company: Company) -> None:
    found = (await findings("https://127.0.0.1:9"))["credentials"]
    assert "the connection is refused" in found.message
    assert "proxy" not in found.message


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"ca_file": None}, "its issuer is ", "ASSURE_AGENT_CA_FILE"),
        ({}, "it is for login.test, not for assure.test", "check the host in ASSURE_AGENT_BASE_URL"),
    ],
)
async def test_the_authority_to_add_and_another_name_are_reported(
    proxy: str, company: Company, given: dict[str, Any], message: str, hint: str
) -> None:
    server = Server(TODAY)
    async with server.behind(ssl=company.server("login.test")) as port:
        found = await findings(f"https://assure.test:{port}", **settings_of(proxy, company) | given)
    assert message in found["certificate"].message
    assert hint in found["certificate"].hint
    if "ca_file" in given:
        assert "O=Example Company" in found["certificate"].message
    assert all(b"Authorization" not in head and head.startswith(b"GET / ") for head in server.heads)
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("time", "message", "hint"),
    [
        (TODAY, "is not valid now", "has renewed it"),
        (TODAY - timedelta(days=20), "this clock is wrong", "set the clock"),
        (None, "the server did not send its time", "compare the clock"),
    ],
    ids=["expired", "this clock is ahead", "unknown"],
)
async def test_an_expired_certificate_is_distinguished_from_a_wrong_clock(
    proxy: str, company: Company, time: datetime | None, message: str, hint: str
) -> None:
    lapsed = company.server("assure.test", begins=TODAY - timedelta(days=30), ends=TODAY - timedelta(days=10))
    async with Server(time).behind(ssl=lapsed) as port:
        found = await findings(f"https://assure.test:{port}", **settings_of(proxy, company))
    assert "has expired" in found["credentials"].message
    assert message in found["certificate"].message
    assert hint in found["certificate"].hint


async def test_the_text_of_a_certificate_is_harmless_on_a_terminal(proxy: str, company: Company) -> None:
    from agent.assure.presented import _plain

    assert _plain("CN=\x1b]0;title\x07\x1b[31mred\n" + "x" * 500).isprintable()
    assert len(_plain("x" * 500)) == 100


def test_a_proxy_of_the_environment_is_reported_and_not_used(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in network._FOREIGN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("https_proxy", "http://agent:hunter2@proxy.example:3128")
    said = here("doctor", "--offline", "-o", "json")
    (found,) = [one for one in said.json["checks"] if one["check"] == "proxy"]
    assert (found["state"], found["message"][:19]) == ("warning", "https_proxy is set,")
    assert "ASSURE_AGENT_PROXY_URL" in found["hint"]
    assert "hunter2" not in said.out + said.err


def test_the_proxy_of_each_host_is_shown_without_its_credentials(here: Here) -> None:
    """[I6]"""
    here.env |= {"PROXY_URL": "http://agent:hunter2@proxy.example:3128", "NO_PROXY": "hooks.example"}
    here.env |= {"SINK_URLS": "https://hooks.example/a", "SINK_SECRET": "a secret"}
    said = here("doctor", "--offline", "-o", "json")
    (found,) = [one for one in said.json["checks"] if one["check"] == "proxy"]
    assert found["message"] == (
        "http://proxy.example:3128 with credentials, for api.signicat.com:443; without it: hooks.example:443"
    )
    assert "hunter2" not in said.out + said.err
