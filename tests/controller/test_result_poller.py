"""The result poller: one list for each interval, and a read for each finished request [I8] (design §8)."""

import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from agent.controller.result_poller import _READS_WITHOUT_LIST
from agent.core.assure_types import ProcessType
from agent.core.audit import Event, audited
from agent.core.next_effect import next_due_at
from agent.core.policy import Policy
from agent.core.record import Desired, Outcome, Phase, Record
from agent.core.step import Step
from agent.sandbox.model import Verdict
from agent.store.sqlite.store import SqliteStore
from tests.support.clock import until
from tests.support.environment import World
from tests.support.faults import rule

INTERVAL = 5.0
NEVER = {"uiProfile": "sandbox-outcome-abandoned"}  # the end user never opens the link


def waiting(world: World, count: int, **more: Any) -> list[str]:
    """Requests whose end users never open their links."""
    names = [f"waiting-{number:03}" for number in range(count)]
    for name in names:
        world.capture(name, capture=dict(NEVER), **more)
    return names


def since(world: World, before: Counter[str]) -> dict[str, int]:
    """The calls since then, by operation."""
    return {name: count for name, count in (world.ledger.calls - before).items() if count}


def iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


async def test_an_interval_costs_one_list_and_a_read_for_each_finished_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 300 waiting requests ten have finished: four pages of the list, ten reads, and no call for the others."""
    monkeypatch.setattr("agent.ports.remote.PAGE_SIZE", 3)
    waiting(world, 290)
    for number in range(10):
        world.upload(f"finished-{number}", "sandbox-delay=3s")
    async with world.running():
        assert {record.phase for record in world.records().values()} == {Phase.RESULT}
        before = world.ledger.calls.copy()
        await world.clock.advance(INTERVAL)
        assert since(world, before) == {
            "getAllProcess": 4,
            "getProcess": 10,
            "deleteDossier": 10,
            "getDossier": 10,  # that the deletion is confirmed
        }
        assert [record.outcome for record in world.records().values()].count(Outcome.ACCEPTED) == 10
        before = world.ledger.calls.copy()
        await world.clock.advance(4 * INTERVAL)
        assert since(world, before) == {"getAllProcess": 4}
    assert all(process.starts <= 1 for entry in world.ledger.dossiers.values() for process in entry.processes)


async def test_an_interval_with_ten_thousand_waiting_requests_costs_one_list_and_a_read_for_each_finished_one(
    world: World,
) -> None:
    """[I8] One page of at most 2,000 rows: what waits is in none. Fresh work is not delayed."""
    world.upload("of-this-source", suspend=True)
    await world.settle()
    now = world.clock.now()
    finished = [f"finished-{number}" for number in range(10)]
    waiting = [f"waiting-{number}" for number in range(9_990)]
    store = SqliteStore(world.state, None)
    await store.commit([seeded(world, name, ends_at=now + 1) for name in finished])
    await store.commit([seeded(world, name, ends_at=now + 7_200) for name in waiting])
    store.close()
    async with world.running() as agent:
        world.upload("fresh", "sandbox-delay=60m")
        await agent.scan()
        await world.clock.rest()
        assert world.rows("SELECT phase FROM requests WHERE name = 'fresh'") == [("result",)]
        before = world.ledger.calls.copy()
        await world.clock.advance(INTERVAL)
        calls = since(world, before)
        assert calls == {
            "getAllProcess": 1,
            "getProcess": 10,
            "deleteDossier": 10,
            "getDossier": 10,  # that the deletion is confirmed
        }
    settled = world.rows("SELECT name FROM requests WHERE phase = 'done' AND outcome = 'accepted' ORDER BY name")
    assert [name for (name,) in settled] == finished
    assert world.rows("SELECT count(*) FROM requests WHERE phase = 'result'") == [(9_991,)]


def begun(world: World, reference: str, ends_at: float) -> tuple[str, str]:
    """Start a verification at Assure that is then accepted. Returns dossier and process."""
    theirs = world.sandbox.world
    dossier = theirs.create_dossier({"externalReference": reference})["dossierId"]
    asked = {"provider": "signicatpictureid", "processType": "document", "documentId": 137}
    process = theirs.create_process(dossier, asked)["processId"]
    theirs.verify(theirs.processes[process], "accepted", world.clock.now())
    theirs.processes[process].verdict = Verdict("accepted", ends_at)
    return dossier, process


def seeded(world: World, name: str, ends_at: float) -> Step:
    """A stored request that waits for its result. It has another source, so that no scan searches for its file."""
    now = world.clock.now()
    wanted = Desired(digest="d", essence="e", process_type=ProcessType.DOCUMENT, document_id=137)
    plain = Record(uid=f"uid-of-{name}", name=name, source="elsewhere", agent="tests", desired=wanted)
    dossier, process = begun(world, plain.reference, ends_at)
    record = replace(
        plain,
        phase=Phase.RESULT,
        dossier_id=dossier,
        process_id=process,
        verified=True,
        uploaded=True,
        billed=True,
        opened_at=now,
        read_at=now,
        not_before=now + Policy().poll_fallback,
    )
    record = replace(record, due_at=next_due_at(record, now, Policy()))
    admitted = Event(at=now, type="Admitted", changes=audited(record))
    return Step(before=None, record=record, events=(admitted,))


async def test_a_finished_capture_costs_two_reads(world: World) -> None:
    """One read finds the deciding process, another its result."""
    waiting(world, 40)
    for number in range(5):
        world.capture(f"finished-{number}")
    async with world.running():
        before = world.ledger.calls.copy()
        await world.clock.advance(INTERVAL)
        assert since(world, before) == {
            "getAllProcess": 1,
            "getDossier": 5 + 5,  # and the confirmed deletions
            "getProcess": 5,
            "deleteDossier": 5,
        }
        finished = [record for name, record in world.records().items() if name.startswith("finished")]
        assert {record.outcome for record in finished} == {Outcome.ACCEPTED}


async def test_no_list_is_read_while_no_request_waits(world: World) -> None:
    world.upload("held", document_id=4)
    world.upload("done")
    await world.settle()
    async with world.running():
        before = world.ledger.calls.copy()
        await world.clock.advance(20 * INTERVAL)
    assert set(since(world, before)) <= {"token"}


async def test_the_list_begins_with_the_oldest_waiting_request(world: World) -> None:
    """The list begins ten minutes earlier, because two clocks differ. Requests that finished before cost no row."""
    asked: list[dict[str, Any]] = []
    original = world.sandbox.world.list_processes

    def listed(query: dict[str, Any], *more: Any) -> Any:
        asked.append(query)
        return original(query, *more)

    world.sandbox.world.list_processes = listed  # type: ignore[method-assign,assignment]
    world.upload("a", "sandbox-delay=1m")
    await world.settle()
    assert asked
    for query in asked:
        assert set(query["status"]) == {"accepted", "rejected", "inconclusive", "canceled", "failed"}
        assert query["limit"] == ["2000"]
    opened = world.record("a").opened_at
    assert opened is not None
    assert {query["startCreationDate"][0] for query in asked} == {iso(opened - 600)}


@pytest.mark.parametrize("kind", ["500", "reset-before", "html", "429", "truncated"])
async def test_without_the_list_a_few_requests_are_read_in_turn(world: World, kind: str) -> None:
    world.sandbox.faults.add([rule("getAllProcess", kind, every=1)])
    names = waiting(world, 3 * _READS_WITHOUT_LIST - 6)
    async with world.running():
        for interval in (1, 2, 3):
            before = world.ledger.calls.copy()
            await world.clock.advance(INTERVAL)
            calls = since(world, before)
            assert calls["getDossier"] <= _READS_WITHOUT_LIST
            result = [name for name in names if world.record(name).read_at is not None]
            assert len(result) == min(len(names), interval * _READS_WITHOUT_LIST)
        world.sandbox.faults.clear()
        before = world.ledger.calls.copy()
        await world.clock.advance(INTERVAL)
        assert since(world, before) == {"getAllProcess": 1}


async def test_without_the_list_requests_near_their_deadline_are_read_in_turn(world: World) -> None:
    """[I1] `least_recently_polled` gives the requests that were read longest ago."""
    world.sandbox.faults.add([rule("getAllProcess", "500", every=1)])
    names = waiting(world, _READS_WITHOUT_LIST + 8, deadline="10m")
    async with world.running():
        await world.clock.advance(4 * INTERVAL)
        assert [name for name in names if world.record(name).read_at is None] == []


async def test_without_the_list_a_result_is_still_found(world: World) -> None:
    """[I1]"""
    world.sandbox.faults.add([rule("getAllProcess", "503", every=1)])
    world.upload("a", "sandbox-delay=30s")
    world.capture("b")
    async with world.running():
        await world.clock.advance(60)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
    for row in world.ledger.report()["dossiers"]:
        assert all(process["minReadGap"] is None or process["minReadGap"] >= 1 for process in row["processes"])
    world.check()
    world.check_nothing_left()


async def test_a_page_that_fails_in_the_middle_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.ports.remote.PAGE_SIZE", 2)
    names = [f"a-{number}" for number in range(6)]
    for name in names:
        world.upload(name, "sandbox-delay=3s")
    async with world.running():
        world.sandbox.faults.add([rule("getAllProcess", "500", nth=2)])
        await world.clock.advance(2 * INTERVAL)
        assert [world.record(name).outcome for name in names] == [Outcome.ACCEPTED] * 6
    world.check()


async def test_a_request_that_the_list_never_shows_is_found_by_its_own_poll(world: World) -> None:
    """[I1] Every 15 minutes."""
    world.sandbox.world.list_processes = _nothing  # type: ignore[method-assign]
    world.upload("a", "sandbox-delay=10m", deadline="3h")
    world.capture("b", deadline="3h")
    async with world.running():
        await world.clock.advance(Policy().poll_fallback + INTERVAL)
        assert {record.outcome for record in world.records().values()} == {Outcome.ACCEPTED}
        processes = [process for entry in world.ledger.dossiers.values() for process in entry.processes]
        assert sum(len(process.reads) for process in processes) == 2
    world.check()


@pytest.mark.parametrize("the_list", ["works", "fails", "shows nothing"])
async def test_no_request_waits_longer_than_its_deadline_and_an_interval(world: World, the_list: str) -> None:
    """[I3]"""
    if the_list == "fails":
        world.sandbox.faults.add([rule("getAllProcess", "500", every=1)])
    if the_list == "shows nothing":
        world.sandbox.world.list_processes = _nothing  # type: ignore[method-assign]
    deadlines = {"1m": 60, "7m": 420, "14m": 840, "20m": 1_200}
    for text in deadlines:
        world.upload(f"upload-{text}", "sandbox-delay=60m", deadline=text)
        world.capture(f"capture-{text}", capture=dict(NEVER), deadline=text)
    async with world.running():
        await world.clock.advance(1_300)
        for name, record in world.records().items():
            assert record.opened_at is not None
            assert record.outcome_at is not None
            assert record.outcome is Outcome.EXPIRED
            late = record.outcome_at - record.opened_at - deadlines[name.partition("-")[2]]
            assert 0 <= late <= INTERVAL
    world.check()
    world.check_nothing_left()


async def test_a_deadline_inside_an_interval_waits_for_no_list(world: World) -> None:
    world.capture("a", capture=dict(NEVER), deadline="1m")
    async with world.running(poll_interval=3_600.0):
        await world.clock.advance(65)
        assert world.record("a").outcome is Outcome.EXPIRED


async def test_a_row_of_another_client_costs_no_read(world: World) -> None:
    theirs = world.sandbox.world
    dossier = theirs.create_dossier({"externalReference": "not-ours"})["dossierId"]
    body = {"providers": [{"provider": "signicatpictureid", "processType": "document"}], "sdk": "capture"}
    theirs.flows.start(dossier, body | {"redirectUrl": "https://shop.example/done"})
    waiting(world, 3)
    async with world.running():
        before = world.ledger.calls.copy()
        await world.clock.advance(4 * INTERVAL)
        assert since(world, before) == {"getAllProcess": 4}


async def test_a_suspended_or_held_request_is_not_read(world: World) -> None:
    path = world.upload("a", "sandbox-delay=30s")
    async with world.running() as agent:
        path.write_text(path.read_text().replace("spec:", "spec:\n  suspend: true"))
        await agent.scan()
        before = world.ledger.calls.copy()
        await world.clock.advance(60)
        assert "getProcess" not in since(world, before)
        path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
        await agent.scan()
        await world.clock.advance(2 * INTERVAL)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()


async def test_a_bug_in_the_poller_is_reported(world: World) -> None:
    """[I1] A running agent that polls no result would seem healthy."""
    world.upload("a", "sandbox-delay=3s")
    async with world.running() as agent:
        observe = agent._result_poller.poll
        raised: list[int] = []

        async def once() -> int:
            if not raised:
                raised.append(1)
                raise ZeroDivisionError("a bug of the agent")
            return await observe()

        agent._result_poller.poll = once  # type: ignore[method-assign]
        world.clock.release()
        await until(lambda: raised)
        await world.clock.advance(4 * INTERVAL)
        reported = [entry for entry in world.logs if "ZeroDivisionError" in repr(entry)]
        outcome = world.record("a").outcome
        agent._result_poller.poll = observe  # type: ignore[method-assign]
    assert reported
    assert outcome is Outcome.ACCEPTED


def _nothing(*_: object, **__: object) -> dict[str, Any]:
    """A list that never shows the request."""
    return {"processes": [], "filters": {}, "totalResults": 0}
