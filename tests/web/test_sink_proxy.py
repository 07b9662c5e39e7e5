"""A sink behind the company's proxy: the same proxy and authorities as Assure, and never the client certificate."""

import asyncio
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agent.core.notifications import Notice, NoticeType
from agent.platform.clock import SystemClock
from agent.platform.endpoint_health import EndpointCause, EndpointHealth
from agent.platform.settings import load_settings
from agent.ports import Delivery
from agent.web.service import _sinks
from tests.assure.http.conftest import serving
from tests.support.company_proxy import Company, company_proxy, settings_of

CREDENTIALS = "agent:pass word"
NOTICE = Notice(type=NoticeType.SETTLED, at=1.0, generation=1)
DELIVERY = Delivery(id=1, event="e", uid="u", name="n", mode="upload", notice=NOTICE)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with company_proxy(tmp_path_factory.mktemp("proxy"), CREDENTIALS) as address:
        yield address


@pytest.fixture
def company(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Company:
    monkeypatch.chdir(folder)
    return Company(folder / "company")


async def delivered(url: str, **given: Any) -> EndpointCause | None:
    """The cause of the trouble of one delivery, by a sink made from settings."""
    settings = load_settings(sink_urls=url, sink_secret="a secret", **given)
    from agent.assure.account import sink_name

    name = sink_name(url)
    health = EndpointHealth({name: url}, SystemClock())
    (sink,) = _sinks(settings, "agent", SystemClock(), health)
    accepted = await sink.send(DELIVERY)
    await sink.aclose()
    trouble = health.known.get(name)
    assert accepted is (trouble is None)
    assert trouble is None or "pass word" not in trouble.sentence
    return trouble.cause if trouble is not None else None


async def accept(presented: list[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
    presented.append((secured.getpeercert(), await reader.readuntil(b"\r\n\r\n")))
    writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    await writer.drain()


async def test_a_sink_is_reached_through_the_proxy_without_the_client_certificate(proxy: str, company: Company) -> None:
    presented: list[Any] = []
    server = company.server("hooks.test", asks=True)
    server.verify_mode = ssl.CERT_OPTIONAL
    async with serving(partial(accept, presented), ssl=server) as port:
        given = settings_of(proxy, company, client_cert_file=company.client_file)
        assert await delivered(f"https://hooks.test:{port}/events", **given) is None
    ((certificate, head),) = presented
    assert not certificate, "the certificate is for Assure only"
    assert b"proxy-authorization" not in head.lower()


async def test_no_proxy_counts_for_sinks(company: Company) -> None:
    async with serving(partial(accept, []), ssl=company.server("localhost")) as port:
        given = settings_of("127.0.0.1:9", company)
        assert await delivered(f"https://localhost:{port}/events", **given) is None
    cause = await delivered("https://nonexistent.invalid/events", **given, no_proxy="nonexistent.invalid")
    assert cause is EndpointCause.DNS


@pytest.mark.parametrize(
    ("host", "change", "cause"),
    [
        ("hooks.test", {"proxy_url": "http://agent:wrong@{}"}, EndpointCause.PROXY_CREDENTIALS),
        ("forbidden.test", {}, EndpointCause.PROXY_REFUSED),
        ("gone.test", {}, EndpointCause.PROXY_GATEWAY),
        ("hooks.test", {"proxy_url": "http://127.0.0.1:9"}, EndpointCause.PROXY_UNREACHABLE),
        ("hooks.test", {"ca_file": None}, EndpointCause.TLS_UNTRUSTED),
        ("other.test", {}, EndpointCause.TLS_HOSTNAME),
    ],
)
async def test_each_failure_of_a_sink_has_the_same_cause_as_for_assure(
    proxy: str, company: Company, host: str, change: dict[str, Any], cause: EndpointCause
) -> None:
    change = {name: value and str(value).format(proxy) for name, value in change.items()}
    async with serving(partial(accept, []), ssl=company.server("hooks.test")) as port:
        given = settings_of(proxy, company) | change
        assert await delivered(f"https://{host}:{port}/events", **given) is cause
