"""A person with a browser, who does what the page says."""

from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

_TIMEOUT = 120_000.0  # milliseconds for each action and expectation; a test that passes never waits that long

expect.set_options(timeout=_TIMEOUT)

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


class BrowserUser:
    """One browser window. `complaints` is what its console had to say, such as a breach of the page's policy."""

    def __init__(self, chromium: Browser, width: dict[str, int] = DESKTOP, **options: object) -> None:
        size = {"width": width["width"], "height": width["height"]}
        self._context = chromium.new_context(viewport=size, permissions=["camera"], **options)  # type: ignore[arg-type]
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(_TIMEOUT)
        self.complaints: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def __enter__(self) -> "BrowserUser":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def press(self, name: str) -> None:
        """A button, or a link; waits for it, but not for the page that follows."""
        button = self.page.get_by_role("button", name=name, exact=True)
        button.or_(self.page.get_by_role("link", name=name, exact=True)).click()

    def sees_heading(self, heading: str) -> None:
        """The page's heading is this one."""
        expect(self.page.get_by_role("heading", level=1)).to_have_text(heading)

    def begin(self, link: str) -> None:
        """Open the link and read the welcome."""
        self.page.goto(link)
        expect(self.page.get_by_text("This is a simulator, not Signicat.")).to_be_visible()
        self.press("Begin")

    def name_document(self, country: str, document: str) -> None:
        """Country and document."""
        self.page.get_by_label(country).check()
        self.press("Continue")
        self.sees_heading("Which document do you have?")
        self.page.get_by_label(document).check()
        self.press("Continue")
        expect(self.page.locator("input[type=file]")).to_be_attached()

    def upload(self, picture: Path) -> None:
        """A picture from the disk, seen before it is sent."""
        self.page.locator("input[type=file]").set_input_files(picture)
        expect(self.page.get_by_alt_text("The picture you gave")).to_be_visible()
        self.press("Continue")

    def photograph(self) -> None:
        """A picture by the camera inside the page."""
        self.press("Take a picture")
        expect(self.page.get_by_label("View of the camera")).to_be_visible()
        self.press("Take the picture")
        expect(self.page.get_by_alt_text("The picture you gave")).to_be_visible()
        self.press("Continue")

    def send(self, outcome: str = "") -> None:
        """Check, choose how it ends, and send; the shop's page comes."""
        self.sees_heading("Is everything right?")
        self.page.get_by_label("Which outcome shall the simulated verification have?").select_option(outcome)
        self.press("Send")
        self.sees_heading("Welcome back")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "status of 40" not in message.text:
            self.complaints.append(message.text)
