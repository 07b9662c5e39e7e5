"""An agent with a git source: its start, what it says, and what an approval does. Most servers are fakes."""

import asyncio
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.core.record import Outcome
from agent.core.source_revision import FetchFailure, RevisionRefusal, RevisionState
from agent.ports import MetaKey
from agent.source.git_provenance import Provenance
from tests.daemon.test_metrics import get
from tests.support.commands import BOTH, OTHER, ask, execute_offline, refused
from tests.support.environment import World
from tests.support.git import commit, git, repository
from tests.support.revisions import FakeGitSource
from verification.builders.request_files import capture, upload, write, write_pictures

SCAN_INTERVAL = 1234.0
URL = "https://git.example/team/requests.git"


@pytest.fixture
def fake(world: World) -> FakeGitSource:
    world.git = FakeGitSource(world.folder / "state" / "agent.source")
    world.git.push({})
    world.switches |= {"source_url": URL, "source_path": "kyc"}
    return world.git


def without_repository(world: World) -> None:
    """From now on, the source is the folder."""
    world.git = None
    del world.switches["source_url"], world.switches["source_path"]


def files(*names: str) -> dict[str, str]:
    return {f"{name}.yaml": capture(name, suspend=True) for name in names}


def events(world: World, event: str) -> list[Any]:
    return [entry for entry in world.logs if entry["event"] == event]


def state(world: World) -> RevisionState:
    with world.reading() as reading:
        return reading.revision_state("default")


# -- a start ---------------------------------------------------------------------------------------------------------


async def test_the_start_is_logged_with_the_repository_and_nothing_is_watched(
    world: World, fake: FakeGitSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, timers = list[object](), list[float]()
    monkeypatch.setattr("agent.daemon.agent.watching", lambda *given: watched.append(given))
    monkeypatch.setattr("agent.daemon.scheduler.Scheduler.every", lambda _, seconds, __: timers.append(seconds))
    commit = fake.push(files("a"))
    async with world.running(watch=True, scan_interval=SCAN_INTERVAL):
        assert world.record("a").desired.file == "a.yaml"
    (started,) = events(world, "started")
    assert (started["source"], started["branch"], started["path"]) == (URL, "main", "kyc")
    assert [entry["revision"] for entry in events(world, "acts on a revision")] == [commit[:12]]
    assert watched == []
    assert timers and SCAN_INTERVAL not in timers


async def test_without_a_revision_it_is_not_ready_and_names_the_cause(world: World, fake: FakeGitSource) -> None:
    fake.failure = FetchFailure.AUTHENTICATION
    async with world.running(http=True):
        ready = await get(world, "/readyz")
        cause = "the git server does not accept the credentials"
        assert (ready.status_code, ready.text) == (503, f"no revision of the source yet: {cause}\n")
        fake.failure = None
        fake.push(files("a"), refused=RevisionRefusal.UNSIGNED)
        await world.clock.advance(40.0)
        assert "has no signature" in (await get(world, "/readyz")).text
        fake.push(files("a"))
        await world.clock.advance(40.0)
        assert (await get(world, "/readyz")).status_code == 200
        fake.failure = FetchFailure.DNS
        await world.clock.advance(40.0)
        assert (await get(world, "/readyz")).status_code == 200  # the last good revision counts


async def test_a_start_without_the_server_continues_with_the_last_good_revision(
    world: World, fake: FakeGitSource
) -> None:
    fake.push(files("a", "b"))
    async with world.running():
        pass
    fake.failure = FetchFailure.NETWORK
    scans = fake.scans
    async with world.running() as agent:
        assert fake.scans == scans + 1
        assert await agent._health.not_ready_reason() is None
        assert {record.outcome for record in world.records().values()} == {None}


async def test_a_stop_does_not_wait_for_a_fetch(world: World, fake: FakeGitSource) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), list[bool]()

    def hangs() -> None:
        begun.set()
        ended.append(go_on.wait(60.0))

    fake.push(files("a"))
    async with world.running() as agent:
        fake.during_refresh = hangs
        world.clock.skip(2.0)  # more than the shortest pause
        assert agent._revisions is not None
        agent._revisions.fetch_now()
        assert await asyncio.to_thread(begun.wait, 20.0)
    assert ended == []
    go_on.set()


# -- run --once ------------------------------------------------------------------------------------------------------


async def test_run_once_without_any_revision_ends_as_without_its_folder(world: World, fake: FakeGitSource) -> None:
    fake.failure = FetchFailure.NOT_FOUND
    finished = await world.settle()
    without_repository(world)
    world.specs.rmdir()
    assert await world.settle() == finished
    assert finished.refused == 1
    (failed,) = events(world, "a fetch failed")
    assert failed["cause"] == "not-found"
    assert failed["hint"]


async def test_run_once_fetches_once_and_proves_an_absence_with_two_scans(world: World, fake: FakeGitSource) -> None:
    fake.push(files("a", "b"))
    await world.settle()
    fake.push(files("a"))
    fake.refreshes.clear()
    finished = await world.settle()
    assert (len(fake.refreshes), finished.refused, finished.unfinished) == (1, 0, False)
    assert (world.record("a").outcome, world.record("b").outcome) == (None, Outcome.WITHDRAWN)


# -- what it says ----------------------------------------------------------------------------------------------------


async def test_each_failure_and_refusal_is_logged_once(world: World, fake: FakeGitSource) -> None:
    fake.push(files("a"))
    async with world.running():
        fake.failure = FetchFailure.DNS
        await world.clock.advance(100.0)
        fake.failure = FetchFailure.TLS
        await world.clock.advance(100.0)
        fake.failure = None
        forced = fake.push(files("b"), refused=RevisionRefusal.NOT_DESCENDED)
        await world.clock.advance(100.0)
    assert [entry["cause"] for entry in events(world, "a fetch failed")] == ["dns", "tls"]
    assert len(events(world, "the git source can be fetched again")) == 1
    (entry,) = events(world, "refused a revision")
    assert (entry["revision"], entry["commit"], entry["reason"]) == (forced[:12], forced[:12], "not-descended")
    assert "assure-agent approve" in entry["hint"]


# -- commands --------------------------------------------------------------------------------------------------------


async def forced(world: World, fake: FakeGitSource, refused: RevisionRefusal) -> tuple[str, str]:
    """A revision that is refused after another was acted on."""
    first = fake.push(files("a"))
    await world.settle()
    second = fake.push(files("a", "b"), refused=refused)
    await world.settle()
    assert state(world).refused is not None
    return first, second


@BOTH
async def test_an_approval_names_the_revision_and_the_agent_acts_on_it(
    world: World, fake: FakeGitSource, through: str
) -> None:
    first, second = await forced(world, fake, RevisionRefusal.NOT_DESCENDED)
    expected = f"the agent acts on revision {second[:12]}, which does not descend from {first[:12]}, if its signatures"
    if through == "socket":
        async with world.running():
            answer = await ask(world, "approve")
            await world.clock.advance(2.0)  # at once, not at the next interval
    else:
        answer = await execute_offline(world, "approve")
        await world.settle()
    assert expected in answer["message"]
    assert answer["message"].startswith("approved: the agent withdraws the waiting requests, if any")
    acted = state(world).acted
    assert acted is not None
    assert (acted.commit, state(world).refused) == (second, None)


@BOTH
async def test_an_approval_is_for_the_revision_that_the_operator_saw(
    world: World, fake: FakeGitSource, through: str
) -> None:
    """[I2] A force push between the question and the answer, or a branch that was restored, approves nothing."""
    first, second = await forced(world, fake, RevisionRefusal.NOT_DESCENDED)
    for number, seen in enumerate((first, "", "f" * 40)):
        if through == "socket":
            async with world.running():
                answer = await ask(world, "approve", command_id=f"command-{number}", revision=seen)
                await world.clock.advance(2.0)
        else:
            answer = await execute_offline(world, "approve", command_id=f"command-{number}", revision=seen)
            await world.settle()
        assert not answer["ok"]
        assert f"revision {second[:12]} waits now" in answer["message"]
    acted = state(world).acted
    assert acted is not None
    assert acted.commit == first
    with world.reading() as reading:
        assert reading.recall(MetaKey.REVISION_APPROVED) is None
        assert reading.recall(MetaKey.APPROVED) is None
    assert (await execute_offline(world, "approve", command_id="command-9", revision=second))["ok"]


async def test_a_folder_instead_of_the_repository_has_no_failure_and_no_refusal(
    world: World, fake: FakeGitSource
) -> None:
    """[I2] Its requests go on. The lineage is still known if the repository comes back."""
    first, _ = await forced(world, fake, RevisionRefusal.NOT_DESCENDED)
    fake.failure = FetchFailure.NETWORK
    await world.settle()
    before = state(world)
    assert before.refused is not None and before.failure is FetchFailure.NETWORK
    without_repository(world)
    write(world.specs / "a.yaml", files("a")["a.yaml"])
    await world.settle()
    after = state(world)
    assert (after.refused, after.failure, after.failing_since) == (None, None, None)
    assert after.acted is not None and after.acted.commit == first
    assert {name: record.outcome for name, record in world.records().items()} == {"a": None}


async def test_an_approval_says_that_a_signature_cannot_be_approved(world: World, fake: FakeGitSource) -> None:
    _, second = await forced(world, fake, RevisionRefusal.UNKNOWN_SIGNER)
    answer = await execute_offline(world, "approve")
    assert "a signature cannot be approved" in answer["message"]
    assert second[:12] in answer["message"]
    with world.reading() as reading:
        assert reading.recall(MetaKey.REVISION_APPROVED) is None


async def test_an_answer_to_a_hold_counts_only_in_a_signed_file(world: World, fake: FakeGitSource) -> None:
    """[I2] The answer starts a billable verification."""
    images = write_pictures(world.images, "a")

    async def pushed(refused: bool = False, **more: Any) -> None:
        refusal = RevisionRefusal.UNKNOWN_SIGNER if refused else None
        fake.origins["a.yaml"] = Provenance(commit="c" * 40, file_commit="e" * 40, refusal=refusal)
        fake.push({"a.yaml": upload("a", images, **more)})
        await world.clock.advance(34.0)

    async with world.running() as agent:
        await pushed()
        await pushed(document_id=OTHER)
        hold = world.record("a").hold
        assert hold is not None
        answer = {"assure-agent/resolve": f"retry@{hold.id}"}
        await pushed(document_id=OTHER, annotations=answer, refused=True)
        assert (world.record("a").generation, world.record("a").hold) == (1, hold)
        assert agent._telemetry.last_sync is not None
        assert ["is not allowed" in fault.message for fault in agent._telemetry.last_sync.refusals] == [True]
        await pushed(document_id=OTHER, annotations=answer)
        await world.clock.advance(34.0)
        record = world.record("a")
        assert (record.generation, record.outcome, record.desired.commit) == (2, Outcome.ACCEPTED, "c" * 40)
    assert world.starts("a") == 2


async def test_a_command_without_an_agent_reads_the_newest_revision(world: World, fake: FakeGitSource) -> None:
    fake.push(files("a"))
    await world.settle()
    fake.refreshes.clear()
    assert (await execute_offline(world, "rerun", name="a"))["ok"]
    assert len(fake.refreshes) == 1
    fake.origins["a.yaml"] = Provenance(refusal=RevisionRefusal.UNSIGNED, file_commit="e" * 40)
    refused(await execute_offline(world, "rerun", "command-2", name="a"), "eeeeeeeeeeee has no signature")
    assert (await execute_offline(world, "pause", "command-3"))["ok"]
    assert len(fake.refreshes) == 2  # a command that needs no document asks no server


# -- a real repository -----------------------------------------------------------------------------------------------


@pytest.fixture
def clone(world: World) -> Path:
    """A clone of the repository that the agent fetches."""
    clone = repository(world.folder / "server")
    world.switches |= {"source_url": f"file://{world.folder}/server/remote.git", "source_path": "kyc"}
    return clone


def push(clone: Path, *names: str) -> str:
    """Let the branch have these requests and no other."""
    shutil.rmtree(clone / "kyc", ignore_errors=True)
    for name, text in files(*names).items():
        write(clone / "kyc" / name, text)
    write(clone / "elsewhere.yaml", f"{names}")
    return commit(clone)


async def test_pushes_reverts_and_forced_pushes_of_a_real_repository(world: World, clone: Path) -> None:
    """[I1]"""
    first = push(clone, "a", "b")
    async with world.running() as agent:
        assert world.records().keys() == {"a", "b"}
        assert world.record("a").desired.commit == first
        second = push(clone, "a", "b", "c", "d", "e")
        await world.clock.advance(34.0)
        assert world.records().keys() == {"a", "b", "c", "d", "e"}
        git(clone, "revert", "--no-edit", "HEAD")
        git(clone, "push", "-q", "origin", "main")
        await world.clock.advance(68.0)
        assert [world.record(name).outcome for name in "abcde"] == [None] * 2 + [Outcome.WITHDRAWN] * 3
        reverted = git(clone, "rev-parse", "HEAD")
        git(clone, "checkout", "-q", "--orphan", "other")
        write(clone / "kyc/f.yaml", capture("f", suspend=True))
        git(clone, "add", "-A")
        git(clone, "commit", "-q", "-m", "another history")
        git(clone, "push", "-q", "--force", "origin", "other:main")
        await world.clock.advance(34.0)
        assert (actual := state(world)).acted is not None and actual.refused is not None
        assert (actual.acted.commit, actual.refused.reason) == (reverted, RevisionRefusal.NOT_DESCENDED)
        assert "f" not in world.records()
        answer = await ask(world, "approve")
        assert actual.refused.revision[:12] in answer["message"]
        await world.clock.advance(2.0)
        assert "f" in world.records()
        assert await agent._health.not_ready_reason() is None
    assert second not in repr(world.logs)  # 12 digits of each


async def test_a_start_goes_on_after_an_end_between_publication_and_scan(world: World, clone: Path) -> None:
    """[I1]"""
    first = push(clone, "a")
    async with world.running() as agent:
        second = push(clone, "a", "b")
        assert agent._revisions is not None
        await agent._revisions.refresh()
        assert (state(world).acted.commit, world.records().keys()) == (first, {"a"})  # type: ignore[union-attr]
    (world.folder / "server/remote.git").rename(world.folder / "server/gone.git")
    async with world.running():
        assert state(world).acted.commit == second  # type: ignore[union-attr]
        assert {name: record.outcome for name, record in world.records().items()} == {"a": None, "b": None}
        assert state(world).failure is FetchFailure.NOT_FOUND


async def test_an_unreachable_repository_that_was_never_fetched(world: World) -> None:
    world.switches |= {"source_url": f"file://{world.folder}/none.git"}
    finished = await world.settle()
    assert finished.refused == 1
    (failed,) = events(world, "the source cannot be read")
    assert failed["error"]
    assert [entry["cause"] for entry in events(world, "a fetch failed")] == ["not-found"]
