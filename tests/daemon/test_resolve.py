"""`resolve`: the operator decides a hold with a command (design §9)."""

from typing import Any

import pytest

from agent.core.record import HoldReason, Outcome, Phase
from agent.sandbox.model import bad_request
from tests.support.commands import (
    BOTH,
    OTHER,
    UNKNOWN,
    ask,
    commands,
    execute_offline,
    obeyed_in_time,
    refused,
    send_through,
)
from tests.support.environment import World
from verification.builders.pictures import jpeg
from verification.builders.request_files import write


@BOTH
async def test_retry_repeats_the_refused_call_once(world: World, through: str) -> None:
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    first = world.record("a").hold
    assert first is not None
    await world.clock.advance(1)  # the id of a hold depends on its time
    answer = await send_through(world, through, "resolve", times=2, name="a", answer="retry")
    assert answer["ok"], answer
    assert first.id in answer["message"]
    assert world.ledger.calls["createProcess"] == 2
    second = world.record("a").hold
    assert second is not None
    assert second.id != first.id  # a later hold, which the repeated command does not resolve
    assert commands(world) == 1
    world.check()


@BOTH
async def test_abandon_ends_the_request_and_leaves_nothing_at_assure(world: World, through: str) -> None:
    """[I3]"""
    world.upload("a", document_id=UNKNOWN)
    await world.settle()
    answer = await send_through(world, through, "resolve", times=2, name="a", answer="abandon")
    assert answer["ok"], answer
    assert (world.record("a").outcome, world.record("a").phase) == (Outcome.ABANDONED, Phase.DONE)
    world.check()
    world.check_nothing_left()


@pytest.mark.both_engines
@BOTH
async def test_an_adopted_dossier_is_verified_and_deleted(world: World, through: str) -> None:
    """[I2] [I3]"""
    create, refuse = world.sandbox.world.create_dossier, [True]

    def refusing(body: dict[str, Any]) -> Any:
        if refuse:
            raise bad_request("not today")
        return create(body)

    world.sandbox.world.create_dossier = refusing  # type: ignore[method-assign]
    world.upload("a")
    await world.settle()
    assert world.record("a").state == "held"
    dossier = create({"externalReference": "made by hand"})["dossierId"]
    answer = await send_through(world, through, "resolve", times=2, name="a", answer="adopt", dossierId=dossier)
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.outcome, record.dossier_id) == (Outcome.ACCEPTED, dossier)
    assert [process.starts for process in world.ledger.dossiers[dossier].processes] == [1]
    world.check()
    world.check_nothing_left()


@BOTH
async def test_retry_of_a_document_that_changed_after_its_start_verifies_it(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    assert world.record("a").state == "held"
    answer = await send_through(world, through, "resolve", times=2, name="a", answer="retry")
    assert answer["ok"], answer
    record = world.record("a")
    assert (record.generation, record.outcome, record.hold) == (2, Outcome.ACCEPTED, None)
    assert record.desired.document_id == OTHER
    assert world.starts("a") == 2
    world.check()


@BOTH
async def test_abandon_of_a_document_that_changed_after_its_start_leaves_it(world: World, through: str) -> None:
    world.upload("a")
    await world.settle()
    world.upload("a", document_id=OTHER)
    await world.settle()
    answer = await send_through(world, through, "resolve", times=2, name="a", answer="abandon")
    assert answer["ok"], answer
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.hold) == (1, Outcome.ACCEPTED, None)
    assert world.starts("a") == 1


@BOTH
async def test_abandon_of_a_change_ends_the_open_verification(world: World, through: str) -> None:
    """[I2] [I3] The outcome is `abandoned`, the dossier is deleted; the changed file waits for a rerun."""
    world.upload("a", marker="sandbox-delay=60m")
    async with world.running():
        assert world.record("a").phase is Phase.RESULT
        world.upload("a", document_id=OTHER)
    async with world.running():
        assert world.record("a").state == "held"
        if through == "socket":
            assert (await ask(world, "resolve", name="a", answer="abandon"))["ok"]
    if through == "store":
        assert (await execute_offline(world, "resolve", name="a", answer="abandon"))["ok"]
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.phase, record.hold) == (1, Outcome.ABANDONED, Phase.DONE, None)
    world.check_nothing_left()
    await send_through(world, through, "rerun", name="a", command_id="command-2")
    await world.settle()
    record = world.record("a")
    assert (record.generation, record.outcome, record.desired.document_id) == (2, Outcome.ACCEPTED, OTHER)
    world.check()
    world.check_nothing_left()


async def test_a_retry_continues_after_the_image_was_restored(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    async with world.running():
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.IMAGES_CHANGED
        write(world.images / "a/front.jpg", jpeg())
        assert (await ask(world, "resolve", name="a", answer="retry"))["ok"]
        await world.clock.rest()
        await world.clock.advance(30)
        assert world.record("a").outcome is Outcome.ACCEPTED
    world.check()


async def test_adopt_is_refused_for_a_hold_that_accepts_no_dossier(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    await world.settle()
    answer = await obeyed_in_time(world, "resolve", name="a", answer="adopt", dossierId="d-1")
    refused(answer)
    assert "busy" not in answer["message"]


async def other_dossier(world: World) -> str:
    """`a` is held because its dossier was refused; returns the dossier in which `b` is verified meanwhile."""
    world.upload("b", "sandbox-delay=10m")
    async with world.running() as agent:
        await world.clock.advance(10)
        dossier = world.record("b").dossier_id
        world.sandbox.world.create_dossier = not_today  # type: ignore[method-assign]
        world.upload("a")
        await agent.scan()
        await world.clock.advance(1)
        assert world.record("a").state == "held"
    assert dossier is not None
    return dossier


def not_today(_: dict[str, Any]) -> Any:
    raise bad_request("not today")


@BOTH
async def test_a_dossier_that_another_request_has_is_not_adopted(world: World, through: str) -> None:
    """[I2] [I3] Two requests would share a result, and one would delete the dossier of the other."""
    dossier = await other_dossier(world)
    if through == "socket":
        async with world.running():
            answer = await ask(world, "resolve", name="a", answer="adopt", dossierId=dossier)
    else:
        answer = await execute_offline(world, "resolve", name="a", answer="adopt", dossierId=dossier)
    refused(answer, "Another request")
    await world.settle()
    assert world.record("a").state == "held"
    assert world.record("b").outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("odd", ["4711 typo", "all", "..", "a/b", "", 5, None])
async def test_an_invalid_dossier_id_is_not_adopted(world: World, odd: object) -> None:
    await other_dossier(world)
    refused(await execute_offline(world, "resolve", name="a", answer="adopt", dossierId=odd), "not a valid dossier id")
    assert world.record("a").state == "held"


async def test_a_dossier_that_is_about_to_be_deleted_is_not_adopted(world: World) -> None:
    """[I3] The agent found it as an orphan."""
    await other_dossier(world)
    async with world.running() as agent:
        record = world.record("a")
        await agent._store.recoveries.suspect(record.uid, f"{record.reference[:-1]}0", "D9", world.clock.now())
        refused(await ask(world, "resolve", name="a", answer="adopt", dossierId="D9"), "about to delete")
