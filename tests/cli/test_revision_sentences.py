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


SIGN_AGAIN = (RevisionRefusal.UNSIGNED, RevisionRefusal.EXPIRED_KEY, RevisionRefusal.REVOKED_KEY)


@pytest.mark.parametrize("reason", SIGN_AGAIN)
def test_the_hint_to_sign_again_works_for_the_head_an_older_commit_and_a_document(reason: RevisionRefusal) -> None:
    """A signed commit on top of an older one does not help; a force push of an admitted revision is held."""
    head, older = (
        refusal_sentence(RefusedRevision(revision=HEAD, reason=reason, commit=commit, since=0.0))[1]
        for commit in (HEAD, OLDER)
    )
    assert "`git commit --amend --no-edit -S`, then `git push --force-with-lease`" in head
    assert "git rebase --exec 'git commit --amend --no-edit -S' bbbbbbbbbbbb~1" in older and "on top" not in older
    document = unsigned_document(reason, OLDER)[1]
    assert "changes the file" in document and "force" not in document


def test_a_refused_document_names_its_last_commit() -> None:
    assert "commit bbbbbbbbbbbb has no signature" in unsigned_document(RevisionRefusal.UNSIGNED, OLDER)[0]


def test_the_troubles_of_a_source_name_their_times() -> None:
    refused = RefusedRevision(revision=HEAD, reason=RevisionRefusal.NOT_DESCENDED, commit=HEAD, since=60.0)
    state = RevisionState(refused=refused, failure=FetchFailure.DNS, failing_since=120.0)
    first, second = (sentence for sentence, _ in troubles(state))
    assert "unknown" in first and "1970-01-01T00:02:00.000Z" in first
    assert "does not descend" in second and "1970-01-01T00:01:00.000Z" in second
    assert troubles(RevisionState()) == []
