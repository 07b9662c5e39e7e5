"""Step C, use case 2: one process with provider, processType and documentId (contract §6)."""

import pytest

from agent.core.record import HoldReason, Phase
from tests.support.environment import World
from tests.support.faults import rule
from verification.builders.request_files import IDENTITY_CARD, PASSPORT


@pytest.mark.parametrize("process_type", ["document", "documentSelfie"])
async def test_the_process_is_created_with_provider_process_type_and_document_id_alone(
    world: World, process_type: str
) -> None:
    bodies = world.intercept("create_process")
    selfie = {"processType": process_type} if process_type == "documentSelfie" else {}
    world.upload("customer-1", **selfie)
    await world.settle()
    assert bodies == [{"provider": "signicatpictureid", "processType": process_type, "documentId": PASSPORT}]
    assert world.record("customer-1").document_pages == 1
    assert world.record("customer-1").outcome == "accepted"
    world.check()


async def test_a_document_of_two_pages_without_its_back_is_held_before_anything_is_billed(world: World) -> None:
    world.upload("customer-1", document_id=IDENTITY_CARD)
    await world.settle()
    record = world.record("customer-1")
    assert record.hold is not None
    assert record.hold.reason is HoldReason.BACK_IMAGE_REQUIRED
    assert (record.document_pages, record.billed, record.phase) == (2, False, Phase.IMAGES)
    assert world.starts("customer-1") == 0
    assert "setImages" not in world.calls
    assert "startVerification" not in world.calls
    assert world.history("customer-1")[-1] == "ProcessCreated"
    world.check()


async def test_adding_the_back_image_starts_again_and_leaves_no_dossier_behind(world: World) -> None:
    """[I3]"""
    world.upload("customer-1", document_id=IDENTITY_CARD)
    await world.settle()
    world.upload("customer-1", document_id=IDENTITY_CARD, back=True)
    await world.settle()
    record = world.record("customer-1")
    assert (record.outcome, record.generation, record.hold) == ("accepted", 2, None)
    assert world.starts("customer-1") == 1
    world.check()
    world.check_nothing_left()


async def test_a_held_request_keeps_its_privacy_clock(world: World) -> None:
    """Undecided until the deadline: the dossier is deleted all the same."""
    world.upload("customer-1", document_id=IDENTITY_CARD, deadline="1h")
    async with world.running():
        assert world.record("customer-1").state == "held"
        assert len(world.sandbox.world.dossiers) == 1
        await world.clock.advance(3_700)
        assert world.record("customer-1").outcome == "expired"
    assert world.starts("customer-1") == 0
    world.check()
    world.check_nothing_left()


async def test_a_document_id_that_assure_does_not_know_is_held_with_its_evidence(world: World) -> None:
    world.upload("customer-1", document_id=4)
    await world.settle()
    hold = world.record("customer-1").hold
    assert hold is not None
    words = "base:client-problem; Bad Request"
    assert (hold.reason, hold.evidence) == (HoldReason.REFUSED, f"create_process 400 {words}")
    assert world.starts("customer-1") == 0
    (attempt,) = world.rows("SELECT result, status, words, shape FROM attempts WHERE effect = 'create_process'")
    assert attempt[:3] == ("refused", 400, words)
    assert "title:string" in attempt[3]
    world.check()


async def test_an_error_of_the_gateway_is_held_with_its_code(world: World) -> None:
    world.sandbox.faults.add([rule("createProcess", "gateway", status=400)])
    world.upload("customer-1")
    await world.settle()
    hold = world.record("customer-1").hold
    assert hold is not None
    assert hold.evidence == "create_process 400 Invalid request parameter; invalid_request_parameter"


@pytest.mark.parametrize("back", [True, False])
async def test_a_lost_answer_to_the_creation_starts_one_process_only(world: World, back: bool) -> None:
    """[I2]"""
    world.sandbox.faults.add([rule("createProcess", "reset-after")])
    world.upload("customer-1", back=back)
    await world.settle()
    assert world.record("customer-1").outcome == "accepted"
    assert world.starts("customer-1") == 1
    world.check()
    world.check_nothing_left()
