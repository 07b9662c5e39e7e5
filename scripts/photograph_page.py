"""Photograph the status page for the documents: `make photographs`.

The installed command runs against the sandbox on ten requests: one is held, three wait for a result, six are done.
Chromium then opens the page: light, dark (a finished request), and on a phone (the held request).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from verification.builders.request_files import IDENTITY_CARD, upload, write, write_pictures  # noqa: E402
from verification.builders.settings import environment  # noqa: E402
from verification.processes import COMMAND, PROMPT, simulated  # noqa: E402

IMAGES = ROOT / "docs/images"
DONE = ("accepted", "accepted", "rejected", "accepted", "inconclusive", "accepted")
WAITING = 3
HELD = "customer-4722"
PATIENCE = 120.0  # seconds until the requests have settled


def write_requests(folder: Path) -> None:
    """Write the ten requests."""

    def drop(name: str, marker: str = "", **fields: int) -> None:
        images = write_pictures(folder / "images", name, marker)
        write(folder / f"specs/{name}.yaml", upload(name, images, **fields))

    for number, outcome in enumerate(DONE, 4701):
        drop(f"customer-{number}", f"sandbox-outcome={outcome}")
    for number in range(4711, 4711 + WAITING):
        drop(f"customer-{number}", "sandbox-delay=3600s")
    drop(HELD, document_id=IDENTITY_CARD)  # one picture of a document with two pages


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary, simulated({}) as url:
        folder = Path(temporary)
        write_requests(folder)
        settings = environment(folder, url, **PROMPT, MAX_STARTS_PER_DAY="500")

        def command(*arguments: str) -> str:
            run = subprocess.run([*COMMAND, *arguments], env=settings, capture_output=True, text=True, check=False)
            return run.stdout

        with subprocess.Popen(
            [*COMMAND, "run"], env=settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as agent:
            end = time.monotonic() + PATIENCE
            while command("get").count(" done ") < len(DONE) and time.monotonic() < end:
                time.sleep(0.5)
            photograph(command("page").strip().split()[-1])
            agent.terminate()


def photograph(link: str) -> None:
    """Open the page with its one-time link and write the three pictures."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": 1100, "height": 820})
        page = context.new_page()
        page.goto(link)
        page.wait_for_load_state("networkidle")
        home = page.url.split("?")[0]
        page.screenshot(path=IMAGES / "status-page.png")
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": 1100, "height": 900})
        page.goto(f"{home}?q=customer-4701")
        page.get_by_role("link", name="customer-4701").first.click()
        page.screenshot(path=IMAGES / "status-page-dark.png")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(home)
        page.get_by_role("link", name=HELD).first.click()
        page.screenshot(path=IMAGES / "status-page-phone.png")
        browser.close()


if __name__ == "__main__":
    main()
