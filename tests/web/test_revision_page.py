"""A git source on the status page: the revision and its signer, the server, and why a newer revision is refused."""

import contextlib
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from agent.core.errors import SettingsError
from agent.core.record import Origin, Phase
from agent.core.source_revision import FetchFailure, RefusedRevision, Revision, RevisionRefusal, RevisionState
from agent.platform.settings import load_settings
from agent.store.sqlite.connection import sqlite3
from agent.views.revisions import refusal_sentence
from agent.web.revision_card import commit_link
from tests.browser.accessibility import violations
from tests.browser.conftest import chromium
from tests.web.live_server import NASTY, Served, request, served
from tests.web.test_status_page import text
from verification.builders.records import NOW

__all__ = ["chromium"]

ACTED, HEAD, OF_FILE = "a1" * 20, "b2" * 20, "c3" * 20
WEB = "https://git.example/team/requests"
SIGNER = "alice@example.com SHA256:FuUVhbWZXQk5JHn0yVHFtmXKJ1iXNtGtVZk5a1Hc1qE"
GOOD = RevisionState(
    acted=Revision(commit=ACTED, committed_at=NOW - 3000, signer=SIGNER), acted_at=NOW - 2400, fetched_at=NOW + 590
)
FAILING = replace(GOOD, failure=FetchFailure.TLS, failing_since=NOW + 300, fetched_at=NOW + 240)
REFUSED = replace(
    GOOD, refused=RefusedRevision(revision=HEAD, reason=RevisionRefusal.UNSIGNED, commit=OF_FILE, since=NOW + 480)
)


@contextlib.contextmanager
def git_site(folder: Path, web_page: str = WEB) -> Iterator[Served]:
    origin = Origin(author="A <a@example.com>", file_commit=OF_FILE, signer=SIGNER)
    lives = [
        request("signed", Phase.RESULT, commit=ACTED, dirty=False, origin=origin),
        request("nasty", Phase.RESULT, commit=ACTED, dirty=False, origin=replace(origin, signer=NASTY)),
        request("unsigned", Phase.RESULT, commit=ACTED, dirty=False),
    ]
    with served(folder, lives, web_page=web_page) as found:
        found.observations["revision"] = GOOD
        yield found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with git_site(tmp_path_factory.mktemp("git")) as found:
        yield found


def front(site: Served, state: RevisionState | None) -> str:
    site.observations["revision"] = state
    return site.see("/").text


def shown(site: Served, state: RevisionState | None) -> str:
    site.observations["revision"] = state
    return text(site.see("/"))


def test_the_front_page_shows_the_revision_its_age_its_signer_and_the_server(site: Served) -> None:
    reported = shown(site, GOOD)
    assert "Revision a1a1a1a1a1a1 Committed 1h ago Acted on since 50m ago" in reported
    assert f"Signed by {SIGNER}" in reported
    assert "Git server seen 10s ago" in reported
    assert "failing" not in reported
    assert f'<a href="{WEB}/commit/{ACTED}"><code>a1a1a1a1a1a1</code></a>' in front(site, GOOD)


def test_without_a_git_source_nothing_of_it_is_shown(site: Served) -> None:
    reported = shown(site, None)
    assert "Revision" not in reported
    assert "Git server" not in reported


def test_before_the_first_revision_the_reason_is_shown(site: Served) -> None:
    reported = shown(site, RevisionState(failure=FetchFailure.AUTHENTICATION, failing_since=NOW))
    assert "Revision none yet" in reported
    assert "Git server seen not yet failing" in reported
    assert "The git server does not accept the credentials. This began 10m ago. Check that the token in" in reported


def test_a_failing_fetch_is_a_sentence_with_its_time_and_a_command(site: Served) -> None:
    reported = shown(site, FAILING)
    assert "The certificate of the git server is not trusted. This began 5m ago. Add its authority to" in reported
    assert "assure-agent doctor" in reported
    assert "Git server seen 6m ago failing" in reported


def test_a_refused_revision_is_a_sentence_with_its_commit_and_the_right_command(site: Served) -> None:
    assert REFUSED.refused is not None
    reported = shown(site, REFUSED)
    sentence, _ = refusal_sentence(REFUSED.refused)
    assert f"T{sentence[1:]}. This began 2m ago." in reported
    assert "assure-agent approve" not in reported, "a signature cannot be approved"
    assert "Newest revision b2b2b2b2b2b2 refused" in reported
    assert f'<a href="{WEB}/commit/{HEAD}">' in front(site, REFUSED)
    rewritten = replace(REFUSED.refused, reason=RevisionRefusal.NOT_DESCENDED)
    assert "assure-agent approve" in shown(site, replace(GOOD, refused=rewritten))


def test_every_cause_and_reason_has_a_sentence(site: Served) -> None:
    assert REFUSED.refused is not None
    for failure, reason in zip(FetchFailure, itertools.cycle(RevisionRefusal), strict=False):
        both = replace(FAILING, failure=failure, refused=replace(REFUSED.refused, reason=reason))
        assert shown(site, both).count("This began") == 2, (failure, reason)


def test_a_revision_that_is_old_is_no_alarm(tmp_path: Path) -> None:
    """Without a new revision nothing is scanned. A folder that is not scanned is an alarm."""
    with git_site(tmp_path) as site:
        change(tmp_path, "UPDATE sources SET synced_at = synced_at - 5000")
        assert "was last scanned" not in shown(site, GOOD)
        assert "was last scanned" in shown(site, None)
        change(tmp_path, "UPDATE sources SET complete = 0")
        assert "the scan was incomplete" in shown(site, GOOD)


def change(folder: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "agent.db")) as connection, connection:
        connection.execute(statement)


def test_the_page_of_a_request_shows_both_commits_and_the_signer(site: Served) -> None:
    page = site.see(f"/requests/{site.uids['signed']}")
    assert f"commit {ACTED}" in text(page)
    assert f"last commit of the file {OF_FILE}" in text(page)
    assert f"signed by {SIGNER}" in text(page)
    for commit in (ACTED, OF_FILE):
        assert f'<a href="{WEB}/commit/{commit}"><code>{commit}</code></a>' in page.text
    unsigned = text(site.see(f"/requests/{site.uids['unsigned']}"))
    assert "signed by" not in unsigned
    assert "last commit of the file" not in unsigned


def test_a_hostile_signer_is_only_text(site: Served) -> None:
    acted = Revision(commit=ACTED, committed_at=NOW, signer=NASTY)
    for page in (front(site, replace(GOOD, acted=acted)), site.see(f"/requests/{site.uids['nasty']}").text):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script>alert" not in page
        assert "49" not in re.findall(r"signer\">(.*?)<", page)


def test_a_hostile_address_is_only_an_attribute(tmp_path: Path) -> None:
    """SOURCE_WEB_URL refuses such an address; the page does not rely on it."""
    with git_site(tmp_path, 'https://x.example/"><script>alert(1)</script>{commit}') as site:
        page = front(site, GOOD)
    assert "<script>alert" not in page
    assert f'href="https://x.example/&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;{ACTED}"' in page


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JavaScript:alert(1)//{commit}",
        "data:text/html,{commit}",
        "http://git.example/team",
        "https://",
        "//git.example/team",
        'https://git.example/"onmouseover="alert(1)',
        "https://git.example/\njavascript:alert(1)",
        "https://user:secret@git.example/team",
    ],
)
def test_an_address_that_is_no_web_page_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(SettingsError, match="SOURCE_WEB_URL"):
        load_settings(source_url="file:///srv/requests.git", source_web_url=address)


@pytest.mark.parametrize("address", [WEB, f"{WEB}/", "http://127.0.0.1:3000/team/requests"])
def test_an_address_of_a_web_page_is_accepted(address: str) -> None:
    settings = load_settings(source_url="file:///srv/requests.git", source_web_url=address)
    assert commit_link(settings.source_web_url, ACTED) == f"{address.rstrip('/')}/commit/{ACTED}"


def test_a_link_replaces_the_commit_or_ends_in_it() -> None:
    assert commit_link("https://git.example/r/+/{commit}?x=1", ACTED) == f"https://git.example/r/+/{ACTED}?x=1"
    assert commit_link("", ACTED) is None
    assert commit_link(WEB, None) is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_pages_fit_their_width_and_axe_finds_nothing(
    chromium: Browser, site: Served, width: int, scheme: Any
) -> None:
    assert REFUSED.refused is not None
    rewritten = replace(REFUSED.refused, reason=RevisionRefusal.NOT_DESCENDED)
    site.observations["revision"] = replace(FAILING, refused=rewritten)
    context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto(site.link())
    for path in ("/", f"/requests/{site.uids['signed']}"):
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert violations(page) == [], path
    context.close()
