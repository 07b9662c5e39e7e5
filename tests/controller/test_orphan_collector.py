"""The sweep for possible orphans: dossiers of unanswered create calls that appear later [I3]."""

from typing import Any

from agent.controller.orphan_collector import OrphanCollector
from agent.core.record import Outcome
from agent.sandbox.model import bad_request
from tests.support.commands import ask
from tests.support.environment import World, crowd
from tests.support.faults import rule


async def begun_twice(world: World) -> str:
    """A request whose first dossier was neither found nor proven absent. Returns the reference of that dossier."""
    theirs = await crowd(world)
    world.sandbox.faults.add(
        [
            rule("createDossier", "reset-after"),
            rule("getDossiers", "lagging-reads", seconds=60.0, every=1),
        ]
    )
    world.upload("a")
    await world.settle()
    first, second = world.dossiers("a")
    assert first.deleted_at is None
    assert second.deleted_at is not None
    for dossier_id in theirs:
        world.sandbox.world.delete_dossier(dossier_id)
    return first.reference or ""


async def test_a_dossier_of_an_unanswered_create_is_deleted_when_it_appears(world: World) -> None:
    reference = await begun_twice(world)
    assert world.rows("SELECT reference, dossier_id FROM orphans WHERE closed_at IS NULL") == [(reference, None)]
    await world.clock.advance(120)
    await world.settle()
    first = world.dossiers("a")[0]
    assert first.deleted_at is not None
    assert world.rows("SELECT reference, dossier_id FROM orphans") == [(reference, first.dossier_id)]
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


async def test_a_create_that_is_proven_absent_leaves_no_possible_orphan(world: World) -> None:
    """[I3] The list shows all there is, after the call could no longer act."""
    world.sandbox.faults.add([rule("createDossier", "reset-before")])
    world.upload("a")
    await world.settle()
    assert world.rows("SELECT reference FROM orphans") == []
    assert len(world.dossiers("a")) == 1
    world.check()
    world.check_nothing_left()


async def test_an_orphan_outside_the_list_is_deleted_once_newer_dossiers_are_gone(world: World) -> None:
    """[I3] More than 100 dossiers are open for a day; only then does the list reach back to ours."""
    world.sandbox.faults.add([rule("createDossier", "reset-after")])
    world.upload("a")
    newer: list[str] = []

    original = world.sandbox.world.list_dossiers

    def listing(*arguments: Any) -> Any:
        if not newer:
            newer.extend(world.sandbox.world.create_dossier({})["dossierId"] for _ in range(100))
        return original(*arguments)

    world.sandbox.world.list_dossiers = listing  # type: ignore[method-assign]
    await world.settle()
    shell = world.dossiers("a")[0]
    assert shell.deleted_at is None
    await world.clock.advance(86_400)
    await world.settle()
    assert shell.deleted_at is None
    for dossier_id in newer:
        world.sandbox.world.delete_dossier(dossier_id)
    await world.settle()
    assert shell.deleted_at is not None
    world.check_nothing_left()


async def test_a_sweep_without_possible_orphans_makes_no_call(world: World) -> None:
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["getDossiers"] == 0


async def test_a_deletion_of_an_orphan_that_fails_is_tried_again(world: World) -> None:
    await begun_twice(world)
    await world.clock.advance(120)
    world.sandbox.faults.add([rule("deleteDossier", "500", acts=False, nth=1)])
    await world.settle()
    assert world.rows("SELECT count(*) FROM orphans WHERE closed_at IS NULL") == [(1,)]
    await world.settle()
    world.check_nothing_left()


async def test_an_orphan_is_recorded_before_its_deletion(world: World) -> None:
    """[I4]"""
    await begun_twice(world)
    await world.clock.advance(120)
    seen: list[tuple[str | None]] = []
    original = world.sandbox.world.delete_dossier

    def delete(dossier_id: str) -> None:
        seen.extend(world.rows("SELECT dossier_id FROM orphans"))
        original(dossier_id)

    world.sandbox.world.delete_dossier = delete  # type: ignore[method-assign]
    await world.settle()
    assert seen == [(world.dossiers("a")[0].dossier_id,)]


async def test_a_possible_orphan_is_watched_until_a_complete_list_lacks_it(world: World) -> None:
    """[I3] For an hour at least, and for 30 days where no list shows all."""
    theirs = await crowd(world)
    world.sandbox.faults.add([rule("createDossier", "reset-before")])
    world.upload("a")
    await world.settle()
    open_orphans = "SELECT count(*) FROM orphans WHERE closed_at IS NULL"
    await world.clock.advance(29 * 86_400)
    await world.settle()
    assert world.rows(open_orphans) == [(1,)]
    for dossier_id in theirs:
        world.sandbox.world.delete_dossier(dossier_id)
    await world.settle()
    assert world.rows("SELECT closed_at IS NULL, dossier_id FROM orphans") == [(0, None)]


async def test_an_old_possible_orphan_is_searched_less_often(world: World) -> None:
    """[I8] A day of searches costs tens of lists, not thousands."""
    await crowd(world)
    world.sandbox.faults.add([rule("createDossier", "reset-before")])
    world.upload("a")
    await world.settle()
    async with world.opened() as agent:
        before = world.ledger.calls["getDossiers"]
        for _ in range(24 * 60):
            world.clock.skip(60.0)
            await agent._orphans.sweep()
        assert 40 < world.ledger.calls["getDossiers"] - before < 150


async def test_dossiers_of_others_are_never_touched(world: World) -> None:
    """A prefix does not prove ownership."""
    theirs = world.sandbox.world.create_dossier({"externalReference": "aa-tests-0123456789abcdef01234567-1-1"})
    await begun_twice(world)
    await world.clock.advance(120)
    await world.settle()
    assert list(world.sandbox.world.dossiers) == [theirs["dossierId"]]


async def test_a_sweep_returns_the_number_of_deleted_dossiers(world: World) -> None:
    await begun_twice(world)
    await world.clock.advance(120)
    async with world.opened() as agent:
        sweep: OrphanCollector = agent._orphans
        assert await sweep.sweep() == 1
        assert await sweep.sweep() == 0


async def test_a_dossier_outside_a_full_list_is_searched_among_the_processes(world: World) -> None:
    """[I3] As after a restored store: the reference is at Assure, with a process, under 100 newer dossiers."""
    world.sandbox.faults.add([rule("createDossier", "reset-before")])
    world.upload("a")
    original = world.sandbox.world.list_dossiers

    def listing(*arguments: Any) -> Any:
        if not world.dossiers("a"):
            reference = world.record("a").reference
            ours = world.sandbox.world.create_dossier({"externalReference": reference})["dossierId"]
            process = {"provider": "signicatpictureid", "processType": "document", "documentId": 137}
            world.sandbox.world.create_process(ours, process)
            for _ in range(100):
                world.sandbox.world.create_dossier({})
        return original(*arguments)

    world.sandbox.world.list_dossiers = listing  # type: ignore[method-assign]
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert len(world.dossiers("a")) == 1
    assert world.starts("a") == 1
    assert world.rows("SELECT count(*) FROM orphans") == [(0,)]
    assert "getAllProcess" in world.calls


async def adopted(world: World) -> str:
    """A billed request that was held at its second attempt and adopted the empty dossier of the first."""
    theirs = await crowd(world)
    world.upload("a", "sandbox-delay=30m")
    lagging = [rule(call, "lagging-reads", every=1, seconds=120.0) for call in ("getDossiers", "getAllProcess")]
    world.sandbox.faults.add([rule("createDossier", "reset-after"), *lagging])
    create = world.sandbox.world.create_dossier

    def refusing(body: dict[str, Any]) -> Any:
        if world.dossiers("a"):
            raise bad_request("not today")
        return create(body)

    world.sandbox.world.create_dossier = refusing  # type: ignore[method-assign]
    async with world.running():
        await world.clock.advance(60)
        assert (world.record("a").state, world.record("a").attempt) == ("held", 2)
        (shell,) = [key for key, one in world.ledger.dossiers.items() if one is world.dossiers("a")[0]]
        assert (await ask(world, "resolve", name="a", answer="adopt", dossierId=shell))["ok"]
        await world.clock.advance(20)
        assert (world.record("a").dossier_id, world.record("a").billed) == (shell, True)
    world.sandbox.faults.clear()
    for dossier_id in theirs:
        world.sandbox.world.delete_dossier(dossier_id)
    return shell


async def test_the_sweep_does_not_delete_a_dossier_of_a_request(world: World) -> None:
    """[I3] It is deleted once, by its request, and nothing stays on the books."""
    shell = await adopted(world)
    async with world.running() as agent:
        await world.clock.advance(120)
        for _ in range(3):
            await agent._orphans.sweep()
        assert list(world.sandbox.world.dossiers) == [shell]
        assert world.rows("SELECT dossier_id, closed_at FROM orphans") == [(shell, None)]
        with world.reading() as reading:
            assert reading.gauges(world.clock.now())["orphans_undeleted"] == 0  # the operator need not act
        await world.clock.advance(3600)
        assert world.record("a").outcome is Outcome.ACCEPTED
        await agent._orphans.sweep()
    assert world.rows("SELECT dossier_id, closed_at IS NULL FROM orphans") == [(shell, 0)]
    assert world.starts("a") == 1
    world.check()
    world.check_nothing_left()


async def test_a_sweep_makes_no_call_for_a_dossier_of_a_request(world: World) -> None:
    await adopted(world)
    async with world.opened() as agent:
        world.clock.skip(120.0)
        await agent._orphans.sweep()
        before = len(world.calls)
        world.clock.skip(3600.0)
        await agent._orphans.sweep(at_once=True)
        assert len(world.calls) == before
    assert world.rows("SELECT closed_at FROM orphans") == [(None,)]
