"""The git source on the status page: the revision that the agent acts on, and why it acts on no newer one."""

from collections.abc import Iterator
from typing import Any

from agent.core.source_revision import RevisionState
from agent.views.phrases import capitalized
from agent.views.revisions import failure_sentence, refusal_sentence, short
from agent.web.summaries import short_duration, with_full_stop


def commit_link(web_page: str, commit: str | None) -> str | None:
    """The address of a commit below SOURCE_WEB_URL; None without one."""
    if not web_page or commit is None:
        return None
    return web_page.replace("{commit}", commit) if "{commit}" in web_page else f"{web_page}/commit/{commit}"


def revision_card(state: RevisionState, web_page: str) -> dict[str, Any]:
    """The content of the card."""
    acted, refused = state.acted, state.refused
    return {
        "acted": None
        if acted is None
        else {
            "commit": short(acted.commit),
            "link": commit_link(web_page, acted.commit),
            "committed_at": acted.committed_at,
            "acted_at": state.acted_at,
            "signer": acted.signer,
        },
        "refused": None
        if refused is None
        else {"commit": short(refused.revision), "link": commit_link(web_page, refused.revision)},
        "fetched_at": state.fetched_at,
        "failing": state.failure is not None,
    }


def revision_alarms(state: RevisionState, now: float) -> Iterator[dict[str, str]]:
    """The reasons why the agent does not act on the newest revision, each with a command."""
    if state.failure is not None:
        yield _alarm(*failure_sentence(state.failure), state.failing_since, now, "assure-agent doctor")
    if (refused := state.refused) is not None:
        command = "assure-agent approve" if refused.reason.needs_approval else "assure-agent doctor"
        yield _alarm(*refusal_sentence(refused), refused.since, now, command)


def _alarm(sentence: str, hint: str, since: float | None, now: float, command: str) -> dict[str, str]:
    age = "" if since is None else f" This began {short_duration(max(0.0, now - since))} ago."
    says = f"{capitalized(with_full_stop(sentence))}{age} {capitalized(with_full_stop(hint))}"
    return {"says": says, "command": command}
