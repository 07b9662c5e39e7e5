"""The loop of a git source: when it fetches, what it records, and when it scans."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from agent.admission import Admission, AdmissionRules
from agent.admission.revision_sync import RevisionSync
from agent.admission.triggers import SyncTriggers
from agent.core.errors import AgentError, StoreError
from agent.core.record import Outcome
from agent.core.source_revision import FetchFailure, RevisionRefusal, RevisionState
from agent.platform.shutdown import Shutdown
from agent.ports import MetaKey
from agent.source.git_provenance import Provenance
from agent.source.images import ImageFolder
from agent.source.revisions.git_source import Refreshed
from tests.controller.controller_harness import ControllerHarness, desk_at
from tests.support.clock import START, patiently
from tests.support.revisions import FakeGitSource
from tests.support.stores import at_once
from verification.audits import verified
from verification.builders.request_files import capture

INTERVAL = 30.0


class ScriptClock:
    """A clock that jumps to the end of each wait, and on its way runs what a test planned. It stops the loop."""

    confirmed = True

    def __init__(self) -> None:
        self.time, self.until = START, 0.0
        self.plan: list[tuple[float, Callable[[], object]]] = []  # seconds after START, and an action

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        assert seconds is not None
        end = self.time + seconds
        while not event.is_set() and self.time < end:
            at, action = self.plan[0] if self.plan else (self.until, lambda: None)
            if START + at > end:
                self.time = end
                return
            if not self.plan:
                raise asyncio.CancelledError
            self.time = max(self.time, START + at)
            del self.plan[0]
            action()
            await asyncio.sleep(0)


class Loop:
    """The loop on a real store, with a source that a test pushes to."""

    def __init__(self, desk: ControllerHarness) -> None:
        self.desk, self.store = desk, desk.store
        self.source = FakeGitSource(desk.folder / "agent.source")
        self.clock = ScriptClock()
        self.chance = 0.5
        self.refreshed: list[tuple[Refreshed, RevisionState, float]] = []
        self.fetched_at: list[float] = []  # seconds after START, of each refresh
        self.source.during_refresh = lambda: self.fetched_at.append(round(self.clock.time - START, 2))
        self.restart()

    def restart(self) -> None:
        """Forget what the process knows."""
        rules = AdmissionRules(source="default", agent_id="tests", images=ImageFolder(self.desk.images, 10_000))
        desk, store = self.desk, self.store
        self.admission = Admission(self.source, rules, store, desk.reconciler, store.keys, desk.types, self.clock)
        self.shutdown = Shutdown()
        self.sync = RevisionSync(
            self.source,
            "default",
            INTERVAL,
            self.admission,
            SyncTriggers(self.admission, self.shutdown, self.clock),
            store,
            self.clock,
            lambda: self.chance,
            self.shutdown,
            lambda *refreshed: self.refreshed.append(refreshed),
        )

    async def run(self, seconds: float, plan: Mapping[float, Callable[[], object]] | None = None) -> None:
        """Run the loop until so many seconds after START."""
        self.clock.until, self.clock.plan = seconds, sorted((plan or {}).items())
        with contextlib.suppress(asyncio.CancelledError):
            await patiently(self.sync.run())

    @property
    def state(self) -> RevisionState:
        return at_once(self.store.revision_state("default"))

    @property
    def acted(self) -> str | None:
        return self.state.acted.commit if self.state.acted is not None else None

    async def approve(self, commit: str) -> None:
        await self.store.remember(MetaKey.REVISION_APPROVED, commit)


def files(*names: str, **more: str) -> dict[str, str]:
    return {f"{name}.yaml": capture(name) for name in names} | {f"{name}.yaml": text for name, text in more.items()}


@pytest.fixture
async def loop(folder: Path) -> AsyncIterator[Loop]:
    async with desk_at(folder) as desk:
        loop = Loop(desk)
        loop.source.push(files("a", "b"))
        await loop.sync.first_scan()
        yield loop
        assert not verified(desk.store.path).findings


# -- when it fetches -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chance", "interval"), [(0.0, 27.0), (0.5, 30.0), (1.0, 33.0)])
async def test_the_interval_varies_by_a_tenth_at_most(loop: Loop, chance: float, interval: float) -> None:
    loop.chance = chance
    await loop.run(100.0)
    assert loop.fetched_at == [0.0, interval, 2 * interval, 3 * interval]


async def test_a_hook_makes_the_agent_fetch_at_once_and_the_interval_begins_again(loop: Loop) -> None:
    await loop.run(60.0, {10.0: loop.sync.fetch_now})
    assert loop.fetched_at == [0.0, 10.0, 40.0]


async def test_many_hooks_within_a_second_cause_one_more_fetch(loop: Loop) -> None:
    await loop.run(39.0, {10.0 + number / 100: loop.sync.fetch_now for number in range(90)})
    assert loop.fetched_at == [0.0, 10.0, 11.0]


async def test_a_hook_during_a_fetch_causes_another_one(loop: Loop) -> None:
    """The push may have come after the server named its head."""

    def pushed() -> None:
        loop.fetched_at.append(loop.clock.time - START)
        if len(loop.fetched_at) == 2:
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0, loop.sync.fetch_now()), running)

    running = asyncio.get_running_loop()
    loop.source.during_refresh = pushed
    await loop.run(39.0)
    assert loop.fetched_at == [0.0, 30.0, 31.0]


# -- when it scans ---------------------------------------------------------------------------------------------------


async def test_with_nothing_new_it_fetches_and_does_not_scan(loop: Loop) -> None:
    await loop.run(100.0)
    assert (loop.source.scans, len(loop.fetched_at)) == (1, 4)
    assert loop.state.fetched_at == START + 60.0  # written once a minute


async def test_a_push_is_scanned_once_and_becomes_the_revision_that_the_agent_acts_on(loop: Loop) -> None:
    pushed = list[str]()
    await loop.run(200.0, {40.0: lambda: pushed.append(loop.source.push(files("a", "b", "c")))})
    assert (loop.source.scans, loop.acted) == (2, pushed[0])
    assert loop.desk.record("c").generation == 1
    assert [call[0] for call in loop.source.refreshes[-2:]] == pushed * 2  # the next fetch is judged by it


async def test_a_changed_document_is_confirmed_by_another_scan_and_then_no_more(loop: Loop) -> None:
    loop.source.push(files("a", b=capture("b", capture={"uiProfile": "other"})))
    await loop.run(200.0)
    assert loop.source.scans == 3
    assert loop.desk.record("b").generation == 2


async def test_a_refused_document_is_examined_at_each_interval(loop: Loop) -> None:
    """Its images, or the file of allowed signers, may change without a push."""
    loop.source.push(files("a", "b") | {"c.yaml": "a: ["})
    await loop.run(100.0)
    assert loop.source.scans == 2  # a broken file stays broken until a push
    loop.source.origins["d.yaml"] = Provenance(refusal=RevisionRefusal.UNSIGNED, file_commit="d" * 40)
    loop.source.push(files("a", "b", "d"))
    loop.source.scans = 0
    await loop.run(200.0)
    assert loop.source.scans == 3
    del loop.source.origins["d.yaml"]
    await loop.run(300.0)
    assert loop.desk.find("d") is not None
    assert loop.source.scans == 4


async def test_a_scan_that_fails_is_made_again(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, failing = FakeGitSource.scan, [True]

    def fails_once(source: FakeGitSource) -> object:
        if failing:
            failing.pop()
            raise ValueError("a bug")
        return scan(source)

    pushed = loop.source.push(files("a", "b", "c"))
    monkeypatch.setattr(FakeGitSource, "scan", fails_once)
    await loop.run(40.0)
    assert loop.acted != pushed
    await loop.run(70.0)
    assert loop.acted == pushed


# -- withdrawals -----------------------------------------------------------------------------------------------------


async def test_a_removed_file_is_withdrawn_after_the_server_confirmed_it(loop: Loop) -> None:
    loop.source.push(files("a"))
    await loop.run(39.0)
    assert loop.desk.outcomes("a", "b") == [None, None]
    await loop.run(41.0)
    assert loop.fetched_at == [0.0, 30.0, 40.0]
    assert loop.desk.outcomes("a", "b") == [None, Outcome.WITHDRAWN]
    loop.source.scans = 0
    await loop.run(200.0)
    assert loop.source.scans == 0


async def test_a_removal_that_is_reverted_within_seconds_withdraws_nothing(loop: Loop) -> None:
    loop.source.push(files("a"))
    await loop.run(100.0, {31.0: lambda: loop.source.push(files("a", "b"))})
    assert loop.desk.outcomes("a", "b") == [None, None]


async def test_too_many_removals_wait_for_an_approval_and_are_scanned_until_then(loop: Loop) -> None:
    names = [f"c-{number}" for number in range(10)]
    loop.source.push(files("a", "b", *names))
    await loop.run(40.0)
    loop.source.push(files("a", "b", *names[:2]))
    await loop.run(200.0)
    assert set(loop.desk.outcomes(*names)) == {None}
    await loop.store.remember(MetaKey.APPROVED, loop.clock.now())
    loop.sync.fetch_now()
    await loop.run(202.0)
    assert loop.desk.outcomes(*names) == [None] * 2 + [Outcome.WITHDRAWN] * 8


# -- the server fails, the revision is refused -------------------------------------------------------------------------


async def test_a_server_that_is_away_leaves_the_last_good_revision_and_its_cause(loop: Loop) -> None:
    acted = loop.acted
    loop.source.failure = FetchFailure.DNS
    await loop.run(100.0)
    state = loop.state
    assert (state.failure, state.failing_since, state.fetched_at) == (FetchFailure.DNS, START + 30.0, START)
    assert (loop.acted, loop.source.scans, loop.desk.outcomes("a", "b")) == (acted, 1, [None, None])
    loop.source.failure = None
    await loop.run(130.0)
    assert (loop.state.failure, loop.state.failing_since, loop.state.fetched_at) == (None, None, START + 120.0)


async def test_a_revision_that_does_not_descend_waits_for_an_approval_of_it_alone(loop: Loop) -> None:
    first = loop.acted
    forced = loop.source.push(files("x"), refused=RevisionRefusal.NOT_DESCENDED)
    await loop.run(100.0)
    refused = loop.state.refused
    assert refused is not None
    assert (refused.revision, refused.reason, refused.since) == (forced, RevisionRefusal.NOT_DESCENDED, START + 30.0)
    assert (loop.acted, loop.source.scans, loop.desk.find("x")) == (first, 1, None)
    await loop.approve("f" * 40)  # another one
    await loop.run(130.0)
    assert loop.acted == first
    await loop.approve(forced)
    await loop.run(160.0)
    assert (loop.acted, loop.state.refused) == (forced, None)
    assert loop.desk.find("x") is not None


async def test_an_approval_is_used_up_by_the_revision_that_it_names(loop: Loop) -> None:
    """Later, the same commit may be an old one that somebody forces back."""
    forced = loop.source.push(files("x"), refused=RevisionRefusal.NOT_DESCENDED)
    await loop.approve(forced)
    await loop.run(40.0)
    assert loop.acted == forced
    later = loop.source.push(files("x", "y"))
    await loop.run(70.0)
    assert at_once(loop.store.recall(MetaKey.REVISION_APPROVED)) is None
    loop.source.head = forced
    await loop.run(130.0)
    assert loop.acted == later
    assert loop.state.refused is not None


async def test_a_signature_that_is_missing_cannot_be_approved(loop: Loop) -> None:
    first = loop.acted
    unsigned = loop.source.push(files("x"), refused=RevisionRefusal.UNSIGNED)
    await loop.approve(unsigned)
    await loop.run(100.0)
    assert loop.acted == first


# -- documents whose last commit is not signed -------------------------------------------------------------------------


async def test_an_unsigned_document_is_refused_and_what_is_admitted_goes_on(loop: Loop) -> None:
    """[I9]"""
    unsigned = Provenance(commit="e" * 40, file_commit="e" * 40, refusal=RevisionRefusal.UNSIGNED)
    loop.source.origins = {"b.yaml": unsigned, "c.yaml": unsigned, "d.yaml": Provenance(commit="e" * 40)}
    loop.source.push(files("a", "c", "d", b=capture("b", capture={"uiProfile": "other"})))
    await loop.sync.refresh()
    synced = await loop.admission.scan()
    assert [(fault.file, "eeeeeeeeeeee has no signature" in fault.message) for fault in synced.refusals] == [
        ("b.yaml", True),
        ("c.yaml", True),
    ]
    assert (loop.desk.find("c"), loop.desk.record("d").desired.commit) == (None, "e" * 40)
    assert (loop.desk.record("b").generation, loop.desk.outcomes("a", "b")) == (1, [None, None])


async def test_a_rerun_of_an_unsigned_document_is_refused(loop: Loop) -> None:
    loop.source.origins["a.yaml"] = Provenance(commit="e" * 40, file_commit="e" * 40)
    assert (await loop.admission.find_document("a", "again")).commit == "e" * 40
    loop.source.origins["a.yaml"] = Provenance(refusal=RevisionRefusal.REVOKED_KEY, file_commit="e" * 40)
    with pytest.raises(AgentError, match="revoked key"):
        await loop.admission.find_document("a", "again")


# -- starts, ends and faults -------------------------------------------------------------------------------------------


async def test_a_start_after_a_crash_between_publication_and_scan_goes_on(loop: Loop) -> None:
    """[I1] The store has the revision before, the folder the one after."""
    pushed = loop.source.push(files("a", "b", "c"))
    before = loop.acted
    await loop.sync.refresh()
    assert (loop.source.published, loop.acted) == (pushed, before)
    loop.restart()
    loop.source.failure = FetchFailure.NETWORK
    await loop.sync.first_scan()
    assert (loop.acted, loop.desk.outcomes("a", "b", "c")) == (pushed, [None] * 3)


async def test_a_first_fetch_that_fails_acts_on_nothing_and_names_the_cause(folder: Path) -> None:
    async with desk_at(folder) as desk:
        loop = Loop(desk)
        loop.source.failure = FetchFailure.AUTHENTICATION
        await loop.sync.first_scan()
        assert (loop.acted, loop.state.failure) == (None, FetchFailure.AUTHENTICATION)
        assert [found.failure for found, _, _ in loop.refreshed] == [FetchFailure.AUTHENTICATION]
        loop.source.push(files("a"))
        loop.source.failure = None
        await loop.run(40.0)
        assert loop.acted == loop.source.head


async def test_the_source_is_not_read_while_it_is_fetched(loop: Loop) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert go_on.wait(20.0)

    loop.source.during_refresh = slow
    refreshing = asyncio.create_task(loop.sync.refresh())
    await asyncio.to_thread(begun.wait, 20.0)
    asking = asyncio.create_task(loop.admission.find_document("a", None))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (asking.done(), loop.source.scans) == (False, 1)
    go_on.set()
    await patiently(refreshing)
    await patiently(asking)
    assert loop.source.scans == 2


async def test_a_command_does_not_hang_with_the_server(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        go_on.wait(60.0)

    monkeypatch.setattr("agent.admission.sync._FETCH_PATIENCE", 0.01)
    loop.source.during_refresh = hangs
    refreshing = asyncio.create_task(loop.sync.refresh())
    await asyncio.to_thread(begun.wait, 20.0)
    with pytest.raises(AgentError, match="does not answer"):
        await loop.admission.find_document("a", None)
    assert loop.source.scans == 1
    go_on.set()
    await patiently(refreshing)
    assert (await loop.admission.find_document("a", None)).file == "a.yaml"


async def test_a_shutdown_waits_for_no_fetch_and_starts_no_scan(loop: Loop) -> None:
    begun, go_on, ended = threading.Event(), threading.Event(), list[bool]()

    def hangs() -> None:
        begun.set()
        ended.append(go_on.wait(60.0))

    loop.restart()
    loop.source.during_refresh = hangs
    starting = asyncio.create_task(loop.sync.first_scan())
    await asyncio.to_thread(begun.wait, 20.0)
    loop.shutdown.request()
    await patiently(starting)
    assert (loop.source.scans, ended) == (1, [])
    go_on.set()


async def test_a_bug_is_reported_and_the_loop_goes_on(loop: Loop) -> None:
    def fails() -> None:
        loop.fetched_at.append(loop.clock.time - START)
        raise ValueError("a bug")

    loop.source.during_refresh = fails
    await loop.run(100.0)
    assert loop.fetched_at == [0.0, 30.0, 60.0, 90.0]
    assert loop.shutdown.failure is None


async def test_a_store_that_cannot_be_written_ends_the_agent(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(type(loop.store), "record_refresh", full)
    await loop.run(40.0)
    assert isinstance(loop.shutdown.failure, StoreError)
