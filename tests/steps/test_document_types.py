"""Step B, use case 2: the document by country and kind, resolved through Assure's list (contract §5)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.assure import document_type_cache
from agent.core.record import HoldReason, Outcome, Phase
from agent.sandbox.config import DOCUMENTS
from tests.support.clock import until
from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin
from verification.builders.request_files import PASSPORT

LIST = "getDocumentTypes"
DAY = 86_400.0


def typed(world: World, name: str, country: str = "NLD", kind: str = "passport", **more: Any) -> Path:
    """Write a request that gives its document by type."""
    path = world.upload(name, **more)
    wanted = f"documentType: {{country: {country}, type: {kind}}}"
    path.write_text(path.read_text().replace(f"documentId: {PASSPORT}", wanted))
    return path


def asked(world: World) -> int:
    """How often Assure was asked for its list."""
    return world.calls.count(LIST)


def refusal(world: World) -> Any:
    with world.reading() as reading:
        (found,) = reading.refusals()
    return found


def without(world: World, number: int) -> None:
    """Assure drops a document type."""
    left = tuple(row for row in world.sandbox.config.documents if row.id != number)
    world.sandbox.world.config = replace(world.sandbox.config, documents=left)


async def test_a_document_type_is_created_by_its_id(world: World) -> None:
    bodies = world.intercept("create_process")
    typed(world, "customer-1")
    await world.settle()
    assert [body["documentId"] for body in bodies] == [PASSPORT]
    assert world.record("customer-1").outcome is Outcome.ACCEPTED
    world.check()
    world.check_nothing_left()


async def test_the_list_is_read_only_when_a_document_needs_it(world: World) -> None:
    world.upload("customer-1")
    world.capture("customer-2")
    await world.settle()
    assert asked(world) == 0


async def test_the_list_is_read_once_for_all_requests_and_outlives_a_restart(world: World) -> None:
    for number in range(5):
        typed(world, f"customer-{number}")
    await world.settle()
    assert asked(world) == 1
    typed(world, "another", "DEU", "identityCard", back=True)
    await world.settle()
    assert (asked(world), world.record("another").outcome) == (1, Outcome.ACCEPTED)


async def test_the_list_serves_for_a_day(world: World) -> None:
    typed(world, "customer-1")
    await world.settle()
    world.clock.hold()
    await world.clock.advance(DAY)
    typed(world, "customer-2")
    await world.settle()
    assert asked(world) == 2


async def test_an_unknown_document_type_is_refused_where_it_is_with_the_nearest(world: World) -> None:
    path = typed(world, "customer-1", "NLD", "visa")
    await world.settle()
    found = refusal(world)
    lines = path.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, start=1) if "documentType" in text)
    assert (found.file, found.line, found.column) == ("customer-1.yaml", line, lines[line - 1].index("{") + 1)
    assert "no document type NLD visa" in found.message
    assert f"NLD passport ({PASSPORT}, Netherlands Passport)" in found.hint
    assert "assure-agent document-types" in found.hint
    assert world.records() == {}


async def test_an_ambiguous_document_type_is_refused_with_the_ids_that_fit(begin: Begin) -> None:
    passport = next(row for row in DOCUMENTS if row.id == PASSPORT)
    world = await begin(documents=(*DOCUMENTS, replace(passport, id=138, sub_type="Passport 2024")))
    typed(world, "customer-1")
    await world.settle()
    assert "several for NLD passport" in refusal(world).message
    assert "137 (Netherlands Passport), 138 (Netherlands Passport 2024)" in refusal(world).hint
    assert world.records() == {}


async def test_the_list_is_read_again_for_a_missing_type_at_most_once_a_minute(world: World) -> None:
    every = world.sandbox.config
    without(world, PASSPORT)
    typed(world, "customer-1")
    async with world.running() as agent:
        await agent.scan()
        await agent.scan()
        assert asked(world) == 1
        world.sandbox.world.config = every
        await world.clock.advance(60)
        await agent.scan()
        assert asked(world) == 2
        assert "customer-1" in world.records()


@pytest.mark.parametrize("trouble", ["429", "500", "reset-before", "truncated", "foreign", "html", "hang"])
async def test_without_the_list_the_file_waits_and_the_others_continue(
    world: World, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[I9]"""
    monkeypatch.setattr(document_type_cache, "_CALL_TIMEOUT", 0.3)
    if trouble == "hang":
        world.switches["request_timeout"] = 0.5
    world.sandbox.faults.add([rule(LIST, trouble)])
    typed(world, "a-typed")
    world.upload("b-plain")
    async with world.running() as agent:
        assert list(world.records()) == ["b-plain"]
        assert "does not provide the list" in refusal(world).message
        for _ in range(10):  # on a busy machine other calls may be as late as the one that hangs
            await until(lambda: agent._assure.document_types._refreshing is None)
            await world.clock.advance(5)
            await agent.scan()
            if "a-typed" in world.records():
                break
        assert set(world.records()) == {"a-typed", "b-plain"}


async def test_run_once_reads_the_list_again_until_its_timeout(world: World) -> None:
    """[I1] One failed answer does not end the run with an unread file."""
    world.sandbox.faults.add([rule(LIST, "503")])
    typed(world, "a-typed")
    finished = await world.settle()
    assert (finished.refused, finished.unfinished) == (0, False)
    assert world.record("a-typed").outcome is Outcome.ACCEPTED


async def test_a_type_that_vanished_before_its_process_is_held_and_never_guessed(world: World) -> None:
    bodies = world.intercept("create_process")
    typed(world, "customer-1", suspend=True, deadline="7d")
    await world.settle()
    world.clock.hold()
    await world.clock.advance(DAY)
    without(world, PASSPORT)
    typed(world, "customer-1", deadline="7d")
    await world.settle()
    record = world.record("customer-1")
    assert record.hold is not None
    assert (record.hold.reason, record.hold.evidence) == (HoldReason.DOCUMENT_TYPE_GONE, "not-listed")
    assert (record.phase, record.billed, record.desired.document_id) == (Phase.PROCESS, False, PASSPORT)
    assert bodies == []
    assert world.rows("SELECT result, cause FROM attempts WHERE effect = 'create_process'") == [
        ("refused", "not-listed")
    ]
    world.check()


async def test_a_request_held_for_its_type_continues_with_another_document(world: World) -> None:
    """[I3]"""
    await test_a_type_that_vanished_before_its_process_is_held_and_never_guessed(world)
    typed(world, "customer-1", "DEU", "passport", deadline="7d")
    await world.settle()
    assert world.record("customer-1").outcome is Outcome.ACCEPTED
    world.check()
    world.check_nothing_left()


async def test_without_a_list_of_today_no_process_is_created_until_there_is_one(world: World) -> None:
    typed(world, "customer-1", suspend=True, deadline="7d")
    await world.settle()
    world.clock.hold()
    await world.clock.advance(DAY)
    world.sandbox.faults.add([rule(LIST, "reset-before", count=3, nth=1)])
    typed(world, "customer-1", deadline="7d")
    await world.settle()
    assert world.record("customer-1").outcome is Outcome.ACCEPTED
    results = world.rows("SELECT result FROM attempts WHERE effect = 'create_process' ORDER BY number")
    assert {row[0] for row in results[:-1]} == {"busy"}
    assert results[-1] == ("done",)
    world.check()


async def test_an_id_that_a_fresh_list_lacks_is_refused_before_any_call(world: World) -> None:
    """The nearest ids are in the hint. Nothing is created at Assure."""
    typed(world, "customer-1")
    await world.settle()
    before = len(world.calls)
    path = world.upload("customer-2", document_id=173)
    await world.settle()
    found = refusal(world)
    line = path.read_text().splitlines()[found.line - 1]
    assert line.strip() == "documentId: 173"
    assert found.message == "spec.upload.documentId: Assure has no document type 173 for this account"
    assert "137 (NLD passport, " in found.hint
    assert "createDossier" not in world.calls[before:]


async def test_an_id_is_refused_only_after_the_list_was_read_again(world: World) -> None:
    """Assure may offer a new document type, and the cached list is up to a day old."""
    typed(world, "customer-1")
    await world.settle()
    passport = next(row for row in world.sandbox.config.documents if row.id == PASSPORT)
    new = replace(passport, id=4711)
    rows = (*world.sandbox.config.documents, new)
    world.sandbox.world.config = replace(world.sandbox.config, documents=rows)
    world.sandbox.world.documents[new.id] = new
    await world.clock.advance(61)
    world.upload("customer-2", document_id=4711)
    await world.settle()
    assert (asked(world), world.record("customer-2").outcome) == (2, Outcome.ACCEPTED)


async def test_an_id_is_not_judged_by_an_old_list(world: World) -> None:
    typed(world, "customer-1")
    await world.settle()
    world.clock.hold()
    await world.clock.advance(DAY)
    world.upload("customer-2", document_id=173)
    await world.settle()
    hold = world.record("customer-2").hold
    assert hold is not None
    assert (asked(world), hold.reason) == (1, HoldReason.REFUSED)


async def test_an_admitted_id_that_assure_drops_is_not_refused(world: World) -> None:
    """A document that starts no generation keeps its id."""
    typed(world, "customer-1")
    path = world.upload("customer-2")
    await world.settle()
    without(world, PASSPORT)
    await world.clock.advance(61)
    path.write_text(path.read_text().replace("metadata:\n", "metadata:\n  labels: {team: risk}\n"))
    await world.settle()
    assert world.record("customer-2").desired.labels == (("team", "risk"),)
    assert asked(world) == 1
