"""Step D, use case 2: the images as data URLs, and what Assure returns of them (contract §7)."""

import base64
from typing import Any

import pytest

from agent.core.record import HoldReason
from agent.sandbox.model import Image
from tests.support.environment import World
from tests.support.faults import rule
from verification.builders.pictures import jpeg, png
from verification.builders.request_files import IDENTITY_CARD, upload, write


def data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


async def test_the_images_arrive_as_data_urls_in_one_call(world: World) -> None:
    bodies = world.intercept("set_images")
    write(world.images / "a/front.jpg", jpeg("front"))
    write(world.images / "a/back.png", png("back"))
    write(world.images / "a/selfie.jpg", jpeg("selfie"))
    images = {"front": "a/front.jpg", "back": "a/back.png", "selfie": "a/selfie.jpg"}
    write(world.specs / "a.yaml", upload("a", images, processType="documentSelfie", document_id=IDENTITY_CARD))
    await world.settle()
    expected = {
        "front": data_url("jpeg", jpeg("front")),
        "back": data_url("png", png("back")),
        "selfie": data_url("jpeg", jpeg("selfie")),
    }
    assert bodies == [expected]
    assert world.record("a").outcome == "accepted"


async def test_the_content_of_an_image_decides_its_type_and_not_its_name(world: World) -> None:
    bodies = world.intercept("set_images")
    write(world.images / "front.jpg", png())
    write(world.specs / "a.yaml", upload("a", {"front": "front.jpg"}))
    await world.settle()
    assert bodies == [{"front": data_url("png", png())}]


async def test_each_image_is_read_back_and_compared_before_the_start(world: World) -> None:
    world.upload("a", read_back=True, back=True, document_id=IDENTITY_CARD)
    await world.settle()
    assert world.ledger.calls["getImages"] == 2
    last_read = max(n for n, call in enumerate(world.calls) if call == "getImages")
    assert world.calls.index("setImages") < last_read < world.calls.index("startVerification")
    assert "ImagesCompared" in world.history("a")
    assert world.record("a").outcome == "accepted"
    world.check()  # a portrait that was asked for would be a violation


async def test_no_image_is_read_back_unless_the_request_says_so(world: World) -> None:
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["getImages"] == 0


async def test_an_image_that_comes_back_as_another_is_held_and_nothing_is_started(world: World) -> None:
    """[I2]"""
    sandbox = world.sandbox.world
    original = sandbox.set_images

    def altered(dossier_id: str, process_id: str, body: dict[str, Any]) -> None:
        original(dossier_id, process_id, body)
        sandbox.processes[process_id].images["selfie"] = Image.of(jpeg("somebody else"), "image/jpeg")

    sandbox.set_images = altered  # type: ignore[method-assign]
    world.upload("a", read_back=True, processType="documentSelfie")
    await world.settle()
    hold = world.record("a").hold
    assert hold is not None
    assert (hold.reason, hold.evidence) == (HoldReason.IMAGES_DIFFER, "selfie")
    assert world.starts("a") == 0
    assert "startVerification" not in world.calls
    world.check()


async def test_an_image_that_changes_after_its_admission_is_not_sent(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    await world.clock.advance(61)  # images that were checked a moment ago are not checked again
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    await world.settle()
    hold = world.record("a").hold
    assert hold is not None
    assert (hold.reason, hold.evidence) == (HoldReason.IMAGES_CHANGED, "front changed")
    assert world.ledger.dossiers == {}
    assert "setImages" not in world.calls


async def test_restoring_the_admitted_image_ends_the_hold(world: World) -> None:
    """[I1]"""
    path = world.upload("a", suspend=True)
    await world.settle()
    write(world.images / "a/front.jpg", jpeg("another picture"))
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    async with world.running():
        assert world.record("a").state == "held"
        write(world.images / "a/front.jpg", jpeg())
        await world.clock.advance(60)
        assert world.record("a").outcome == "accepted"
    world.check()


async def test_after_the_upload_the_images_are_not_needed(world: World) -> None:
    world.upload("a")
    async with world.running() as agent:
        assert world.record("a").uploaded
        (world.images / "a/front.jpg").unlink()
        await agent.scan()
        world.clock.release()
        await world.clock.advance(30)
        assert world.record("a").outcome == "accepted"
    world.check()


@pytest.mark.parametrize("kind", ["reset-before", "reset-after", "503", "429"])
async def test_a_failing_upload_is_repeated_while_the_process_is_pending(world: World, kind: str) -> None:
    """[I2]"""
    world.sandbox.faults.add([rule("setImages", kind, nth=1, count=2)])
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["setImages"] == 3
    assert world.starts("a") == 1
    assert world.record("a").outcome == "accepted"
    world.check()


async def test_a_success_reported_by_another_server_is_not_an_upload(world: World) -> None:
    """[I1] [I2] `201 {"ok":true}`, and nothing was stored."""
    world.sandbox.faults.add([rule("setImages", "foreign", status=201, acts=False)])
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["setImages"] == 2
    assert world.ledger.calls["startVerification"] == 1
    assert world.record("a").outcome == "accepted"
    world.check()


async def test_uploads_that_another_server_answers_are_held_and_nothing_is_started(world: World) -> None:
    """[I1] [I2]"""
    world.sandbox.faults.add([rule("setImages", "foreign", status=201, acts=False, every=1)])
    world.upload("a")
    async with world.running():
        await world.clock.advance(600)
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.UNEXPECTED_ANSWER
        assert hold.evidence.startswith("upload_images 201 foreign-body ")
        assert world.ledger.calls["setImages"] == 4
        assert world.starts("a") == 0
