"""The status page in the system's Chromium: with and without JavaScript, wide and narrow, light and dark."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.accessibility import violations
from tests.browser.conftest import chromium
from tests.web.live_server import NASTY, Served, served, some

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("site"), some(), token="") as found:
        yield found


def opened(chromium: Browser, site: Served, **more: Any) -> tuple[Page, list[str]]:
    """A page in a session, and the errors that it logs."""
    page = chromium.new_context(**more).new_page()
    page.goto(site.link())
    assert page.url == f"{site.url}/", "the code of the link is gone from the address"
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    return page, complaints


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1280, "light")])
def test_every_page_fits_its_width_and_logs_no_error(chromium: Browser, site: Served, width: int, scheme: Any) -> None:
    page, complaints = opened(chromium, site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    for path in (
        "/",
        "/?q=customer",
        "/?state=held",
        "/refused",
        *(f"/requests/{uid}" for uid in list(site.uids.values())[-4:]),
    ):
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert complaints == [], "also not of the policy of the page"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_axe_finds_nothing_on_any_page(chromium: Browser, site: Served, width: int, scheme: Any) -> None:
    stranger = chromium.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    stranger.goto(site.url)
    assert stranger.get_by_role("heading", name="Open this page with a link").is_visible()
    assert violations(stranger) == [], "without a session"
    stranger.close()
    page, _ = opened(chromium, site, viewport={"width": width, "height": 800}, color_scheme=scheme)
    site.observations |= {"paused": True, "circuit": "nobody answers", "ready": "ending"}
    try:
        for path in (
            "/",
            "/?q=customer",
            "/?q=nobody",
            "/?state=held",
            "/?state=nonsense",
            "/?label=team%3Donboarding&outcome=accepted",
            "/refused",
            "/refused?page=0",
            "/requests/nobody",
            "/nowhere",
            *(f"/requests/{site.uids[name]}" for name in ("customer-1", "with-a-link", "is-held", NASTY)),
        ):
            page.goto(site.url + path)
            assert violations(page) == [], path
    finally:
        site.observations |= {"paused": False, "circuit": None, "ready": None}
    page.goto(site.url)
    page.evaluate("document.documentElement.removeAttribute('lang')")
    assert [one.split()[0] for one in violations(page)] == ["html-has-lang"], "axe finds the fault of a page"
    page.context.close()


def test_filters_are_chosen_without_javascript(chromium: Browser, site: Served) -> None:
    page, _ = opened(chromium, site, java_script_enabled=False)
    page.goto(f"{site.url}/?state=done")
    page.get_by_label("Outcome", exact=True).select_option("accepted")
    page.get_by_label("Label", exact=True).fill("team=onboarding")
    page.get_by_role("button", name="Filter").click()
    assert page.get_by_role("link", name="customer-1").is_visible()
    page.get_by_role("link", name="Remove the filter label: team=onboarding").click()
    assert "label" not in page.url
    assert page.get_by_label("Outcome", exact=True).input_value() == "accepted"
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_contrasts_with_its_background(chromium: Browser, site: Served, scheme: Any) -> None:
    """WCAG 2.2 AA requires 4.5 to 1. Computed from the rendered page."""
    page, _ = opened(chromium, site, color_scheme=scheme)
    for path in ("/", f"/requests/{site.uids['is-held']}", f"/requests/{site.uids['customer-1']}"):
        page.goto(site.url + path)
        assert page.evaluate(CONTRAST) == []
    page.context.close()


CONTRAST = """() => {
  const parse = c => { const p = c.match(/[\\d.]+/g).map(Number); return [p[0], p[1], p[2], p.length > 3 ? p[3] : 1]; };
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c[3] > .99) return c; } return [255, 255, 255, 1]; };
  const bad = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(ground(e))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) bad.push([walker.currentNode.data.trim().slice(0, 30), ratio.toFixed(2)]);
  }
  return bad;
}"""  # noqa: E501


def test_without_javascript_the_page_is_complete(chromium: Browser, site: Served) -> None:
    page, _ = opened(chromium, site, java_script_enabled=False)
    page.goto(site.url)
    page.get_by_role("searchbox", name="Search by name or label").fill("team=risk")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="with-a-link").click()
    assert page.get_by_role("heading", name="with-a-link").is_visible()
    assert page.get_by_text("assure-agent get with-a-link --link").is_visible()
    assert page.get_by_role("button", name="Copy").count() == 0, "a button that does nothing is not shown"
    page.context.close()


def test_it_is_used_with_the_keyboard_alone(chromium: Browser, site: Served) -> None:
    page, _ = opened(chromium, site)
    page.goto(site.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("customer-2")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=customer-2")
    row = page.get_by_role("link", name="customer-2 accepted")
    row.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/requests/*")
    assert page.get_by_role("heading", name="customer-2", exact=True).is_visible()
    page.context.close()


def test_the_page_polls_again_but_not_while_the_reader_interacts(chromium: Browser, site: Served) -> None:
    page, complaints = opened(chromium, site)
    page.clock.install()
    page.goto(site.url)
    assert not page.get_by_text("The agent is paused").is_visible()
    site.observations["paused"] = True
    try:
        page.clock.run_for(6000)
        page.get_by_text("The agent is paused").wait_for()
        site.observations["paused"] = False
        page.get_by_role("link", name="is-held").focus()
        page.clock.run_for(6000)
        assert page.get_by_text("The agent is paused").is_visible(), "not while something in it has the focus"
        page.evaluate("document.activeElement.blur()")
        page.clock.run_for(6000)
        page.get_by_text("The agent is paused").wait_for(state="detached")
    finally:
        site.observations["paused"] = False
    assert complaints == []
    page.context.close()


def test_a_hostile_name_is_text(chromium: Browser, site: Served) -> None:
    page, complaints = opened(chromium, site)
    for path in ("/", f"/requests/{site.uids[NASTY]}", "/?state=held"):
        page.goto(site.url + path)
        assert page.get_by_text(NASTY).first.is_visible()
    page.get_by_role("link", name=NASTY).first.click()
    assert page.get_by_role("heading", name=NASTY).first.is_visible()
    assert complaints == [], "no dialog, and nothing that the policy had to stop"
    page.context.close()


def test_a_link_opens_the_page_in_one_browser_only(chromium: Browser, site: Served) -> None:
    """Issue 13.4, in a browser."""
    link = site.link()
    mine, _ = opened(chromium, site)
    other = chromium.new_context().new_page()
    mine.goto(link)
    for page in (mine, other):
        page.goto(link)
    assert mine.get_by_text("Held for an operator").first.is_visible(), "who clicks a used link again has a session"
    assert other.get_by_role("heading", name="This link was used or has expired").is_visible()
    assert other.get_by_text("assure-agent page").is_visible()
    other.goto(site.url)
    assert other.get_by_role("heading", name="Open this page with a link").is_visible()
    (cookie,) = mine.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert mine.evaluate("document.cookie") == "", "no script reads it"
    for page in (mine, other):
        page.context.close()


def test_the_name_of_a_button_names_the_command_that_it_copies(chromium: Browser, site: Served) -> None:
    page, _ = opened(chromium, site, permissions=["clipboard-read", "clipboard-write"])
    page.goto(site.url)
    button = page.get_by_role("button", name="Copy assure-agent resolve is-held retry", exact=True)
    button.click()
    page.get_by_role("button", name="Copied assure-agent resolve is-held retry", exact=True).wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == "assure-agent resolve is-held retry"
    page.context.close()
