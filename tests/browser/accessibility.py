"""axe-core on a page: every rule that is on by default, best practices included, of every impact."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

_AXE = Axe()


def violations(page: Page) -> list[str]:
    """Each violation: its rule and the elements that break it. An empty page has none, so the page needs a heading."""
    assert page.locator("h1").count() == 1, "one heading of the first level"
    found = _AXE.run(page).response["violations"]
    return [f"{one['id']} ({one['impact']}): {[node['target'] for node in one['nodes']]}" for one in found]
