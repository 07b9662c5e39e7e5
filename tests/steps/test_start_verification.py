"""Step E, use case 2: the billable act, exactly once (contract §8)."""

from typing import Any

import pytest

from agent.core.record import HoldReason, Phase
from tests.support.environment import World
from tests.support.faults import rule


async def test_the_upload_shows_that_it_is_pending_and_it_is_started_once_with_no_body(world: World) -> None:
    """[I2] No image is taken after a start (contract §7), so that nothing has to be read in between."""
    bodies = world.intercept("start_verification")
    world.upload("a")
    await world.settle()
    start = world.calls.index("startVerification")
    assert world.calls[start - 2 : start] == ["createProcess", "setImages"]
    assert bodies == [{}]
    assert world.starts("a") == 1
    assert world.history("a")[4:6] == ["ImagesUploaded", "VerificationStarted"]


async def test_after_an_unknown_create_all_of_the_dossier_is_read_before_the_start(world: World) -> None:
    """[I2] Another process may have been created in it, and started."""
    world.sandbox.faults.add([rule("createProcess", "reset-after")])
    world.upload("a")
    await world.settle()
    start = world.calls.index("startVerification")
    assert world.calls[start - 2 : start] == ["setImages", "getDossier"]
    assert world.starts("a") == 1


async def test_a_request_that_was_read_back_is_read_once_more_before_the_start(world: World) -> None:
    """[I2] Time has passed since the upload."""
    world.upload("a", read_back=True)
    await world.settle()
    start = world.calls.index("startVerification")
    assert world.calls[start - 2 : start] == ["getImages", "getProcess"]
    assert world.starts("a") == 1


async def test_the_intent_is_on_disk_before_the_start_is_sent(world: World) -> None:
    """[I4]"""
    seen: list[tuple[str, int]] = []
    original = world.sandbox.world.start_verification

    def start(*arguments: object) -> object:
        seen.append((*world.rows("SELECT effect FROM attempts WHERE answered_at IS NULL")[0], world.starts("a")))
        return original(*arguments)  # type: ignore[arg-type]

    world.sandbox.world.start_verification = start  # type: ignore[method-assign,assignment]
    world.upload("a")
    await world.settle()
    assert seen == [("start_verification", 0)]


async def test_a_process_that_failed_meanwhile_is_not_started(world: World) -> None:
    """[I2]"""
    sandbox = world.sandbox.world
    original = sandbox.set_images

    def failed(dossier_id: str, process_id: str, body: dict[str, object]) -> None:
        original(dossier_id, process_id, body)
        sandbox.set_failed(dossier_id, process_id)

    sandbox.set_images = failed  # type: ignore[method-assign]
    world.upload("a", read_back=True)
    await world.settle()
    record = world.record("a")
    assert record.outcome == "failed"
    assert record.result is not None
    assert record.result.fail_type == "Process.Failed"
    assert world.starts("a") == 0
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("acts", [True, False])
@pytest.mark.parametrize("kind", ["500", "502", "503", "504", "truncated", "foreign", "html"])
async def test_an_answer_that_proves_nothing_leads_to_one_start_all_the_same(
    world: World, kind: str, acts: bool
) -> None:
    """[I2] The process is read; twice pending, far enough apart, before the start is asked for again."""
    world.sandbox.faults.add([rule("startVerification", kind, acts=acts)])
    world.upload("a")
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert world.starts("a") == 1
    assert world.ledger.calls["startVerification"] == (1 if acts else 2)
    world.check()
    world.check_nothing_left()


async def test_a_lost_start_is_not_repeated_before_two_pending_reads_far_apart(world: World) -> None:
    """[I2] 2 x REQUEST_TIMEOUT, here 10 s."""
    world.sandbox.faults.add([rule("startVerification", "reset-before")])
    world.upload("a")
    await world.settle()
    first, second = [row[0] for row in world.rows(STARTS)]
    assert second - first >= 10
    (process,) = world.dossiers("a")[0].processes
    between = [read for read in process.reads if first < read <= second]
    assert between[-1] - between[0] >= 10
    assert world.starts("a") == 1


STARTS = "SELECT intended_at FROM attempts WHERE effect = 'start_verification' ORDER BY number"


async def test_a_start_that_assure_refuses_to_repeat_counts_as_started(world: World) -> None:
    """[I2] The last fence: `Verification already started.` A lagging read hid the first start."""
    original = world.sandbox.world.get_process
    world.sandbox.faults.add([rule("startVerification", "reset-after")])

    def stale(*arguments: object) -> dict[str, object]:
        body: dict[str, object] = original(*arguments)  # type: ignore[arg-type]
        if world.ledger.calls["startVerification"] < 2:
            body = {key: body[key] for key in ("processId", "provider", "processType", "createdAt", "updatedAt")}
            body["status"] = "pending"
        return body

    world.sandbox.world.get_process = stale  # type: ignore[method-assign,assignment]
    world.upload("a")
    await world.settle()
    assert world.ledger.calls["startVerification"] == 2
    assert world.record("a").outcome == "accepted"
    assert world.rows("SELECT count(*) FROM starts") == [(1,)]
    assert [violation["kind"] for violation in world.ledger.violations] == ["start-while-not-pending"]


@pytest.mark.parametrize("retry_after", ["seconds", "http-date", "none"])
async def test_after_too_many_requests_the_agent_waits_as_long_as_assure_says(world: World, retry_after: str) -> None:
    seconds = 40.0
    world.sandbox.faults.add([rule("startVerification", "429", seconds=seconds, retry_after=retry_after)])
    world.upload("a")
    await world.settle()
    first, second = [row[0] for row in world.rows(STARTS)]
    assert second - first >= (seconds - 1 if retry_after != "none" else 0)
    assert world.starts("a") == 1
    world.check()


def forgetful(world: World, times: int) -> None:
    """Assure takes the images so many times and keeps none of them."""
    original = world.sandbox.world.set_images

    def forgets(dossier_id: str, process_id: str, body: Any) -> None:
        original(dossier_id, process_id, body)
        if world.ledger.calls["setImages"] <= times:
            world.sandbox.world.dossier_and_process(dossier_id, process_id)[1].images.clear()

    world.sandbox.world.set_images = forgets  # type: ignore[method-assign]


async def test_a_start_that_is_refused_has_the_images_sent_once_more(world: World) -> None:
    """[I1] [I2] `Images are missing`: they may be sent again until the start (contract §7)."""
    forgetful(world, 1)
    world.upload("a")
    await world.settle()
    assert world.record("a").outcome == "accepted"
    assert world.starts("a") == 1
    assert world.ledger.calls["setImages"] == world.ledger.calls["startVerification"] == 2
    world.check()
    world.check_nothing_left()


async def test_a_start_that_is_refused_again_is_held(world: World) -> None:
    """[I1] [I2] Not asked again until it is answered."""
    forgetful(world, 2)
    world.upload("a")
    async with world.running():
        await world.clock.advance(3600)
        hold = world.record("a").hold
        assert hold is not None
        assert hold.reason is HoldReason.REFUSED
        assert hold.evidence.startswith("start_verification 400 error-body ")
        assert world.ledger.calls["setImages"] == world.ledger.calls["startVerification"] == 2
        assert world.starts("a") == 0


async def test_a_suspended_request_starts_nothing_until_it_is_resumed(world: World) -> None:
    path = world.upload("a", suspend=True)
    await world.settle()
    assert world.record("a").state == "suspended"
    assert world.ledger.dossiers == {}
    path.write_text(path.read_text().replace("suspend: true", "suspend: false"))
    await world.settle()
    assert world.record("a").phase is Phase.DONE
    assert world.record("a").generation == 1
    assert world.starts("a") == 1
