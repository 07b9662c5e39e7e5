"""The system's Chromium, driven by Playwright. Without it these tests are skipped with a reason."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.installed_command import Office
from tests.browser.redirect_target import RedirectTarget
from verification.processes import simulated

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
MISSING = "there is no Chromium on this machine, and scripts/setup-system could not install it (it needs root and apt)"


# Of a module, not of the session: while Playwright is up its loop runs, and no other test could have one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium whose camera films a green test picture."""
    if not CHROMIUM:
        pytest.skip(MISSING)
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    # Root has no user namespace for Chromium's own sandbox, and nothing but our pages is opened.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shop() -> Iterator[RedirectTarget]:
    """The web shop that end users come from and return to."""
    with RedirectTarget() as shop:
        yield shop


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """An office whose sandbox waits for end users."""
    folder: Path = tmp_path_factory.mktemp("office")
    for name in ("specs", "images"):
        (folder / name).mkdir()
    with simulated({"interactive": "", "delay": "100ms"}) as url:
        yield Office(folder, url)
