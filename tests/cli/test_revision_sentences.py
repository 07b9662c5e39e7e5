"""Every cause of a failed fetch and of a refused revision has a sentence and a hint."""

import pytest

from agent.core.source_revision import FetchFailure, RefusedRevision, RevisionRefusal, RevisionState
from agent.views.revisions import failure_sentence, refusal_sentence, troubles, unsigned_document

HEAD, OLDER = "a" * 40, "b" * 40


@pytest.mark.parametrize("failure", FetchFailure)
def test_every_failure_has_a_sentence_and_a_hint(failure: FetchFailure) -> None:
    sentence, hint = failure_sentence(failure)
    assert sentence[0].islower() and not sentence.endswith(".")
    assert hint and not hint.endswith(".")


def test_a_shallow_repository_has_a_hint_of_its_own() -> None:
    """A server's `git fsck` finds nothing wrong with it."""
    sentence, hint = failure_sentence(FetchFailure.DAMAGED)
    assert "history" in sentence and "git fetch --unshallow" in hint


@pytest.mark.parametrize("reason", RevisionRefusal)
def test_a_refusal_names_the_revision_and_the_commit_that_is_the_reason(reason: RevisionRefusal) -> None:
    sentence, hint = refusal_sentence(RefusedRevision(revision=HEAD, reason=reason, commit=OLDER, since=0.0))
    assert f"revision {HEAD[:12]}," in sentence and HEAD[:13] not in sentence
    assert ("bbbbbbbbbbbb" in sentence) is not reason.needs_approval
    assert ("assure-agent approve" in hint) is reason.needs_approval  # nothing else can be approved
    assert "{" not in sentence + hint


def test_a_refused_document_names_its_last_commit() -> None:
    assert "commit bbbbbbbbbbbb has no signature" in unsigned_document(RevisionRefusal.UNSIGNED, OLDER)[0]


def test_the_troubles_of_a_source_name_their_times() -> None:
    refused = RefusedRevision(revision=HEAD, reason=RevisionRefusal.NOT_DESCENDED, commit=HEAD, since=60.0)
    state = RevisionState(refused=refused, failure=FetchFailure.DNS, failing_since=120.0)
    first, second = (sentence for sentence, _ in troubles(state))
    assert "unknown" in first and "1970-01-01T00:02:00.000Z" in first
    assert "does not descend" in second and "1970-01-01T00:01:00.000Z" in second
    assert troubles(RevisionState()) == []
