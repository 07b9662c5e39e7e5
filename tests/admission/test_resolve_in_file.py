"""The operator resolves a hold in the request file (design §9)."""

from collections.abc import Callable
from typing import Any

import pytest

from agent.core.record import Outcome, Phase, Record
from agent.sandbox.model import bad_request
from tests.support.commands import OTHER, UNKNOWN, scanned, send_through
from tests.support.environment import World
from tests.support.fixtures import Begin
from verification.builders.pictures import jpeg
from verification.builders.request_files import write


def annotated(world: World, answer: str, **more: Any) -> None:
    world.upload("a", annotations={"assure-agent/resolve": answer}, **more)


def held(world: World) -> str:
    hold = world.record("a").hold
    assert hold is not None
    return hold.id


async def test_the_answer_in_the_file_resolves_a_blocking_hold_once(world: World) -> None:
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        first = held(world)
        await world.clock.advance(10)
        annotated(world, f"retry@{first}", document_id=UNKNOWN)
        await scanned(world, agent)
        assert world.ledger.calls["createProcess"] == 2
        assert held(world) != first
    await world.settle()  # a restart finds the same file
    assert world.ledger.calls["createProcess"] == 2
    assert world.record("a").generation == 1
    assert world.rows("SELECT count(*) FROM events WHERE type = 'HoldResolved'") == [(1,)]
    world.check()


async def test_an_abandon_in_the_file_ends_a_held_request(world: World) -> None:
    """[I3]"""
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        annotated(world, f"abandon@{held(world)}", document_id=UNKNOWN)
        await scanned(world, agent)
        assert world.record("a").outcome is Outcome.ABANDONED
    world.check()
    world.check_nothing_left()


async def test_the_answer_in_the_file_verifies_a_document_that_changed_after_its_start_once(world: World) -> None:
    """[I2]"""
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"retry@{held(world)}", document_id=OTHER)
        await scanned(world, agent)
        await world.clock.advance(30)
        record = world.record("a")
        assert (record.generation, record.outcome, record.hold) == (2, Outcome.ACCEPTED, None)
    await world.settle()
    assert world.starts("a") == 2
    world.check()
    world.check_nothing_left()


async def test_the_answer_in_the_file_can_leave_a_changed_document_ignored(world: World) -> None:
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"abandon@{held(world)}", document_id=OTHER)
        await scanned(world, agent)
        record = world.record("a")
        assert (record.generation, record.outcome, record.hold) == (1, Outcome.ACCEPTED, None)
    await world.settle()
    assert world.record("a").hold is None
    assert world.starts("a") == 1


@pytest.mark.parametrize("document_id", [UNKNOWN, OTHER])
async def test_an_answer_to_another_hold_is_ignored_and_reported(world: World, document_id: int) -> None:
    world.upload("a", document_id=UNKNOWN if document_id == UNKNOWN else 137)
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=document_id)
        await agent.scan()
        before = held(world)
        annotated(world, "retry@h-000000", document_id=document_id)
        synced = await agent._admission.scan()
        assert {stray.uid for stray in synced.strays} == {world.record("a").uid}
        await scanned(world, agent)
        assert held(world) == before
        assert world.rows("SELECT count(*) FROM events WHERE type = 'HoldResolved'") == [(0,)]
        strays = [entry for entry in world.logs if "annotation" in entry["event"]]
        assert [entry["uid"] for entry in strays] == [world.record("a").uid]  # logged once, not at each scan
        assert [entry["hold_id"] for entry in strays] == ["h-000000"]
    world.check()


async def test_an_answer_to_another_hold_is_reported_while_the_file_has_it(world: World) -> None:
    """Each scan reports the stray answers of the source, as it reports refusals."""
    world.upload("a", document_id=UNKNOWN)
    async with world.running() as agent:
        annotated(world, "retry@h-000000", document_id=UNKNOWN)
        for _ in range(4):
            synced = await agent._admission.scan()
            assert {stray.uid for stray in synced.strays} == {world.record("a").uid}


async def test_an_answer_with_a_missing_image_is_refused_until_the_image_exists(world: World) -> None:
    """[I1]"""
    world.upload("a")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"retry@{held(world)}", document_id=OTHER)
        (world.images / "a/front.jpg").unlink()
        synced = await agent._admission.scan()
        assert [fault.name for fault in synced.refusals] == ["a"]
        await scanned(world, agent)
        write(world.images / "a/front.jpg", jpeg())
        await scanned(world, agent)
        assert world.record("a").generation == 2


async def test_an_answer_written_while_the_agent_was_down_is_applied_at_its_start(begin: Begin) -> None:
    world = await begin()
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    annotated(world, f"abandon@{held(world)}", document_id=UNKNOWN)
    await world.settle()
    record: Record = world.record("a")
    assert record.outcome is Outcome.ABANDONED
    world.check_nothing_left()


TOKEN = {"assure-agent/rerun": "2026-11-23a"}


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_new_token_in_a_changed_file_verifies_it_once_even_after_an_abandon(
    world: World, abandoned: bool
) -> None:
    """[I2] One token, one generation."""
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    if abandoned:
        assert (await send_through(world, "store", "resolve", name="a", answer="abandon"))["ok"]
        assert world.record("a").declined
    world.upload("a", document_id=OTHER, annotations=TOKEN)
    for _ in range(3):  # a restart each
        await world.settle()
        record = world.record("a")
        assert (record.generation, record.outcome, record.hold) == (2, Outcome.ACCEPTED, None)
        assert record.desired.document_id == OTHER
        assert record.reruns == ("2026-11-23a",)
    world.upload("a", document_id=OTHER, annotations=TOKEN, labels={"team": "x"})
    await world.settle()
    assert (world.record("a").desired.labels, world.starts("a")) == ((("team", "x"),), 2)
    world.upload("a", annotations=TOKEN)  # changed again, and the token is known: a person is asked
    await world.settle()
    assert (held(world)[:2], world.starts("a")) == ("h-", 2)
    world.check()
    world.check_nothing_left()


async def test_a_token_next_to_an_abandon_ends_the_earlier_generation_and_verifies_the_file_once(world: World) -> None:
    """[I2]"""
    world.upload("a", "sandbox-delay=10m")
    async with world.running() as agent:
        await world.clock.advance(30)
        world.upload("a", document_id=OTHER)
        await agent.scan()
        annotated(world, f"abandon@{held(world)}", document_id=OTHER)
        text = (world.specs / "a.yaml").read_text()
        (world.specs / "a.yaml").write_text(
            text.replace("assure-agent/resolve", "assure-agent/rerun: t1\n    assure-agent/resolve")
        )
        await scanned(world, agent)
        await world.clock.advance(600)
        record = world.record("a")
        assert (record.generation, record.outcome, world.starts("a")) == (2, Outcome.ACCEPTED, 2)
    world.check()
    world.check_nothing_left()


async def test_a_shorter_retention_in_a_changed_file_waits_like_its_other_changes(world: World) -> None:
    world.upload("a", retention="10d")
    await world.settle()
    world.upload("a", document_id=OTHER, retention="10d")
    await world.settle()
    world.upload("a", document_id=OTHER, retention="1s")
    await world.settle()
    assert (world.record("a").phase, world.record("a").desired.retention) == (Phase.DELETION, 10 * 86400.0)
    world.upload("a", document_id=OTHER, retention="1s", annotations=TOKEN)
    await world.settle()
    await world.clock.advance(1)
    await world.settle()
    assert (world.record("a").generation, world.record("a").phase) == (2, Phase.DONE)
    world.check_nothing_left()


def not_today(_: dict[str, Any]) -> Any:
    raise bad_request("not today")


async def refused_dossiers(world: World, *names: str) -> Callable[[dict[str, Any]], Any]:
    """Hold these requests by refused dossiers. Returns the original function that creates dossiers."""
    create = world.sandbox.world.create_dossier
    world.sandbox.world.create_dossier = not_today  # type: ignore[method-assign]
    for name in names:
        world.upload(name, "sandbox-delay=10m")
    await world.settle()
    assert {record.state for record in world.records().values()} == {"held"}
    return create


def adopts(world: World, name: str, dossier: str) -> None:
    hold = world.record(name).hold
    assert hold is not None
    world.upload(name, "sandbox-delay=10m", annotations={"assure-agent/resolve": f"adopt={dossier}@{hold.id}"})


async def test_one_dossier_that_two_files_name_at_once_is_adopted_by_one_of_them(world: World) -> None:
    """[I2] [I3] The other file is refused with a reason."""
    create = await refused_dossiers(world, "a", "b")
    dossier = create({"externalReference": "made by hand"})["dossierId"]
    async with world.running() as agent:
        for name in ("a", "b"):
            adopts(world, name, dossier)
        synced = await agent._admission.scan()
        (fault,) = synced.refusals
        assert "Another request still uses this dossier" in fault.message
        assert fault.hint
        await scanned(world, agent)
        one, other = sorted(world.records().values(), key=lambda record: record.state == "held")
        assert (one.dossier_id, one.billed, other.name, other.state) == (dossier, True, fault.name, "held")
    assert [process.starts for process in world.ledger.dossiers[dossier].processes] == [1]


@pytest.mark.parametrize("odd", ["4711 typo", "all", "..", "a/b"])
async def test_an_invalid_dossier_id_is_refused_in_its_file(world: World, odd: str) -> None:
    await refused_dossiers(world, "a")
    adopts(world, "a", odd)
    async with world.running() as agent:
        (fault,) = (await agent._admission.scan()).refusals
        assert (fault.name, "not a valid dossier id" in fault.message) == ("a", True)
        assert odd not in fault.message.split()
    assert world.record("a").state == "held"
