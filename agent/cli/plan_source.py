"""The source of a plan: the folder SPECS_DIR, the newest or a named revision of SOURCE_URL, or the current revision."""

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.core.errors import AgentError, WrongUse
from agent.core.source_revision import RefusedRevision, is_object_id
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store import open_reading, store_exists
from agent.views.phrases import capitalized
from agent.views.plan import PlannedRevision
from agent.views.revisions import failure_sentence

if TYPE_CHECKING:
    from agent.admission.request_source import RequestSource


@contextlib.contextmanager
def newest_source(
    settings: Settings, commit: str | None = None
) -> "Iterator[tuple[RequestSource, PlannedRevision | None]]":
    """The source as the agent would read it next, and its revision. `commit`: this commit, instead of the branch.

    Without SOURCE_URL it is the folder. Raises AgentError if the revision cannot be fetched.
    """
    from agent.source.choice import source_of
    from agent.source.revisions.fetch_errors import FetchError
    from agent.source.revisions.planned import planned_source

    _check(settings, commit)
    if not settings.source_url:
        yield source_of(settings, settle=0, checkout=False), None
        return
    acted, approved = _stored(settings)
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(planned_source(settings, commit, acted, approved))
        except FetchError as error:
            sentence, hint = failure_sentence(error.failure, error.detail)
            if commit is not None and commit in error.detail:
                sentence, hint = error.detail, "push the commit to a branch of that repository, and plan it by --branch"
            raise AgentError(f"{capitalized(sentence)}.", hint) from None
        refused = None
        if found.refusal is not None:
            reason, cause = found.refusal
            refused = RefusedRevision(revision=found.commit, reason=reason, commit=cause, since=time.time())
        branch = settings.source_branch if commit is None else None
        yield found, PlannedRevision(commit=found.commit, branch=branch, refused=refused)


def current_source(settings: Settings) -> "RequestSource":
    """The source as the agent read it last: the folder, or the current revision. It fetches nothing."""
    from agent.source.folder import Folder
    from agent.source.folder_source import FolderSource

    if settings.source_url and not settings.requests_dir.exists():
        raise AgentError(
            "The agent has not fetched a revision of ASSURE_AGENT_SOURCE_URL yet.",
            "`assure-agent plan`, which fetches one; or start the agent",
        )
    return FolderSource(Folder.of(settings, settle=0))


def _check(settings: Settings, commit: str | None) -> None:
    if commit is None:
        return
    if not settings.source_url:
        raise WrongUse("--revision needs a repository.", "--source-url URL, or set ASSURE_AGENT_SOURCE_URL")
    if not is_object_id(commit):
        raise WrongUse(
            f"--revision needs all 40 or 64 digits of a commit, not {commit!r}.", "--revision $(git rev-parse HEAD)"
        )


def _stored(settings: Settings) -> tuple[str | None, str | None]:
    """The revision that the agent acts on, and the one that the operator approved."""
    if not store_exists(settings):
        return None, None
    with open_reading(settings) as reading:
        acted = reading.revision_state(settings.source_name).acted
        return None if acted is None else acted.commit, reading.recall(MetaKey.REVISION_APPROVED)
