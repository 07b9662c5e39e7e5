"""Step F, both use cases: every status of the contract, kept as names and booleans only (contract §9)."""

import pytest

from agent.core.assure_types import Status, StatusReason
from agent.core.record import Phase
from agent.sandbox import CANARIES
from tests.support.environment import World
from tests.support.fixtures import Begin

FREE_TEXT = (b"Holder:", b"Security check", b"ERROR: signicat", b"Failed by request", b"black & white")
CHECKS = ("dataIntegrity", "nonExpired", "notBlackAndWhite", "notTamperedDocument", "notUnderage")


@pytest.mark.parametrize("process_type", ["document", "documentSelfie"])
@pytest.mark.parametrize("outcome", ["accepted", "rejected", "inconclusive", "failed"])
async def test_a_final_status_of_an_upload_is_the_outcome(world: World, outcome: str, process_type: str) -> None:
    selfie = {"processType": process_type} if process_type == "documentSelfie" else {}
    world.upload("a", f"sandbox-outcome={outcome}", **selfie)
    await world.settle()
    record = world.record("a")
    assert (record.outcome, record.phase) == (outcome, Phase.DONE)
    assert world.dossiers("a")[0].result_read
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "inconclusive", "failed", "canceled"])
async def test_a_final_status_of_a_capture_is_the_outcome(world: World, outcome: str) -> None:
    world.capture("a", capture={"uiProfile": f"sandbox-outcome-{outcome}"})
    await world.settle()
    assert world.record("a").outcome == outcome
    world.check()
    world.check_nothing_left()


@pytest.mark.parametrize("status", [status for status in Status if not status.final])
async def test_the_agent_polls_until_the_status_is_final(world: World, status: Status) -> None:
    """[I8] No worker waits with it: the request is a row with a time."""
    if status is Status.PROCESSING:
        world.upload("a", "sandbox-delay=20m")
    else:
        world.capture("a", capture={"uiProfile": "sandbox-outcome-abandoned"})
    async with world.running() as agent:
        await world.clock.advance(600)
        record = world.record("a")
        assert (record.phase, record.state, record.outcome) == (Phase.RESULT, "waiting", None)
        assert agent.reconciler.idle
        assert world.calls.count("getAllProcess") == 600 / 5  # one list per interval
        (process,) = world.dossiers("a")[0].processes
        assert not process.reads
        assert "getDossier" not in world.calls
        assert record.due_at is not None
        assert record.due_at <= record.phase_at + 900  # and by itself every 15 minutes
        await world.clock.advance(301)
        read_pool = len(process.reads) + world.calls.count("getDossier")
        assert read_pool == 1
        assert world.sandbox.world.processes[process.process_id].status(world.clock.now()) == status


async def test_no_final_status_before_the_deadline_is_expired_after_one_more_read(world: World) -> None:
    world.upload("a", "sandbox-delay=20m", deadline="1m")
    async with world.running(poll_interval=45.0):
        await world.clock.advance(95)
        record = world.record("a")
        assert (record.outcome, record.phase) == ("expired", Phase.DONE)
        assert record.opened_at is not None
        (process,) = world.dossiers("a")[0].processes
        assert process.reads[-1] >= record.opened_at + 60
    world.check()
    world.check_nothing_left()


async def test_a_result_that_the_late_read_finds_counts(world: World) -> None:
    world.upload("a", "sandbox-delay=58s", deadline="1m")
    async with world.running(poll_interval=45.0):
        await world.clock.advance(95)
        assert world.record("a").outcome == "accepted"


@pytest.mark.parametrize("capture", [False, True])
async def test_a_result_from_a_time_without_an_agent_is_read_long_after_the_deadline(
    world: World, capture: bool
) -> None:
    """It was billed: no dossier is deleted before its result was read."""
    world.sandbox.world.config = world.sandbox.config
    if capture:
        world.capture("a", deadline="1h")
    else:
        world.upload("a", "sandbox-delay=10m", deadline="1h")
    async with world.running():
        await world.clock.advance(1)
        assert world.record("a").phase is Phase.RESULT
    await world.clock.advance(3 * 86400)
    async with world.running():
        await world.clock.advance(30)
        assert world.record("a").outcome == "accepted"
    world.check_nothing_left()


async def test_reasons_are_kept_as_names_and_checks_as_booleans(world: World) -> None:
    world.upload("a", "sandbox-outcome=inconclusive")
    world.upload("b", "sandbox-outcome=rejected")
    await world.settle()
    inconclusive, rejected = world.record("a").result, world.record("b").result
    assert inconclusive is not None
    assert rejected is not None
    assert inconclusive.reasons == (
        StatusReason(type="Document", category="SecurityCheckFailed", sub_category="NonExpired"),
    )
    assert inconclusive.checks == tuple((name, name != "nonExpired") for name in CHECKS)
    assert rejected.reasons == (StatusReason(type="Document", category="Security", sub_category="NotUnderage"),)
    assert dict(rejected.checks) == {
        "notTamperedDocument": True,
        "notBlackAndWhite": True,
        "dataIntegrity": False,
    }


async def test_the_reason_of_a_failure_and_the_similarity_are_kept_as_names(world: World) -> None:
    world.upload("a", "sandbox-outcome=failed")
    world.upload("b", processType="documentSelfie")
    await world.settle()
    failed, accepted = world.record("a").result, world.record("b").result
    assert failed is not None
    assert accepted is not None
    assert (failed.fail_type, failed.similarity) == ("upload_failed", None)
    assert (accepted.fail_type, accepted.similarity) == (None, "high")


async def test_nothing_personal_and_no_free_text_is_in_the_state_or_in_the_logs(world: World) -> None:
    """[I6] The sandbox puts the name of somebody who does not exist into every place that may hold one."""
    for outcome in ("accepted", "rejected", "inconclusive", "failed"):
        world.upload(f"upload-{outcome}", f"sandbox-outcome={outcome}", processType="documentSelfie")
        world.capture(f"capture-{outcome}", capture={"uiProfile": f"sandbox-outcome-{outcome}"})
    async with world.running():
        await world.clock.advance(60)
        running = world.state_bytes()  # the write-ahead log included
    closed = world.state_bytes()
    assert {record.outcome for record in world.records().values()} == {
        "accepted",
        "rejected",
        "inconclusive",
        "failed",
    }
    forbidden = [canary.encode() for canary in CANARIES] + list(FREE_TEXT)
    assert [text for text in forbidden if text in running or text in closed] == []
    reported = repr(world.logs)
    assert [text for text in forbidden if text.decode() in reported] == []
    assert [name for name in world.records() if name in reported] == []


async def test_the_result_is_on_disk_before_the_dossier_is_deleted(world: World) -> None:
    """[I4] Outcome and delete intent share one commit."""
    seen = []
    original = world.sandbox.world.delete_dossier

    def delete(dossier_id: str) -> None:
        seen.extend(world.rows("SELECT outcome FROM requests"))
        seen.extend(world.rows("SELECT effect FROM attempts WHERE answered_at IS NULL"))
        original(dossier_id)

    world.sandbox.world.delete_dossier = delete  # type: ignore[method-assign]
    world.upload("a")
    await world.settle()
    assert seen == [("accepted",), ("delete_dossier",)]


async def test_a_dossier_that_vanished_is_lost_only_after_several_confirmations(world: World) -> None:
    """The result is in no list; the fallback poll of the request finds it."""
    world.upload("a", "sandbox-delay=60m")
    async with world.running():
        await world.clock.advance(10)
        world.sandbox.world.dossiers.clear()  # gone without a trace
        await world.clock.advance(910)
        assert world.record("a").missing > 0
        assert world.record("a").outcome is None
        await world.clock.advance(120)
        assert world.record("a").outcome == "lost"
        assert world.record("a").missing_since is None
    world.check()


async def test_a_long_run_costs_a_list_per_interval_and_a_read_when_it_is_sighted(begin: Begin) -> None:
    """[I8] One list per POLL_INTERVAL, a fallback poll every 15 minutes, and never two reads within a second."""
    world = await begin()
    world.upload("a", "sandbox-delay=100m", deadline="3h")
    async with world.running(poll_interval=60.0):
        await world.clock.advance(5_900)
        row = world.ledger.report()["dossiers"][0]["processes"][0]
        assert row["reads"] == 5_900 // 900
        await world.clock.advance(1_100)
        record = world.record("a")
        assert record.outcome == "accepted"
        assert record.outcome_at is not None
        assert record.outcome_at <= world.dossiers("a")[0].created_at + 6_000 + 60 + 2
    row = world.ledger.report()["dossiers"][0]["processes"][0]
    assert row["reads"] == 5_900 // 900 + 1
    assert row["minReadGap"] >= 1
    assert world.calls.count("getAllProcess") <= 6_000 / 60 + 1  # nothing is listed once nothing waits


@pytest.mark.parametrize("delay", ["0.1s", "0.9s", "1.5s", "4.9s"])
async def test_no_process_is_read_more_often_than_once_a_second(world: World, delay: str) -> None:
    world.upload("a", f"sandbox-delay={delay}", read_back=True)
    async with world.running(poll_interval=1.0):
        await world.clock.advance(30)
        assert world.record("a").outcome == "accepted"
    row = world.ledger.report()["dossiers"][0]["processes"][0]
    assert row["reads"] == 2  # after the images were read back, before the start, and when it is sighted
    assert row["minReadGap"] >= 1
