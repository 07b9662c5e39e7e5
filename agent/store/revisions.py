"""The state of a git source, as a row: the revision that the agent acts on, and why it acts on no newer one."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal, RevisionState

# The columns of a state, in the order of `revision_values`.
COLUMNS = (
    "revision", "committed_at", "signer", "acted_at", "fetched_at", "refused", "refused_reason", "refused_commit",
    "refused_since", "failure", "failing_since",
)  # fmt: skip
_EXACTNESS = 60.0  # seconds, of `fetched_at` while nothing else changes


def revision_state(row: Sequence[Any] | None) -> RevisionState:
    """The state in a row of `COLUMNS`; empty without a row. Raises ValueError for an unknown code."""
    if row is None:
        return RevisionState()
    commit, committed_at, signer, acted_at, fetched_at, refused, reason, cause, refused_since, failure, since = row
    acted = None if commit is None else Revision(commit=commit, committed_at=committed_at, signer=signer)
    refusal = (
        None
        if refused is None
        else RefusedRevision(revision=refused, reason=RevisionRefusal(reason), commit=cause, since=refused_since)
    )
    return RevisionState(
        acted=acted,
        acted_at=acted_at,
        fetched_at=fetched_at,
        refused=refusal,
        failure=None if failure is None else FetchFailure(failure),
        failing_since=since,
    )


def after_refresh(
    before: RevisionState, at: float, fetched: bool, refused: RefusedRevision | None, failure: FetchFailure | None
) -> RevisionState:
    """The state after a refresh; equal to `before` if there is nothing to write.

    A failed refresh says nothing about a refused revision, so it stays refused. The same refusal, or failure, keeps the
    time when it began. A refusal is the same if its reason is the same commit, also under a newer head.
    """
    known, again = before.refused, failure is not None and failure is before.failure
    if refused is None:
        refused = known if failure is not None else None
    elif known is not None and (known.reason, known.commit) == (refused.reason, refused.commit):
        refused = replace(refused, since=known.since)
    since = before.failing_since if again else None if failure is None else at
    after = replace(before, refused=refused, failure=failure, failing_since=since)
    last = before.fetched_at
    if fetched and (after != before or last is None or not 0 <= at - last < _EXACTNESS):
        return replace(after, fetched_at=at)
    return after


def after_scan(before: RevisionState, at: float, revision: Revision) -> RevisionState:
    """The state after a scan of this revision. It is refused no longer."""
    same = before.acted is not None and before.acted.commit == revision.commit
    refused = before.refused
    if refused is not None and refused.revision == revision.commit:
        refused = None
    return replace(before, acted=revision, acted_at=before.acted_at if same else at, refused=refused)


def revision_values(state: RevisionState) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    acted, refused = state.acted, state.refused
    return (
        *((None, None, None) if acted is None else (acted.commit, acted.committed_at, acted.signer)),
        state.acted_at,
        state.fetched_at,
        *(
            (None, None, None, None)
            if refused is None
            else (refused.revision, str(refused.reason), refused.commit, refused.since)
        ),
        None if state.failure is None else str(state.failure),
        state.failing_since,
    )
