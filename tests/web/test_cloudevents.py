"""Sinks as a web application receives them: signed CloudEvents on a real port, from a real agent."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from agent import __version__
from agent.core.errors import SettingsError
from agent.core.notifications import Notice, NoticeType
from agent.core.record import Outcome
from agent.platform.clock import SystemClock
from agent.platform.endpoint_health import EndpointCause, EndpointTrouble
from agent.platform.log import configure
from agent.platform.settings import load_settings
from agent.ports import Delivery
from agent.web import cloudevents
from agent.web.cloudevents import HttpSink
from agent.web.openapi import openapi
from tests.assure.http.conftest import serving
from tests.assure.scripted_server import (
    Behaviour,
    ScriptedServer,
    answer,
    cut,
    drip,
    endless,
    hang_up,
    raw,
    reset,
    silence,
)
from tests.assure.test_connection_errors import closed_port, server_context, tls_server
from tests.daemon.test_metrics import metrics
from tests.support.clock import until
from tests.support.environment import World
from tests.support.timeouts import PATIENT
from tests.web.webhook_receiver import PREFIX, receiving, signed

SECRET = "whsec_" + base64.b64encode(b"a key of the sink").decode()


async def received(world: World, receiver: Any, *names: str) -> None:
    await until(lambda: all("deleted" in receiver.of(name) for name in names))


async def test_a_web_application_is_informed_of_everything_in_order(world: World) -> None:
    components = openapi()["components"]
    described = Draft202012Validator({"$ref": "#/components/schemas/CloudEvent", "components": components})
    world.capture("customer-4711", labels={"team": "canary-team"})
    world.upload("customer-4712", "sandbox-outcome=rejected")
    async with receiving() as receiver:
        async with world.running(sink_urls=[receiver.url], sink_secret=SECRET):
            await world.clock.advance(60)
            await received(world, receiver, "customer-4711", "customer-4712")
        assert receiver.of("customer-4711") == ["capture.ready", "settled", "deleted"]
        assert receiver.of("customer-4712") == ["settled", "deleted"]
        link = world.sandbox.url
        for headers, body in receiver.requests:
            assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
            assert headers["user-agent"] == f"assure-agent/{__version__}"
            described.validate(json.loads(body))
            assert signed(headers, body, b"a key of the sink")
            assert b"canary-team" not in body
            assert link.encode() not in body, "that a link is ready, not the link [I6]"
    wanted = (f"{PREFIX}settled", "rejected")
    (settled,) = [event for event in receiver.events if (event["type"], event["data"]["outcome"]) == wanted]
    assert settled.keys() == components["schemas"]["CloudEvent"]["properties"].keys()
    assert settled["data"].keys() == components["schemas"]["EventData"]["properties"].keys()
    assert (settled["specversion"], settled["source"]) == ("1.0", "/assure-agent/tests")
    assert settled["subject"] == settled["data"]["uid"] == world.record("customer-4712").uid
    assert world.rows("SELECT * FROM deliveries") == []


async def test_a_hold_is_reported_with_its_reason(world: World) -> None:
    path = world.upload("a", document_id=9001)
    async with receiving() as receiver:
        async with world.running(sink_urls=[receiver.url], sink_secret=SECRET):
            await world.clock.advance(5)
            await until(lambda: receiver.of("a") == ["held"])
        (event,) = receiver.events
        assert event["data"]["reason"] == "back-image-required"
        assert event["data"]["holdId"] == world.record("a").hold.id  # type: ignore[union-attr]
    assert path.exists()


async def test_a_dead_sink_delays_nothing_shows_in_the_metrics_and_is_reported_after_a_restart(world: World) -> None:
    """[I9]"""
    world.capture("a")
    async with receiving() as receiver:
        receiver.answers = lambda event: 503
        async with world.running(http=True, sink_urls=[receiver.url], sink_secret=SECRET):
            await world.clock.advance(60)
            assert world.record("a").outcome is Outcome.ACCEPTED
            await until(lambda: receiver.refused)
            assert (await metrics(world))["deliveries_pending", ()] == 3
        assert receiver.events == []
        receiver.answers = lambda event: 204
        async with world.running(sink_urls=[receiver.url], sink_secret=SECRET):
            await received(world, receiver, "a")
        assert receiver.of("a") == ["capture.ready", "settled", "deleted"]
    world.check()


@pytest.mark.parametrize("status", [302, 400, 404, 410, 500])
async def test_only_a_2xx_counts_and_no_redirect_is_followed(world: World, status: int) -> None:
    world.upload("a")
    async with receiving() as receiver:
        receiver.answers = lambda event: status
        async with world.running(sink_urls=[receiver.url], sink_secret=SECRET):
            await world.clock.advance(30)
            await until(lambda: receiver.refused)
        sent = {json.loads(body)["type"] for _, body in receiver.requests}
        assert sent == {f"{PREFIX}settled"}, "in order: the first first"
    assert len(world.rows("SELECT * FROM deliveries")) == 2


NOTICE = Notice(type=NoticeType.SETTLED, generation=1, at=0.0, outcome="accepted")
DELIVERY = Delivery(id=1, event="e", uid="u", name="n", mode="upload", notice=NOTICE)


async def results(url: str, deliveries: int = 1) -> list[EndpointTrouble | None]:
    """The trouble of each of these deliveries, one after another."""
    troubles: list[EndpointTrouble | None] = []
    sink = HttpSink(url, [b"secret"], "agent", SystemClock(), troubles.append)
    for _ in range(deliveries):
        accepted = await sink.send(DELIVERY)
        assert accepted == (troubles[-1] is None)
    await sink.aclose()
    return troubles


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("begin", [b"", OK, OK + b"X: "], ids=["interim", "headers", "one header"])
async def test_an_endless_head_of_a_sink_is_a_failed_delivery(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Assure. The agent does not read the rest of the answer."""
    monkeypatch.setattr(cloudevents, "_DELIVERY_SECONDS", 0.5 if not begin else PATIENT)
    taken: list[int] = []
    more = b"HTTP/1.1 100 Continue\r\n\r\n" if not begin else b"X: x\r\n" if begin == OK else b"x"
    async with ScriptedServer() as server:
        server.will(endless(begin, more, taken))
        (trouble,) = await results(server.url + "/sink")
        async with asyncio.timeout(PATIENT):
            while not taken:
                await asyncio.sleep(0.01)
    assert trouble is not None
    assert trouble.cause is (EndpointCause.UNREADABLE if begin else EndpointCause.TIMEOUT)
    assert taken[0] < 20_000_000, "no more than the buffers of the system hold"


async def test_the_body_of_an_answer_is_bounded() -> None:
    taken: list[int] = []
    async with ScriptedServer() as server:
        server.will(endless(OK + b"Content-Length: 1000000000\r\n\r\n", b"x", taken), answer(200))
        assert await results(server.url + "/sink", 2) == [None, None]
        async with asyncio.timeout(PATIENT):
            while not taken:
                await asyncio.sleep(0.01)
    assert taken[0] < 20_000_000, "no more than the buffers of the system hold"
    assert [delivery.connection for delivery in server.deliveries] == [0, 1]


@pytest.mark.parametrize(
    ("behaviour", "cause", "status"),
    [
        (answer(302, headers={"Location": "/elsewhere"}), EndpointCause.STATUS_3XX, 302),
        (answer(404), EndpointCause.STATUS_4XX, 404),
        (answer(429), EndpointCause.THROTTLED, 429),
        (answer(503), EndpointCause.STATUS_5XX, 503),
        (cut(503, b"half", 8), EndpointCause.STATUS_5XX, 503),
        (hang_up, EndpointCause.RESET, None),
        (reset, EndpointCause.RESET, None),
        (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), EndpointCause.RESET, None),
    ],
)
async def test_a_failed_delivery_has_the_cause_that_calls_to_assure_have(
    behaviour: Behaviour, cause: EndpointCause, status: int | None
) -> None:
    async with ScriptedServer() as server:
        server.will(behaviour)
        assert await results(server.url + "/sink") == [EndpointTrouble(cause=cause, status=status)]
        assert len(server.deliveries) == 1


async def test_a_sink_without_an_answer_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloudevents, "_DELIVERY_SECONDS", 0.2)
    for behaviour in (silence, drip(200, b"long", 60)):
        async with ScriptedServer() as server:
            server.will(behaviour)
            assert await results(server.url + "/sink") == [EndpointTrouble(cause=EndpointCause.TIMEOUT)]


async def bad_request(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def test_a_sink_that_cannot_be_reached_is_reported_with_its_cause(tmp_path: Path) -> None:
    (refused,) = await results(f"http://localhost:{closed_port()}/sink")
    (unknown,) = await results("http://nonexistent.invalid/sink")
    assert (refused, unknown) == (
        EndpointTrouble(cause=EndpointCause.REFUSED),
        EndpointTrouble(cause=EndpointCause.DNS),
    )
    async with serving(bad_request) as port:
        (plain,) = await results(f"https://127.0.0.1:{port}/sink")
    async with tls_server(server_context(tmp_path, timedelta(days=20))) as url:
        (untrusted,) = await results(url)
    assert plain == EndpointTrouble(cause=EndpointCause.TLS, detail="wrong-version-number")
    assert untrusted is not None
    assert untrusted.cause is EndpointCause.TLS_UNTRUSTED
    assert "self-signed" in untrusted.detail


async def test_a_connection_carries_many_deliveries_without_cookies_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    async with ScriptedServer() as server:
        server.will(answer(200, b"thanks", {"Set-Cookie": "a=b; Path=/"}), cut(202, b"half", 8), answer(204))
        assert await results(server.url + "/sink?key=a%2Fb", 3) == [None] * 3
    assert server.lines == ["POST /sink?key=a%2Fb"] * 3
    assert [delivery.connection for delivery in server.deliveries] == [0, 0, 1]
    assert not any("cookie" in delivery.headers for delivery in server.deliveries)
    assert {delivery.headers["accept-encoding"] for delivery in server.deliveries} == {"identity"}


def test_no_url_of_a_sink_is_logged() -> None:
    """[I6]"""
    configure("json", "info")
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR), name


async def test_run_once_delivers_what_it_can_before_it_ends(world: World) -> None:
    world.upload("a")
    async with receiving() as receiver:
        await world.settle(sink_urls=[receiver.url], sink_secret=SECRET)
        assert receiver.of("a") == ["settled", "deleted"]


async def test_nothing_of_a_request_is_logged_or_measured_because_of_a_sink(world: World) -> None:
    """[I6]"""
    world.upload("canary-name", labels={"canary": "canary-label"})
    async with world.running(http=True, sink_urls=["http://127.0.0.1:9/canary-path"], sink_secret=SECRET):
        await world.clock.advance(30)
        found = str(await metrics(world))
    assert "canary" not in found
    assert "canary" not in str(world.logs)
    assert "canary" not in str(world.rows("SELECT * FROM deliveries"))


async def test_personal_values_reach_sinks_only(world: World) -> None:
    """[I6] Names and labels: in the request's row, its labels, the API and the page; in no log, metric or outbox."""
    world.capture("canary-name", labels={"canary-key": "canary-value"})
    world.upload("canary-upload", "sandbox-delay=30s", labels={"canary-key": "canary-value"})
    more = {"api_token": "the-token-of-the-api", "events_secret": "a-secret", "events_listen": "127.0.0.1:0"}
    dead = {"sink_urls": ["http://127.0.0.1:9/canary-path"], "sink_secret": SECRET}
    async with world.running(http=True, **more, **dead) as agent:
        await world.clock.advance(10)
        body = json.dumps({"id": "canary-id", "eventName": "process.complete", "eventData": {"dossierId": "canary-d"}})
        mac = hmac.new(b"a-secret", body.encode(), hashlib.sha256).hexdigest()
        async with httpx.AsyncClient(
            trust_env=False, timeout=PATIENT, headers={"Authorization": "Bearer the-token-of-the-api"}
        ) as client:
            for path in (
                "/",
                "/?q=canary",
                "/?q=canary-key%3Dcanary-value",
                "/api/requests/canary-name",
                "/api/canary-x",
            ):
                assert "canary" in (await client.get(world.url + path)).text or path == "/api/canary-x"
            answer = await client.post(
                f"{agent.events_url}/events", content=body, headers={"X-Signicat-Signature": mac}
            )
            assert answer.status_code == 200
        await world.clock.advance(600)
        found = str(await metrics(world))
    assert "canary" not in found
    assert "canary" not in str(world.logs)
    tables = [name for (name,) in world.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    holding = {name for name in tables if "canary" in str(world.rows(f"SELECT * FROM {name}"))}
    assert holding == {"requests", "labels"}


async def test_two_secrets_sign_while_they_rotate(world: World) -> None:
    world.upload("a")
    async with receiving() as receiver:
        await world.settle(sink_urls=[receiver.url], sink_secret=f"{SECRET}, plain-text")
        for headers, body in receiver.requests:
            assert signed(headers, body, b"a key of the sink")
            assert signed(headers, body, b"plain-text")


@pytest.mark.parametrize(
    "given",
    [
        {"sink_urls": "http://shop.example/hook", "sink_secret": "s"},
        {"sink_urls": "ftp://shop.example/hook", "sink_secret": "s"},
        {"sink_urls": "https://user:pass@shop.example/hook", "sink_secret": "s"},
        {"sink_urls": "https://shop.example/hook"},
    ],
)
def test_a_forbidden_sink_address_is_refused_at_the_start(given: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=r"SINK_URLS|SINK_SECRET"):
        load_settings(**given)
