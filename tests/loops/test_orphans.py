"""The sweep for possible orphans: a creation that nobody answered, and that showed later [I3]."""

from agent.orphans import OrphanSweep
from tests.support.faults import rule
from tests.support.world import World


async def begun_twice(world: World) -> str:
    """A request whose first dossier was not to be found; returns the reference of that one."""
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
    return first.reference or ""


async def test_an_unknown_creation_that_shows_up_later_is_deleted(world: World) -> None:
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


async def test_a_sweep_with_nothing_to_look_for_asks_nothing(world: World) -> None:
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


async def test_an_orphan_is_on_the_books_as_to_be_deleted_before_its_deletion_is_asked_for(world: World) -> None:
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


async def test_a_creation_that_never_happened_is_watched_for_a_day(world: World) -> None:
    world.sandbox.faults.add([rule("createDossier", "reset-before")])
    world.upload("a")
    await world.settle()
    assert world.rows("SELECT count(*) FROM orphans WHERE closed_at IS NULL") == [(1,)]
    await world.clock.advance(86_500)
    await world.settle()
    assert world.rows("SELECT closed_at IS NULL, dossier_id FROM orphans") == [(0, None)]


async def test_dossiers_of_others_are_never_touched(world: World) -> None:
    """A prefix is no proof of ownership."""
    theirs = world.sandbox.world.create_dossier({"externalReference": "aa-tests-0123456789abcdef01234567-1-1"})
    await begun_twice(world)
    await world.clock.advance(120)
    await world.settle()
    assert list(world.sandbox.world.dossiers) == [theirs["dossierId"]]


async def test_a_sweep_returns_how_many_it_deleted(world: World) -> None:
    await begun_twice(world)
    await world.clock.advance(120)
    async with world.opened() as agent:
        sweep: OrphanSweep = agent._orphans
        assert await sweep.sweep() == 1
        assert await sweep.sweep() == 0
