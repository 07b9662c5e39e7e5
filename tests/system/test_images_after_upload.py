"""IMAGES_AFTER_UPLOAD=delete: image files go once the outcome is durable and no open request needs them."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from agent.core.record import Phase
from tests.support.commands import execute_offline, refused
from tests.support.environment import World
from verification.audits import verified
from verification.builders.pictures import jpeg
from verification.builders.request_files import upload, write


@pytest.fixture(autouse=True)
def deleting(world: World) -> None:
    world.switches["images_after_upload"] = "delete"


def images(world: World) -> set[str]:
    return {str(path.relative_to(world.images)) for path in world.images.rglob("*") if path.is_file()}


async def test_by_default_images_are_kept(world: World) -> None:
    world.switches.clear()
    world.upload("a")
    await world.settle()
    assert images(world) == {"a/front.jpg"}
    assert world.rows("SELECT * FROM image_deletions") == []


async def test_images_are_deleted_after_the_outcome_and_the_history_says_so(world: World) -> None:
    world.upload("a", back=True)
    await world.settle()
    assert images(world) == set()
    record = world.record("a")
    assert (record.outcome, record.discard, record.discarded) == (
        "accepted",
        False,
        (("front", "deleted"), ("back", "deleted")),
    )
    assert world.history("a")[-1] == "ImagesDiscarded"
    assert world.rows("SELECT * FROM image_deletions") == []
    assert not verified(world.state).findings
    await world.settle()  # missing images do not matter after the outcome
    assert world.finished is not None
    assert world.finished.refused == 0
    world.check()


async def test_the_images_stay_until_the_result(world: World) -> None:
    """They may have to be sent once more."""
    world.upload("a", "sandbox-delay=10m")
    async with world.running(poll_interval=30.0) as agent:
        await world.clock.advance(120)
        await agent._erasure.erase_due()
        assert world.record("a").uploaded
        assert images(world) == {"a/front.jpg"}
        await world.clock.advance(700)
        await agent._erasure.erase_due()
        assert images(world) == set()


async def test_images_are_deleted_in_retention_because_the_outcome_is_known(world: World) -> None:
    world.upload("a", retention="30d")
    await world.settle()
    assert world.record("a").phase is Phase.DELETION
    assert images(world) == set()


@pytest.mark.parametrize("how", ["the same path", "a link", "a copy"])
async def test_an_image_that_another_open_request_needs_stays_until_that_is_done(world: World, how: str) -> None:
    world.upload("a")
    write(world.images / "b" / "front.jpg", jpeg("sandbox-delay=10m"))
    shared = {"the same path": "a/front.jpg", "a link": "link.jpg", "a copy": "copy.jpg"}[how]
    if how == "a link":
        (world.images / shared).symlink_to("a/front.jpg")
    elif how == "a copy":
        shutil.copy(world.images / "a/front.jpg", world.images / shared)
    write(world.specs / "b.yaml", upload("b", {"front": shared}, suspend=True))
    await world.settle()
    assert (world.record("a").phase, world.record("b").state) == (Phase.DONE, "suspended")
    assert "a/front.jpg" in images(world)
    assert world.rows("SELECT uid FROM image_deletions") == [(world.record("a").uid,)]
    write(world.specs / "b.yaml", upload("b", {"front": shared}))
    await world.settle()
    assert world.record("b").outcome == "accepted"
    assert "a/front.jpg" not in images(world)
    assert world.rows("SELECT uid FROM image_deletions") == []


async def test_a_file_that_is_not_what_was_admitted_or_is_reached_through_a_link_is_left(world: World) -> None:
    """Never outside of the images folder, never through a link, never somebody else's picture."""
    outside = write(world.folder / "elsewhere" / "front.jpg", jpeg("outside"))
    write(world.images / "real" / "front.jpg", jpeg("the linked one"))
    (world.images / "linked").symlink_to("real")
    (world.images / "last.jpg").symlink_to("real/front.jpg")
    for name, path in (("a", "changed.jpg"), ("b", "linked/front.jpg"), ("c", "last.jpg")):
        if name == "a":
            write(world.images / path, jpeg("as admitted"))
        write(world.specs / f"{name}.yaml", upload(name, {"front": path}))
    world.upload("d")
    async with world.running() as agent:
        await world.clock.advance(30)
        write(world.images / "changed.jpg", jpeg("another picture"))
        (world.images / "d" / "front.jpg").unlink()
        (world.images / "d").rmdir()
        (world.images / "d").symlink_to(outside.parent)
        await agent._erasure.erase_due()
        left = {name: record.discarded for name, record in world.records().items()}
    assert left == {
        "a": (("front", "changed"),),
        "b": (("front", "outside"),),
        "c": (("front", "outside"),),
        "d": (("front", "outside"),),
    }
    assert outside.exists()
    assert (world.images / "real" / "front.jpg").exists()
    assert (world.images / "changed.jpg").exists()


async def test_after_a_crash_the_deletion_of_a_file_is_recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.upload("a")
    world.upload("b")
    async with world.running() as agent:
        await world.clock.advance(30)
        Path(world.images / "a" / "front.jpg").unlink()  # as if the agent had deleted it and crashed before its commit
        await agent._erasure.erase_due()
    assert world.record("a").discarded == (("front", "missing"),)
    assert world.record("b").discarded == (("front", "deleted"),)


async def test_the_images_of_a_held_request_stay(world: World) -> None:
    world.upload("a", "sandbox-delay=5m")
    async with world.running(poll_interval=30.0) as agent:
        await world.clock.advance(20)
        path = world.specs / "a.yaml"
        write(path, path.read_text().replace("137", "138"))
        await agent.scan()
        await world.clock.advance(400)
        await agent._erasure.erase_due()
        record = world.record("a")
        assert (record.outcome, record.state) == ("accepted", "held")
        assert images(world) == {"a/front.jpg"}


async def test_an_upload_that_was_never_answered_deletes_nothing(world: World) -> None:
    world.upload("a", suspend=True)
    world.upload("b", suspend=True)  # an empty folder would wait for a person
    await world.settle()
    path = world.specs / "a.yaml"
    path.unlink()
    await world.settle()
    assert world.record("a").outcome == "withdrawn"
    assert images(world) == {"a/front.jpg", "b/front.jpg"}


# -- a folder in which nothing can be deleted ------------------------------------------------------------------------


class Refusal:
    """The system refuses to delete the front images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errno: int | None = errno.EROFS
        unlink = os.unlink

        def refusing(path: str, **more: int) -> None:
            if path == "front.jpg" and self.errno is not None:
                raise OSError(self.errno, os.strerror(self.errno))
            unlink(path, **more)

        monkeypatch.setattr("agent.source.safe_read.os.unlink", refusing)


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch) -> Refusal:
    return Refusal(monkeypatch)


async def test_a_deletion_that_the_system_refuses_is_tried_again_until_it_is_done(
    world: World, refusal: Refusal
) -> None:
    """[I6] It was recorded as done, and the passport stayed."""
    world.upload("a", back=True)
    async with world.running() as agent:
        await world.clock.advance(30)
        await agent._erasure.erase_due()
        assert images(world) == {"a/front.jpg"}
        assert (world.record("a").outcome, world.record("a").discard) == ("accepted", True)
        for _ in range(6):
            await world.clock.advance(900)
            await agent._erasure.erase_due()
        reported = [log for log in world.logs if log["event"] == "images not deleted"]
        assert [(log["log_level"], log["cause"]) for log in reported] == [("error", "EROFS")]  # once, not at each try
        with world.reading() as reading:
            assert reading.failed_image_deletions() == [("EROFS", 1)]
            assert reading.gauges(world.clock.now())["images_undeleted"] == 1
            left = reading.failed_image_deletion_of(world.record("a").uid)
        assert left is not None
        assert left.tries == 7
        assert left.due_at - world.clock.now() == 900  # the pauses grow to 15 minutes, and no further
        refusal.errno = None
        await world.clock.advance(899)
        await agent._erasure.erase_due()
        assert images(world) == {"a/front.jpg"}
        await world.clock.advance(1)
        await agent._erasure.erase_due()
    assert images(world) == set()
    assert world.record("a").discarded == (("front", "deleted"), ("back", "deleted"))
    assert world.history("a").count("ImagesDiscarded") == 1
    assert not verified(world.state).findings
    with world.reading() as reading:
        assert reading.failed_image_deletions() == []


async def test_a_restart_tries_the_deletion_at_once(world: World, refusal: Refusal) -> None:
    """[I6] Mounted read-write, then restarted: what a person would do."""
    world.upload("a")
    await world.settle()
    assert images(world) == {"a/front.jpg"}
    refusal.errno = None
    await world.settle()
    assert images(world) == set()
    assert world.record("a").discarded == (("front", "deleted"),)


async def test_an_images_folder_that_is_not_there_proves_no_deletion(world: World) -> None:
    """[I6] A volume that is not mounted for a moment."""
    world.upload("a", "sandbox-delay=5m")
    async with world.running(poll_interval=30.0) as agent:
        await world.clock.advance(60)
        world.images.rename(world.folder / "away")
        await world.clock.advance(400)
        await agent._erasure.erase_due()
        assert world.record("a").outcome == "accepted"
        assert world.record("a").discarded == ()
        (world.folder / "away").rename(world.images)
        await world.clock.advance(60)
        await agent._erasure.erase_due()
    assert images(world) == set()
    assert world.record("a").discarded == (("front", "deleted"),)


async def test_one_failed_deletion_does_not_stop_the_others(world: World, refusal: Refusal) -> None:
    """[I9]"""
    write(world.images / "ours.jpg", jpeg("b"))
    world.upload("a")
    write(world.specs / "b.yaml", upload("b", {"front": "ours.jpg"}))
    await world.settle()
    assert images(world) == {"a/front.jpg"}


async def test_a_limit_that_was_lowered_since_keeps_no_image(world: World) -> None:
    """[I6]"""
    world.upload("a", suspend=True)
    await world.settle()
    path = world.specs / "a.yaml"
    write(path, path.read_text().replace("suspend: true", "suspend: false"))
    async with world.running() as agent:
        await world.clock.advance(30)
        agent._erasure._max_bytes = 10
        await agent._erasure.erase_due()
    assert images(world) == set()


async def test_an_image_that_is_not_deleted_yet_cannot_be_forgotten(world: World, refusal: Refusal) -> None:
    """[I6] `forget` erases the paths, and without them the agent cannot delete the files."""
    world.upload("a")
    world.upload("b")
    await world.settle()
    (world.specs / "a.yaml").unlink()
    await world.settle()
    refused(await execute_offline(world, "forget", name="a"), "has not deleted the image files")
    refusal.errno = None
    await world.settle()
    assert (await execute_offline(world, "forget", name="a", command_id="command-2"))["ok"]


async def test_images_of_an_earlier_generation_are_deleted_as_well(world: World, refusal: Refusal) -> None:
    """[I6] A rerun with other pictures replaced the document, and with it the knowledge of what was to be deleted."""
    write(world.images / "old" / "front.jpg", jpeg("old"))
    write(world.images / "new.jpg", jpeg("new"))
    again = {"annotations": {"assure-agent/rerun": "again"}}
    write(world.specs / "a.yaml", upload("a", {"front": "old/front.jpg"}))
    await world.settle()
    write(world.specs / "a.yaml", upload("a", {"front": "new.jpg"}, **again))
    await world.settle()
    assert (world.record("a").generation, world.record("a").outcome) == (2, "accepted")
    assert images(world) == {"old/front.jpg"}
    with world.reading() as reading:
        assert reading.failed_image_deletions() == [("EROFS", 1)]
        assert reading.failed_image_deletion_of(world.record("a").uid) is not None
    world.upload("b", suspend=True)
    (world.specs / "a.yaml").unlink()
    await world.settle()
    refused(await execute_offline(world, "forget", name="a"), "has not deleted the image files")
    refusal.errno = None
    await world.settle()
    assert "old/front.jpg" not in images(world)
    assert world.rows("SELECT generation, depiction, path, sha256, how FROM superseded_images") == [
        (1, "front", None, None, "deleted")
    ]
    assert (await execute_offline(world, "forget", name="a", command_id="command-2"))["ok"]
    assert not verified(world.state).findings


async def test_an_image_that_the_next_generation_names_as_well_stays(world: World, refusal: Refusal) -> None:
    """[I1]"""
    world.upload("a")
    await world.settle()
    world.upload("a", annotations={"assure-agent/rerun": "again"})
    await world.settle()
    assert (world.record("a").generation, world.record("a").outcome) == (2, "accepted")
    assert world.rows("SELECT * FROM superseded_images") == []
    refusal.errno = None
    await world.settle()
    assert images(world) == set()
