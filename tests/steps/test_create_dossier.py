"""Step A, both use cases: one dossier per request, under our external reference (contract §4)."""

import re

import pytest

from tests.support.environment import World
from tests.support.faults import rule
from tests.support.fixtures import Begin


async def test_a_dossier_is_created_with_its_external_reference_and_nothing_else(world: World) -> None:
    bodies = world.intercept("create_dossier")
    world.upload("customer-4711", labels={"team": "onboarding"})
    await world.settle()
    record = world.record("customer-4711")
    assert bodies == [{"externalReference": f"aa-tests-{record.uid}-1-1"}]
    assert [entry.reference for entry in world.dossiers("customer-4711")] == [record.reference]
    assert record.dossier_id == world.dossiers("customer-4711")[0].dossier_id


async def test_the_external_reference_holds_nothing_personal(world: World) -> None:
    """[I6]"""
    world.upload("jane.doe")
    await world.settle()
    reference = world.dossiers("jane.doe")[0].reference or ""
    assert re.fullmatch(r"aa-tests-[0-9a-f]{24}-1-1", reference)


async def test_every_request_has_a_dossier_of_its_own(world: World) -> None:
    """[I1] [I3]"""
    names = [f"customer-{number}" for number in range(12)]
    for name in names:
        world.upload(name) if name < "customer-5" else world.capture(name)
    await world.settle()
    assert [len(world.dossiers(name)) for name in names] == [1] * 12
    assert len(world.ledger.dossiers) == 12
    world.check()
    world.check_nothing_left()


async def test_a_lost_answer_to_the_creation_makes_no_second_dossier(world: World) -> None:
    """[I2] [I3]"""
    world.sandbox.faults.add([rule("createDossier", "reset-after")])
    world.upload("customer-1")
    await world.settle()
    assert len(world.dossiers("customer-1")) == 1
    assert world.starts("customer-1") == 1
    assert world.rows("SELECT effect, result, trouble FROM attempts ORDER BY number LIMIT 1") == [
        ("create_dossier", "unknown", "reset")
    ]
    world.check()
    world.check_nothing_left()


async def test_a_finished_request_is_not_started_again_from_the_same_store(world: World) -> None:
    """[I2] Declarative: what is done stays done."""
    world.upload("customer-1")
    await world.settle()
    calls = list(world.calls)
    await world.settle()
    assert world.calls[len(calls) :] == ["token", "getDossiers", "getAllProcess"]  # is the store what it was?
    assert world.history("customer-1").count("Admitted") == 1


@pytest.mark.parametrize("order", ["newest-first", "oldest-first"])
async def test_an_unknown_creation_is_found_in_either_order_of_the_list(begin: Begin, order: str) -> None:
    """[I3]"""
    world = await begin(dossier_order=order)
    world.sandbox.faults.add([rule("createDossier", "reset-after", count=2, nth=1)])
    for name in ("customer-1", "customer-2", "customer-3"):
        world.upload(name)
    await world.settle()
    assert len(world.ledger.dossiers) == 3
    world.check()
    world.check_nothing_left()
