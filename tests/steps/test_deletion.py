"""The last step of both use cases: delete the dossier, and see that it is gone (contract §4)."""

import pytest

from agent.core.record import Phase
from tests.support.environment import World
from tests.support.faults import rule


async def test_the_dossier_is_deleted_at_once_and_the_deletion_confirmed_by_404(world: World) -> None:
    """[I3]"""
    world.upload("a")
    await world.settle()
    assert world.calls[-2:] == ["deleteDossier", "getDossier"]
    assert world.history("a")[-2:] == ["DossierDeleted", "TargetMissing"]
    entry, record = world.dossiers("a")[0], world.record("a")
    assert entry.deleted_at == record.outcome_at
    assert record.deleted
    world.check_nothing_left()


@pytest.mark.parametrize("mode", ["upload", "capture"])
async def test_the_dossier_stays_for_its_retention_and_not_longer(world: World, mode: str) -> None:
    world.upload("a", retention="10m") if mode == "upload" else world.capture("a", retention="10m")
    async with world.running():
        await world.clock.advance(30)
        record = world.record("a")
        assert (record.outcome, record.phase, record.state) == ("accepted", Phase.DELETION, "waiting")
        assert record.outcome_at is not None
        await world.clock.advance(record.outcome_at + 599 - world.clock.now())
        assert len(world.sandbox.world.dossiers) == 1
        await world.clock.advance(2)
        assert world.dossiers("a")[0].deleted_at == pytest.approx(record.outcome_at + 600)
        assert world.record("a").phase is Phase.DONE
    world.check_nothing_left()


async def test_run_once_does_not_wait_for_the_retention_and_the_next_run_deletes(world: World) -> None:
    """[I1]"""
    world.upload("a", retention="10m")
    assert not (await world.settle()).unfinished
    assert world.record("a").phase is Phase.DELETION
    await world.clock.advance(3_600)
    await world.settle()
    assert world.record("a").phase is Phase.DONE
    world.check_nothing_left()


async def test_shortening_the_retention_counts_at_once_and_starts_nothing(world: World) -> None:
    path = world.upload("a", retention="30d")
    await world.settle()
    path.write_text(path.read_text().replace("30d", "1s"))
    await world.clock.advance(5)
    await world.settle()
    assert world.record("a").phase is Phase.DONE
    assert world.starts("a") == 1
    world.check_nothing_left()


async def test_removing_the_file_in_retention_deletes_and_the_outcome_remains(world: World) -> None:
    path = world.upload("a", retention="30d")
    world.upload("b")
    await world.settle()
    path.unlink()
    await world.settle()
    record = world.record("a")
    assert (record.outcome, record.phase, record.present) == ("accepted", Phase.DONE, False)
    world.check_nothing_left()


@pytest.mark.parametrize("kind", ["500", "reset-before", "reset-after", "429", "html"])
async def test_a_failing_deletion_is_tried_until_it_is_done(world: World, kind: str) -> None:
    """[I3] Never held."""
    world.sandbox.faults.add([rule("deleteDossier", kind, nth=1, count=4)])
    world.upload("a")
    await world.settle()
    record = world.record("a")
    assert (record.phase, record.hold) == (Phase.DONE, None)
    world.check()
    world.check_nothing_left()


async def test_a_deletion_that_did_not_happen_is_seen_by_the_confirmation(world: World) -> None:
    """[I3] 204, and the dossier can still be read: delete again."""
    original = world.sandbox.world.delete_dossier
    pretended: list[str] = []

    def pretend(dossier_id: str) -> None:
        pretended.append(dossier_id)
        if len(pretended) > 1:
            original(dossier_id)

    world.sandbox.world.delete_dossier = pretend  # type: ignore[method-assign]
    world.upload("a")
    await world.settle()
    assert len(pretended) == 2
    assert world.record("a").phase is Phase.DONE
    world.check_nothing_left()


async def test_a_dossier_that_another_application_deleted_is_done(world: World) -> None:
    world.upload("a", retention="10m")
    await world.settle()
    world.sandbox.world.delete_dossier(world.record("a").dossier_id or "")
    await world.clock.advance(700)
    await world.settle()
    assert (world.record("a").phase, world.record("a").outcome) == (Phase.DONE, "accepted")


async def test_the_agent_never_deletes_all_dossiers(world: World) -> None:
    for name in ("a", "b", "c"):
        world.upload(name)
    await world.settle()
    assert world.ledger.calls["deleteAllDossiers"] == 0
    assert world.ledger.calls["deleteDossier"] == 3
