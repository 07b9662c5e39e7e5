"""Faults: the decision for each call (pure), and their effect on the wire (raw sockets)."""

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
import uvloop

from agent.sandbox import SandboxServer
from agent.sandbox.faults.rules import Faults, Kind, Rule
from tests.support.timeouts import PATIENT

from .conftest import Begin
from .support import EVERYTHING, Api, Clock, Sleeper, config, data_url

GET = "getDossiers"


def fired(rule: dict[str, Any], calls: int = 6, seed: int = 0) -> list[int]:
    """The numbers of the calls that the rule affects."""
    faults = Faults(seed)
    faults.add([Rule.parse({"operation": GET, "kind": "503"} | rule)])
    return [number for number in range(1, calls + 1) if faults.decide(GET).rule]


@pytest.mark.parametrize(
    ("rule", "calls"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"count": 2}, [1, 2]),
        ({"nth": 3}, [3]),
        ({"nth": 3, "count": 2}, [3, 4]),
        ({"every": 2}, [2, 4, 6]),
        ({"every": 2, "count": 1}, [2]),
        ({"rate": 1.0}, [1, 2, 3, 4, 5, 6]),
        ({"rate": 0.0}, []),
        ({"operation": "*", "nth": 2}, [2]),
        ({"operation": "getDossier"}, []),
    ],
)
def test_a_rule_picks_its_calls(rule: dict[str, Any], calls: list[int]) -> None:
    assert fired(rule) == calls


def test_chance_comes_from_the_seed() -> None:
    first = fired({"rate": 0.5}, 40, seed=1)
    assert first == fired({"rate": 0.5}, 40, seed=1)
    assert first != fired({"rate": 0.5}, 40, seed=2)
    assert 10 < len(first) < 30


def test_the_first_rule_spoils_and_harmless_ones_come_along() -> None:
    faults = Faults(0)
    rules = [("latency", {"seconds": 2}), ("500", {"count": 1}), ("latency", {"seconds": 3}), ("502", {})]
    faults.add([Rule.parse({"operation": GET, "kind": kind} | more) for kind, more in rules])
    first, second = faults.decide(GET), faults.decide(GET)
    assert (first.latency, first.rule and first.rule.kind) == (5, Kind.INTERNAL)
    assert (second.latency, second.rule and second.rule.kind) == (5, Kind.BAD_GATEWAY)
    assert [row["fired"] for row in faults.rows()] == [2, 1, 2, 1]


@pytest.mark.parametrize(
    "rule",
    [
        7,
        {},
        {"operation": GET},
        {"operation": GET, "kind": "earthquake"},
        {"operation": "start_verification", "kind": "500"},
        {"operation": GET, "kind": "500", "nth": 1, "rate": 0.5},
        {"operation": GET, "kind": "500", "nth": 0},
        {"operation": GET, "kind": "500", "rate": 2},
        {"operation": GET, "kind": "500", "often": True},
        {"operation": GET, "kind": "429", "acts": True},
        {"operation": GET, "kind": "reset-after", "acts": False},
        {"operation": GET, "kind": "429", "retryAfter": 5},
        {"operation": GET, "kind": "500", "nth": "one"},
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused(api: Api, rule: Any) -> None:
    response = await api.http.post("/sandbox/faults", json=[rule])
    assert response.status_code == 400
    assert response.json()["error"]
    assert (await api.http.get("/sandbox/faults")).json() == []


async def test_rules_are_added_shown_and_cleared_through_the_control_address(api: Api) -> None:
    rule = {"operation": "createDossier", "kind": "429", "count": 1, "retryAfter": "seconds", "seconds": 7}
    assert (await api.http.post("/sandbox/faults", json=[rule])).status_code == 200
    response = await api.call("POST", "/dossiers")
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    (shown,) = (await api.http.get("/sandbox/faults")).json()
    assert rule.items() <= shown.items()
    assert (shown["seen"], shown["fired"]) == (1, 1)
    assert (await api.http.delete("/sandbox/faults")).json() == []
    assert (await api.call("POST", "/dossiers")).status_code == 201
    assert api.server.ledger.calls["createDossier"] == 2


async def raw(api: Api, method: str, path: str, body: bytes = b"") -> bytes:
    """All bytes that a separate connection receives until its end."""
    host, port = api.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {api.token}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    received = b""
    try:
        while chunk := await asyncio.wait_for(reader.read(65536), PATIENT):
            received += chunk
    except ConnectionResetError:
        pass
    writer.close()
    return received


@pytest.mark.parametrize(("kind", "made"), [("reset-before", 0), ("reset-after", 1)])
async def test_a_reset_sends_not_one_byte(begin: Begin, kind: str, made: int) -> None:
    api = await begin(faults=(Rule(operation="createDossier", kind=Kind(kind), nth=1),))
    assert await raw(api, "POST", "/assure/dossiers") == b""
    assert len(api.server.world.dossiers) == made
    assert api.server.ledger.calls["createDossier"] == 1
    with_next = await api.call("POST", "/dossiers")
    assert with_next.status_code == 201


def test_a_reset_sends_not_one_byte_under_uvloop_either(clock: Clock) -> None:
    async def scenario() -> bytes:
        rule = Rule(operation="*", kind=Kind.RESET_AFTER)
        async with (
            SandboxServer(config(faults=(rule,)), clock=clock) as server,
            httpx.AsyncClient(timeout=PATIENT) as http,
        ):
            return await raw(Api(server, http, clock), "POST", "/assure/dossiers")

    assert uvloop.run(scenario()) == b""


async def test_a_client_library_sees_a_reset_as_a_transport_error(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation=GET, kind=Kind.RESET_AFTER),))
    with pytest.raises(httpx.TransportError):
        await api.call("GET", "/dossiers")


async def test_a_start_that_is_lost_on_the_wire_counts(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation="startVerification", kind=Kind.RESET_AFTER),))
    path = await api.process()
    await api.call("POST", f"{path}/images", json={"front": data_url()})
    assert await raw(api, "POST", f"/assure{path}") == b""
    assert api.entry()["processes"][0]["starts"] == 1
    assert api.entry()["processes"][0]["status"] == "processing"


@pytest.mark.parametrize(("path", "promised"), [("/assure/dossiers", b'{"doss'), ("/assure/dossiers/{}", b"{")])
async def test_a_truncated_body_is_shorter_than_promised(begin: Begin, path: str, promised: bytes) -> None:
    api = await begin(faults=(Rule(operation="*", kind=Kind.TRUNCATED, nth=3),))
    dossier = await api.dossier()
    method = "DELETE" if "{}" in path else "POST"
    received = await raw(api, method, path.format(dossier))
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    assert body.startswith(promised)
    assert 0 < len(body) < length
    assert len(api.server.world.dossiers) == (2 if method == "POST" else 0)


@pytest.mark.parametrize("kind", ["500", "502", "503", "504"])
@pytest.mark.parametrize("acts", [True, False])
async def test_a_server_error_comes_before_or_after_the_act(begin: Begin, kind: str, acts: bool) -> None:
    api = await begin(faults=(Rule(operation="createDossier", kind=Kind(kind), acts=acts),))
    response = await api.call("POST", "/dossiers")
    assert response.status_code == response.json()["status"] == int(kind)
    assert len(api.server.world.dossiers) == acts


async def test_retry_after_can_be_a_date(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation=GET, kind=Kind.TOO_MANY, retry_after="http-date", seconds=90),))
    response = await api.call("GET", "/dossiers")
    date = parsedate_to_datetime(response.headers["retry-after"])
    assert date.timestamp() == int(api.clock() + 90)


async def test_foreign_and_html_bodies_are_not_assures(begin: Begin) -> None:
    rules = (
        Rule(operation="createDossier", kind=Kind.FOREIGN, nth=1),
        Rule(operation="createDossier", kind=Kind.HTML, nth=1, status=404),
    )
    api = await begin(faults=rules)
    headers = {"Authorization": f"Bearer {api.token}"}
    foreign = await api.http.post("/assure/dossiers", headers=headers)
    assert (foreign.status_code, foreign.json()["name"]) == (200, "some-other-service")
    # Both rules counted the first call. The second rule could not fire then, so it takes the next call.
    page = await api.http.post("/assure/dossiers", headers=headers)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert len(api.server.world.dossiers) == 1


async def test_latency_passes_before_the_act(begin: Begin, sleeper: Sleeper) -> None:
    api = await begin(faults=(Rule(operation=GET, kind=Kind.LATENCY, seconds=30),))
    assert (await api.call("GET", "/dossiers")).status_code == 200
    assert sleeper.slept == [30]


async def test_a_call_can_hang_until_its_client_gives_up_or_the_server_stops(begin: Begin) -> None:
    api = await begin(faults=(Rule(operation=GET, kind=Kind.HANG),))
    with pytest.raises(httpx.ReadTimeout):
        await api.call("GET", "/dossiers", timeout=httpx.Timeout(PATIENT, read=0.05))
    waiting = asyncio.create_task(raw(api, "GET", "/assure/dossiers"))
    while api.server.ledger.calls[GET] < 2:
        await asyncio.sleep(0)
    await api.server.stop()
    assert await waiting == b""


async def test_lagging_reads_hide_what_is_young(begin: Begin) -> None:
    reads = ("getDossiers", "getDossier", "getProcess", "getImages", "getAllProcess")
    api = await begin(faults=tuple(Rule(operation=name, kind=Kind.LAGGING_READS, seconds=20) for name in reads))
    dossier = await api.dossier()
    assert (await api.call("GET", f"/dossiers/{dossier}")).status_code == 404
    api.clock.advance(20)
    path = await api.process(dossier)
    await api.call("POST", f"{path}/images", json={"front": data_url()})
    assert (await api.read(f"/dossiers/{dossier}"))["processes"] == []
    assert (await api.call("GET", path)).status_code == 404
    assert (await api.call("GET", f"{path}/images", params={"depiction": "front"})).status_code == 404
    assert (await api.call("GET", "/processes", params=EVERYTHING)).json()["totalResults"] == 0
    assert len((await api.call("GET", "/dossiers")).json()) == 1
    api.clock.advance(20)
    assert (await api.read(path))["status"] == "pending"
    assert len((await api.read(f"/dossiers/{dossier}"))["processes"]) == 1
    assert (await api.call("GET", "/processes", params=EVERYTHING)).json()["totalResults"] == 1


async def test_reads_may_always_lag(begin: Begin) -> None:
    api = await begin(read_lag=5)
    await api.dossier()
    assert (await api.call("GET", "/dossiers")).json() == []
    api.clock.advance(5)
    assert len((await api.call("GET", "/dossiers")).json()) == 1


async def test_the_token_endpoint_has_trouble_too(api: Api) -> None:
    await api.http.post("/sandbox/faults", json=[{"operation": "token", "kind": "503"}])
    assert (await api.http.post("/auth/open/connect/token")).status_code == 503


def test_faults_of_events_follow_the_seed_and_only_their_own_rules() -> None:
    def dropped(seed: int) -> list[bool]:
        faults = Faults(seed)
        faults.add([Rule(operation="*", kind=Kind.INTERNAL), Rule(operation="event", kind=Kind.DROP, rate=0.5)])
        return [faults.decide("event").rule is not None for _ in range(40)]

    assert dropped(1) == dropped(1) != dropped(2)
    assert 10 < sum(dropped(1)) < 30


@pytest.mark.parametrize(
    "rule",
    [
        {"operation": "event", "kind": "503"},
        {"operation": "event", "kind": "lagging-reads"},
        {"operation": "*", "kind": "drop"},
        {"operation": "getProcess", "kind": "reorder"},
    ],
)
def test_a_rule_that_mixes_events_and_calls_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"event"):
        Rule.parse(rule)
