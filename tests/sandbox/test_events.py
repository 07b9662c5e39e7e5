"""Assure Events (contract §11): content, signature, retries, and faults on the way. Virtual time."""

import base64
import contextlib
import hashlib
import hmac
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from agent.sandbox import SandboxServer, Subscription
from agent.sandbox.faults.rules import Kind, Rule
from tests.support.clock import VirtualClock
from tests.support.timeouts import PATIENT

from .receiver import Receiver
from .support import Api, book, config

SECRET = "a secret of the subscription"
Begin = Callable[..., Awaitable[Api]]


@pytest.fixture
async def clock() -> AsyncIterator[VirtualClock]:  # type: ignore[override]
    async with VirtualClock() as clock:
        clock.hold()
        yield clock


@pytest.fixture
async def begin(clock: VirtualClock, receiver: Receiver) -> AsyncIterator[Begin]:
    """Start a simulator that sends events to the receiver. `subscription` has fields of Subscription, the others are of
    the config."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(subscription: dict[str, Any] | None = None, **switches: Any) -> Api:
            events = Subscription.model_validate({"url": receiver.url, "secret": SECRET} | (subscription or {}))
            given = config(events=events, **switches)
            server = SandboxServer(given, clock=clock, sleep=clock.sleep, wait=clock.doze)
            await stack.enter_async_context(server)
            stack.enter_context(clock.watch(lambda: server.courier.sending, loop=False))
            http = await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENT)
            )
            api = Api(server, http, clock)  # type: ignore[arg-type]
            await api.log_in()
            return api

        yield start


@pytest.fixture
async def api(begin: Begin) -> Api:
    return await begin()


async def test_a_finished_process_is_reported_once_with_the_nine_fields(
    api: Api, clock: VirtualClock, receiver: Receiver
) -> None:
    path = await api.started("sandbox-outcome=rejected")
    await clock.advance(9.9)
    assert receiver.got == []
    await clock.advance(600)
    (event,) = receiver.events
    _, _, dossier, _, process = path.split("/")
    assert re.fullmatch(r"[0-9a-f]{32}", event.pop("id"))
    assert event == {
        "timestamp": "2027-01-15T08:00:10.0000000Z",
        "sender": "assure",
        "eventName": "process.complete",
        "eventData": {
            "dossierId": dossier,
            "processId": process,
            "status": "rejected",
            "provider": "signicatpictureid",
            "processType": "document",
            "externalReference": "aa-1",
        },
        "accountId": "a-spge-sandbox",
        "organizationId": None,
        "expiresAt": "2027-01-15T08:00:40.0000000Z",
        "tags": [],
    }
    (row,) = book(api)
    assert (row["state"], row["status"], row["externalReference"]) == ("acknowledged", "rejected", "aa-1")
    assert row["attempts"] == [{"at": "2027-01-15T08:00:10Z", "answer": 204}]


@pytest.mark.parametrize("encoding", ["hex", "base64"])
async def test_the_raw_body_is_signed_as_the_subscription_says(
    begin: Begin, clock: VirtualClock, receiver: Receiver, encoding: str
) -> None:
    api = await begin({"header": "X-Our-Signature", "encoding": encoding, "prefix": "sha256="})
    await api.started()
    await clock.advance(10)
    ((headers, content),) = receiver.got
    digest = hmac.new(SECRET.encode(), content, hashlib.sha256).digest()
    expected = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    assert headers["x-our-signature"] == f"sha256={expected}"
    assert headers["content-type"] == "application/json"
    assert "x-signicat-signature" not in headers


async def test_without_a_secret_nothing_is_signed(begin: Begin, clock: VirtualClock, receiver: Receiver) -> None:
    api = await begin({"secret": ""})
    await api.started()
    await clock.advance(10)
    ((headers, _),) = receiver.got
    assert not any("signature" in name for name in headers)


async def test_the_tags_of_a_process_and_of_a_capture_come_back(
    api: Api, clock: VirtualClock, receiver: Receiver
) -> None:
    await api.link(eventTags=["team-a", "blue"])
    await clock.advance(600)
    assert [event["tags"] for event in receiver.events] == [["team-a", "blue"]]


async def test_an_event_is_sent_with_growing_delays_until_it_is_acknowledged(
    api: Api, clock: VirtualClock, receiver: Receiver
) -> None:
    receiver.answers = [500, 404, 302, 200]
    await api.started()
    await clock.advance(600)
    assert len({event["id"] for event in receiver.events}) == 1
    (row,) = book(api)
    assert row["state"] == "acknowledged"
    attempts = [(attempt["at"][-3:-1], attempt["answer"]) for attempt in row["attempts"]]
    assert attempts == [("10", 500), ("11", 404), ("13", 302), ("17", 200)]  # seconds


async def test_an_expired_event_is_never_sent_again(api: Api, clock: VirtualClock, receiver: Receiver) -> None:
    receiver.answers = [503]
    await api.started()
    await clock.advance(3600)
    (row,) = book(api)
    assert (row["state"], len(row["attempts"])) == ("expired", 5)  # after 0, 1, 3, 7 and 15 s of 30
    assert max(attempt["at"] for attempt in row["attempts"]) < row["expiresAt"]


async def test_a_missing_receiver_counts_as_a_failed_attempt(begin: Begin, clock: VirtualClock) -> None:
    api = await begin({"url": "http://127.0.0.1:1/events"})
    await api.started()
    await clock.advance(600)
    (row,) = book(api)
    assert row["state"] == "expired"
    assert {attempt["answer"] for attempt in row["attempts"]} == {"ConnectError"}


@pytest.mark.parametrize(
    ("switch", "reported"),
    [({}, ["canceled", "failed"]), ({"when_canceled": False, "when_failed_by_request": False}, [])],
)
async def test_events_of_canceled_and_failed_by_request_are_configurable(
    begin: Begin, clock: VirtualClock, receiver: Receiver, switch: dict[str, bool], reported: list[str]
) -> None:
    api = await begin(switch, interactive=True)
    link = await api.link()
    await api.http.post(link, data={"action": "cancel"})
    await api.call("POST", await api.process(await api.dossier("aa-2")) + "/fail")
    await clock.advance(60)
    assert sorted(event["eventData"]["status"] for event in receiver.events) == reported


async def test_a_failed_verification_is_always_reported(begin: Begin, clock: VirtualClock, receiver: Receiver) -> None:
    api = await begin({"when_failed_by_request": False})
    await api.started("sandbox-outcome=failed")
    await clock.advance(60)
    assert [event["eventData"]["status"] for event in receiver.events] == ["failed"]


async def test_an_event_that_was_deleted_before_it_finished_is_not_reported(
    api: Api, clock: VirtualClock, receiver: Receiver
) -> None:
    path = await api.started()
    await api.call("DELETE", path.split("/processes", maxsplit=1)[0])
    await clock.advance(600)
    assert (receiver.got, book(api)) == ([], [])


async def three(api: Api, clock: VirtualClock) -> None:
    """Finish three processes a second apart, and let all their events arrive."""
    for number in (1, 2, 3):
        await api.started(dossier=await api.dossier(f"aa-{number}"))
        await clock.advance(1)
    await clock.advance(600)


@pytest.mark.parametrize(
    ("rule", "arrived"),
    [
        ({"kind": "drop", "nth": 2}, ["aa-1", "aa-3"]),
        ({"kind": "double", "nth": 2}, ["aa-1", "aa-2", "aa-2", "aa-3"]),
        ({"kind": "latency", "nth": 1, "seconds": 90}, ["aa-2", "aa-3", "aa-1"]),
        ({"kind": "reorder", "nth": 1, "seconds": 90}, ["aa-2", "aa-1", "aa-3"]),
        ({"kind": "reorder", "nth": 3, "seconds": 90}, ["aa-1", "aa-2", "aa-3"]),
        ({"kind": "drop"}, []),
    ],
)
async def test_events_are_dropped_doubled_delayed_and_reordered(
    api: Api, clock: VirtualClock, receiver: Receiver, rule: dict[str, Any], arrived: list[str]
) -> None:
    await api.http.post("/sandbox/faults", json=[{"operation": "event"} | rule])
    await three(api, clock)
    assert receiver.references == arrived
    met = [number for number, row in enumerate(book(api), 1) if row["trouble"] == [rule["kind"]]]
    assert met == [rule["nth"]] if "nth" in rule else [1, 2, 3]
    assert {row["state"] for row in book(api)} <= {"acknowledged", "dropped"}


async def test_a_doubled_event_has_one_id_and_one_entry(api: Api, clock: VirtualClock, receiver: Receiver) -> None:
    api.server.faults.add([Rule(operation="event", kind=Kind.DOUBLE)])
    await api.started()
    await clock.advance(60)
    assert len(receiver.got) == 2
    assert receiver.got[0][1] == receiver.got[1][1]
    (row,) = book(api)
    assert [attempt["answer"] for attempt in row["attempts"]] == [204, 204]


async def test_a_reordered_event_without_a_successor_is_sent_after_its_delay(
    api: Api, clock: VirtualClock, receiver: Receiver
) -> None:
    api.server.faults.add([Rule(operation="event", kind=Kind.REORDER, seconds=7)])
    await api.started()
    await clock.advance(16.9)
    assert receiver.got == []
    await clock.advance(0.1)
    assert len(receiver.got) == 1


async def test_a_subscription_can_be_changed_and_deleted(api: Api, clock: VirtualClock, receiver: Receiver) -> None:
    await api.http.delete("/sandbox/events")
    assert (await api.http.get("/sandbox/events")).json() is None
    await api.started(dossier=await api.dossier("before"))
    await clock.advance(60)
    await api.started(dossier=await api.dossier("after"))
    put = await api.http.put("/sandbox/events", json={"url": receiver.url, "secret": SECRET, "lifetime": 5})
    assert (put.status_code, put.json()["lifetime"], put.json()["whenCanceled"]) == (200, 5, True)
    assert SECRET not in put.text
    for _ in range(2):  # a second time changes nothing
        await api.http.put("/sandbox/events", json={"url": receiver.url, "secret": SECRET})
    await clock.advance(60)
    assert receiver.references == ["after"]


BAD = ({"surprise": 1}, {"encoding": "rot13"}, {"header": "X: y"}, {"prefix": "a\r\nb"}, {"lifetime": 0}, {"secret": 7})


@pytest.mark.parametrize(
    "body", [[], {}, {"url": "/events"}, {"url": "ftp://x/"}, *({"url": "http://x/"} | fields for fields in BAD)]
)
async def test_an_invalid_subscription_is_refused_and_the_old_one_stays(
    api: Api, receiver: Receiver, body: object
) -> None:
    response = await api.http.put("/sandbox/events", json=body)
    assert response.status_code == 400
    assert "Traceback" not in response.text
    assert (await api.http.get("/sandbox/events")).json()["url"] == receiver.url


async def test_the_ledger_of_events_survives_a_restart_and_open_deliveries_are_lost(
    begin: Begin, clock: VirtualClock, receiver: Receiver, tmp_path: Any
) -> None:
    api = await begin(persist=tmp_path / "sandbox.json")
    await api.started(dossier=await api.dossier("reported"))
    await clock.advance(10)
    receiver.answers = [503]
    await api.started(dossier=await api.dossier("under-way"))
    await clock.advance(11)
    await api.started(dossier=await api.dossier("later"))
    await api.server.stop()
    receiver.answers, receiver.got = [204], []

    again = await begin(persist=tmp_path / "sandbox.json")
    await clock.advance(600)
    assert receiver.references == ["later"]
    assert [(row["externalReference"], row["state"]) for row in book(again)] == [
        ("reported", "acknowledged"),
        ("under-way", "lost"),
        ("later", "acknowledged"),
    ]


async def test_forty_events_doubled_and_reordered_all_arrive(api: Api, clock: VirtualClock, receiver: Receiver) -> None:
    rules = [{"kind": "double", "every": 3}, {"kind": "reorder", "rate": 0.4, "seconds": 4}]
    await api.http.post("/sandbox/faults", json=[{"operation": "event"} | rule for rule in rules])
    names = [f"aa-{number}" for number in range(40)]
    for name in names:
        await api.started(dossier=await api.dossier(name))
        await clock.advance(0.5)
    await clock.advance(600)
    assert sorted(set(receiver.references)) == sorted(names)
    assert len(receiver.references) == 40 + 13
    assert receiver.references != sorted(receiver.references, key=names.index)
