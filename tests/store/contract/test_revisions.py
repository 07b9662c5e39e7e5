"""The state of a git source in the store: what is acted on, what is refused, and what is written at all."""

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agent.core.errors import StoreError
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal, RevisionState
from agent.store.contract import Store
from agent.store.revisions import after_refresh
from tests.store.engines import Engine
from verification.builders.records import NOW

A, B, C = "a" * 40, "b" * 40, "c" * 64
SIGNER = "alice@example.com SHA256:abc"


def acted(commit: str, signer: str | None = SIGNER) -> Revision:
    return Revision(commit=commit, committed_at=NOW - 100, signer=signer)


def refused(
    revision: str, since: float, reason: RevisionRefusal = RevisionRefusal.NOT_DESCENDED, commit: str = ""
) -> RefusedRevision:
    return RefusedRevision(revision=revision, reason=reason, commit=commit or revision, since=since)


async def scanned(store: Store, at: float, revision: Revision | None) -> None:
    await store.record_scan("default", at, 3, True, 0, None, revision=revision)


async def test_a_source_that_never_was_git_has_an_empty_state(engine: Engine) -> None:
    store = await engine.open()
    await scanned(store, NOW, None)
    assert await store.revision_state("default") == RevisionState()
    await store.aclose()


async def test_the_revision_of_a_scan_is_stored_with_the_scan_and_survives_a_restart(engine: Engine) -> None:
    """[I4] A failing transaction leaves both as they were."""
    store = await engine.open()
    await scanned(store, NOW, acted(A))
    with pytest.raises(StoreError):
        await store.record_scan("default", NOW + 9, None, True, 0, None, revision=acted(B))  # type: ignore[arg-type]
    await store.aclose()
    store = await engine.open()
    assert await store.revision_state("default") == RevisionState(acted=acted(A), acted_at=NOW)
    with engine.reading() as reading:
        assert reading.revision_state("default") == await store.revision_state("default")
        assert reading.revision_state("other") == RevisionState()
    await store.aclose()


async def test_a_revision_is_acted_on_since_its_first_scan(engine: Engine) -> None:
    store = await engine.open()
    await scanned(store, NOW, acted(A, None))
    await scanned(store, NOW + 30, acted(A))
    assert await store.revision_state("default") == RevisionState(acted=acted(A), acted_at=NOW)
    await scanned(store, NOW + 60, acted(B))
    assert await store.revision_state("default") == RevisionState(acted=acted(B), acted_at=NOW + 60)
    await scanned(store, NOW + 90, None)  # an incomplete scan, or a folder
    assert (await store.revision_state("default")).acted == acted(B)
    await store.aclose()


async def test_a_refused_revision_is_cleared_once_it_is_acted_on(engine: Engine) -> None:
    store = await engine.open()
    await scanned(store, NOW, acted(A))
    await store.record_refresh("default", NOW + 1, True, refused(B, NOW + 1), None)
    await scanned(store, NOW + 2, acted(A))  # nothing of it is cleared by a scan of another revision
    assert (await store.revision_state("default")).refused == refused(B, NOW + 1)
    await scanned(store, NOW + 3, acted(B))
    state = await store.revision_state("default")
    await store.aclose()
    assert (state.acted, state.refused, state.fetched_at) == (acted(B), None, NOW + 1)


async def test_the_same_refusal_and_the_same_failure_keep_their_beginning(engine: Engine) -> None:
    store = await engine.open()
    for at in (1, 2, 3):
        await store.record_refresh("default", NOW + at, True, refused(B, NOW + at), None)
    assert (await store.revision_state("default")).refused == refused(B, NOW + 1)
    unsigned = [
        refused(head, NOW + at, RevisionRefusal.UNSIGNED, A) for at, head in ((4, B), (5, C))
    ]  # a newer head, and the same unsigned commit below it
    for one in unsigned:
        await store.record_refresh("default", one.since, True, one, None)
    assert (await store.revision_state("default")).refused == refused(C, NOW + 4, RevisionRefusal.UNSIGNED, A)
    for at, failure in ((6, FetchFailure.DNS), (7, FetchFailure.DNS), (8, FetchFailure.TIMEOUT)):
        await store.record_refresh("default", NOW + at, False, None, failure)
        state = await store.revision_state("default")
        assert (state.failure, state.failing_since) == (failure, NOW + (6 if failure is FetchFailure.DNS else 8))
        assert state.refused == refused(C, NOW + 4, RevisionRefusal.UNSIGNED, A)  # nobody said that it is fine now
        assert state.fetched_at == NOW + 5
    await store.record_refresh("default", NOW + 9, True, None, None)
    assert await store.revision_state("default") == RevisionState(fetched_at=NOW + 9)
    await store.aclose()


async def test_a_refresh_with_nothing_new_commits_once_a_minute(engine: Engine) -> None:
    commits: list[int] = []
    store = await engine.open(observe=lambda _, pieces: commits.append(pieces))
    commits.clear()  # of the opening
    for second in range(0, 601, 10):
        await store.record_refresh("default", NOW + second, True, refused(B, NOW + second), None)
    assert len(commits) == 11
    assert (await store.revision_state("default")).fetched_at == NOW + 600
    for second in range(610, 1210, 10):  # away: one commit for its beginning
        await store.record_refresh("default", NOW + second, False, None, FetchFailure.NETWORK)
    assert len(commits) == 12
    await store.record_refresh("default", NOW + 5, True, None, None)  # a clock that was set back
    await store.record_refresh("default", NOW + 6, True, None, None)
    assert len(commits) == 13
    assert (await store.revision_state("default")).fetched_at == NOW + 5
    await store.aclose()


@pytest.mark.parametrize("column", ["refused_reason", "failure"])
async def test_an_unknown_code_is_an_error_of_the_store(engine: Engine, column: str) -> None:
    store = await engine.open()
    await store.record_refresh("default", NOW, True, refused(B, NOW), FetchFailure.DNS)
    await store.aclose()
    await engine.change(f"UPDATE source_revisions SET {column} = 'x'")
    with engine.reading() as reading, pytest.raises(StoreError, match="git source"):
        reading.revision_state("default")


class Refreshes(RuleBasedStateMachine):
    """Any order of refreshes and scans: times never lie."""

    def __init__(self) -> None:
        super().__init__()
        self.at, self.state = NOW, RevisionState()
        self.told: float | None = None
        self.failing: list[tuple[FetchFailure | None, float]] = [(None, NOW)]

    @rule(
        seconds=st.sampled_from([0.5, 30, 59, 60, 90]),
        fetched=st.booleans(),
        head=st.sampled_from([None, A, B]),
        failure=st.sampled_from([None, FetchFailure.DNS, FetchFailure.TLS]),
    )
    def refreshes(self, seconds: float, fetched: bool, head: str | None, failure: FetchFailure | None) -> None:
        self.at += seconds
        one = None if head is None else refused(head, self.at)
        before, self.state = self.state, after_refresh(self.state, self.at, fetched, one, failure)
        self.told = self.at if fetched else self.told
        if failure is not self.failing[-1][0]:
            self.failing.append((failure, self.at))
        if head is not None:
            assert self.state.refused is not None
            assert self.state.refused.revision == head
        elif failure is None:
            assert self.state.refused is None
        else:
            assert self.state.refused == before.refused

    @invariant()
    def the_failure_began_when_it_began(self) -> None:
        failure, since = self.failing[-1]
        assert (self.state.failure, self.state.failing_since) == (failure, None if failure is None else since)

    @invariant()
    def the_last_answer_is_known_to_the_minute(self) -> None:
        known, told = self.state.fetched_at, self.told
        assert (known is None) == (told is None)
        assert known is None or told is None or 0 <= told - known < 60


def test_any_order_of_refreshes() -> None:
    run_state_machine_as_test(Refreshes, settings=settings(max_examples=60, stateful_step_count=20, deadline=None))


def test_equal_arguments_write_nothing() -> None:
    values: tuple[Any, ...] = (True, refused(B, NOW), FetchFailure.NO_PATH)
    once = after_refresh(RevisionState(), NOW, *values)
    assert after_refresh(once, NOW + 1, *values) == once


async def test_the_signer_of_an_earlier_revision_leaves_every_table(engine: Engine) -> None:
    """[I6]"""
    store = await engine.open()
    await scanned(store, NOW, acted(A))
    await scanned(store, NOW + 1, acted(B, "bob@example.com SHA256:def"))
    assert await store.tidy()
    assert await engine.tables_with("alice@example.com") == []
    assert (await store.revision_state("default")).acted == acted(B, "bob@example.com SHA256:def")
    await store.aclose()
