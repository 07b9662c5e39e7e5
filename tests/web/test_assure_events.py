"""Assure Events: an event wakes its request and decides nothing. A forged or oversized event changes nothing."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest

from agent.core.record import Outcome, Phase
from agent.core.step import Step
from agent.ports import Receipt
from agent.store.sqlite.connection import sqlite3
from agent.store.sqlite.store import SqliteStore
from agent.store.writing.inbox import ReceiptTable
from tests.daemon.test_metrics import metrics
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.timeouts import PATIENT
from tests.web.signed_events import SECRET, Sender, envelope, signature


@contextlib.asynccontextmanager
async def listening(world: World, **more: Any) -> AsyncIterator[Sender]:
    """An agent that polls every ten minutes and receives events."""
    given = {"events_secret": SECRET, "events_listen": "127.0.0.1:0", "poll_interval": 600.0}
    async with world.running(http=True, **{**given, **more}) as agent:
        assert agent.events_url is not None
        yield Sender(agent.events_url, agent)


def data(world: World, name: str) -> dict[str, str]:
    record = world.record(name)
    assert record.dossier_id is not None
    return {"dossierId": record.dossier_id, "externalReference": record.reference, "status": "accepted"}


async def events(world: World) -> dict[str, float]:
    found = await metrics(world)
    return {labels[0]: value for (name, labels), value in found.items() if name == "events_total"}


async def waiting(world: World, *names: str) -> None:
    """Wait until all requests wait for a result that Assure has."""
    await world.clock.advance(40)
    assert all(world.record(name).phase is Phase.RESULT for name in names)


async def test_an_event_makes_a_request_settle_at_once_while_polling_is_far_away(world: World) -> None:
    """[I1] The agent reads the process itself. Both use cases, by dossier or by external reference alone."""
    world.upload("a", "sandbox-delay=30s")
    world.upload("b", "sandbox-delay=30s")
    world.capture("c")
    async with listening(world) as sender:
        await waiting(world, "a", "b", "c")
        a, b, c = (data(world, name) for name in "abc")
        assert await sender.send(envelope(dossierId=a["dossierId"])) == 200
        assert await sender.send(envelope(externalReference=b["externalReference"])) == 200
        assert await sender.send(envelope(**c)) == 200
        await world.clock.advance(10)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
        assert (await events(world))["woke"] == 3
    world.check()
    world.check_nothing_left()


async def test_a_false_event_settles_nothing(world: World) -> None:
    world.upload("a", "sandbox-delay=3000s")
    async with listening(world) as sender:
        await waiting(world, "a")
        reads = world.calls.count("getProcess")
        assert await sender.send(envelope(**data(world, "a"))) == 200
        await world.clock.advance(10)
        assert world.record("a").phase is Phase.RESULT
        assert world.calls.count("getProcess") == reads + 1, "it was looked at"


async def test_a_forged_oversized_or_invalid_event_is_refused_and_counted_and_changes_nothing(
    world: World,
) -> None:
    world.upload("a", "sandbox-delay=30s")
    async with listening(world) as sender:
        await waiting(world, "a")
        before, calls = world.record("a"), len(world.calls)
        good = envelope(**data(world, "a"))
        right = signature(good)
        forged: list[dict[str, str]] = [
            {},
            {"X-Signicat-Signature": ""},
            {"X-Signicat-Signature": signature(good, "another secret")},
            {"X-Signicat-Signature": signature(good + b" ")},
            {"X-Signicat-Signature": right[:-1]},
            {"X-Signicat-Signature": "é" * 64},
            {"X-Other-Signature": right},
        ]
        for headers in forged:
            raw = {key: value.encode("latin-1") for key, value in headers.items()}
            assert await sender.send(good, raw) == 401  # type: ignore[arg-type]
        for broken in BROKEN:
            assert await sender.send(broken) == 400, broken[:40]
        assert await sender.send(good + b" " * 70_000) == 413
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            chunked = await client.post(f"{sender.url}/events", content=chunks(), headers={})
            assert chunked.status_code == 413
            assert (await client.get(f"{sender.url}/events")).status_code == 405
            assert (await client.get(f"{sender.url}/metrics")).status_code == 404, "nothing else is served there"
        await world.clock.advance(10)
        assert world.record("a") == before
        assert len(world.calls) == calls, "Assure was not asked"
        found = await events(world)
        assert (found["forged"], found["unreadable"], found["oversized"]) == (len(forged), len(BROKEN), 2)
        assert (await metrics(world))["last_event_timestamp_seconds", ()] == 0
    assert world.rows("SELECT * FROM receipts") == []


BROKEN = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'{"id": 1, "eventName": "x"}',
    b'{"id": "", "eventName": "x"}',
    b'{"id": "i", "eventName": "process.complete", "eventData": []}',
    b"\xff\xfe",
    b"[" * 60_000,
)


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 8192


async def test_the_same_event_twice_wakes_once_also_after_a_restart(world: World) -> None:
    world.upload("a", "sandbox-delay=30s")
    async with listening(world) as sender:
        await waiting(world, "a")
        body = envelope(**data(world, "a"))
        assert [await sender.send(body) for _ in range(3)] == [200] * 3
        found = await events(world)
        assert (found["woke"], found["repeated"]) == (1, 2)
    async with listening(world) as sender:
        assert await sender.send(body) == 200
        assert (await events(world))["repeated"] == 1, "a restart forgets no id"
        await world.clock.advance(86_400 + 1)
        assert await sender.send(envelope("other", event_id="another")) == 200
        assert len(world.rows("SELECT * FROM receipts")) == 1, "ids are forgotten after a day"


async def test_an_accepted_event_costs_one_commit_with_its_step_and_its_receipt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inbox pattern: one transaction has the step and the receipt."""
    world.upload("a", "sandbox-delay=3000s")
    commits: list[tuple[int, bool]] = []
    plain = SqliteStore.commit

    async def recorded(store: SqliteStore, steps: Sequence[Step], receipt: Receipt | None = None) -> None:
        commits.append((len(steps), receipt is not None))
        await plain(store, steps, receipt)

    async def recorded_alone(*_: object) -> None:
        commits.append((0, True))

    async with listening(world) as sender:
        await waiting(world, "a")
        world.sandbox.faults.add([rule("getProcess", "latency", seconds=3600.0)])
        monkeypatch.setattr(SqliteStore, "commit", recorded)
        monkeypatch.setattr(ReceiptTable, "remember_event", recorded_alone)
        assert await sender.send(envelope(**data(world, "a"))) == 200
        assert commits == [(1, True)]
        assert len(world.rows("SELECT * FROM receipts")) == 1


@pytest.mark.parametrize(
    "failing", ["agent.store.sqlite.store.receipt_statements", "agent.store.sqlite.step_writer.StepWriter.write"]
)
async def test_a_failure_between_step_and_receipt_loses_no_event_and_repeats_none(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Neither is durable without the other, so the repeated event is processed once."""
    world.upload("a", "sandbox-delay=30s")

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with listening(world) as sender:
        await waiting(world, "a")
        before, body = world.record("a"), envelope(**data(world, "a"))
        with monkeypatch.context() as patch:
            patch.setattr(failing, fail)
            assert await sender.send(body) == 503
        assert world.record("a") == before
        assert world.rows("SELECT * FROM receipts") == []
        assert [await sender.send(body) for _ in range(2)] == [200] * 2
        await world.clock.advance(10)
        assert world.record("a").outcome is Outcome.ACCEPTED
        found = await events(world)
        assert (found["woke"], found["repeated"]) == (1, 1)


async def test_strays_and_unknown_events_are_acknowledged_and_counted(world: World) -> None:
    world.upload("a")
    async with listening(world) as sender:
        await world.clock.advance(700)
        done = data(world, "a")
        assert world.record("a").phase is Phase.DONE
        strays: list[dict[str, Any]] = [
            done,
            {"dossierId": "nobody's", "externalReference": "aa-x-y-1-1"},
            {"dossierId": 7, "externalReference": ["aa"]},
            {"externalReference": "-" * 200},
            {},
        ]
        for stray in strays:
            assert await sender.send(envelope(**stray)) == 200
        assert await sender.send(envelope("webid.zip-ready", **done)) == 200
        found = await events(world)
        assert (found["stray"], found["unknown"], found["woke"]) == (len(strays), 1, 0)


async def test_two_secrets_count_while_they_rotate_and_header_encoding_and_prefix_are_settings(world: World) -> None:
    more = {
        "events_secret": f"the-old-one, {SECRET}",
        "events_signature_header": "X-Hub-Signature-256",
        "events_signature_encoding": "base64",
        "events_signature_prefix": "sha256=",
    }
    async with listening(world, **more) as sender:
        for secret in (SECRET, "the-old-one"):
            body = envelope()
            header = {"X-Hub-Signature-256": "sha256=" + signature(body, secret, "base64")}
            assert await sender.send(body, header) == 200
        bare = {"X-Hub-Signature-256": signature(body, SECRET, "base64")}
        assert await sender.send(body, bare) == 401, "without its prefix"
        assert await sender.send(body, {"X-Hub-Signature-256": "sha256=" + signature(body, "a third")}) == 401


async def test_an_event_that_overtakes_the_answer_to_the_start_is_not_lost(world: World) -> None:
    world.upload("a", "sandbox-delay=1s")
    async with listening(world) as sender:
        start = sender.agent._assure.remote.start_verification

        async def slow(*arguments: str) -> Any:
            answer = await start(*arguments)
            await world.clock.sleep(4)  # the answer is on its way
            return answer

        sender.agent._assure.remote.start_verification = slow  # type: ignore[method-assign]
        world.upload("b", "sandbox-delay=1s")
        await sender.agent.scan()
        await world.clock.advance(3)
        assert world.record("b").phase is Phase.VERIFICATION
        assert world.record("b").intent is not None, "the start is not answered yet"
        assert await sender.send(envelope(dossierId=data(world, "b")["dossierId"])) == 200
        await world.clock.advance(20)
        assert world.record("b").outcome is Outcome.ACCEPTED
        assert world.record("a").outcome is None, "no event named it"
        assert (await events(world))["woke"] == 1


async def test_without_a_secret_no_port_is_open(world: World) -> None:
    async with world.running(http=True, events_listen="127.0.0.1:0") as agent:
        assert agent.events_url is None


async def test_the_answer_does_not_wait_for_assure(world: World) -> None:
    for number in range(20):
        world.upload(f"a-{number}", "sandbox-delay=30s")
    names = [f"a-{number}" for number in range(20)]
    async with listening(world) as sender:
        await waiting(world, *names)
        world.sandbox.faults.add([rule("getProcess", "latency", count=20, seconds=3600.0)])
        bodies = [envelope(**data(world, name)) for name in names]
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            for body in bodies:
                headers = {"X-Signicat-Signature": signature(body)}
                assert (await client.post(f"{sender.url}/events", content=body, headers=headers)).status_code == 200
        assert {record.outcome for record in world.records().values()} == {None}


async def test_nothing_of_an_event_is_logged_or_kept(world: World) -> None:
    """[I6]"""
    canary = f"canary-{secrets.token_hex(8)}"
    async with listening(world) as sender:
        await sender.send(envelope(canary, event_id=canary, dossierId=canary, externalReference=canary))
        await sender.send(canary.encode())
        text = str((await metrics(world)).keys())
    assert canary not in text
    assert canary not in str(world.logs)
    assert canary.encode() not in world.state_bytes()


@pytest.mark.parametrize("header", ["Bad Header", "", "x" * 65])
def test_an_invalid_header_name_is_refused_at_the_start(header: str) -> None:
    from agent.core.errors import SettingsError
    from agent.platform.settings import load_settings

    with pytest.raises(SettingsError, match="EVENTS_SIGNATURE_HEADER"):
        load_settings(events_signature_header=header)


@pytest.mark.parametrize("path", ["/events", "/events/"])
async def test_an_address_with_a_slash_at_its_end_is_not_redirected(world: World, path: str) -> None:
    """Senders of events follow no redirect, so every event would be lost."""
    async with listening(world) as sender, httpx.AsyncClient(timeout=PATIENT) as client:
        body = b"{}"
        answer = await client.post(f"{sender.url}{path}", content=body, headers={"X-Signicat-Signature": "wrong"})
        assert answer.status_code == 401
        assert (await client.post(f"{sender.url}/else/", content=body)).status_code == 404
