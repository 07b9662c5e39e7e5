"""The capture page in Chromium: it works at any width, in light and dark, by keyboard and without a script."""

import json
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.accessibility import violations
from tests.browser.browser_user import DESKTOP, PHONE, BrowserUser
from tests.browser.redirect_target import RedirectTarget
from verification.processes import simulated

SPECIMENS = Path(__file__).parents[2] / "images/specimens"

FAULTS = (Path(__file__).parent / "faults.js").read_text()


@pytest.fixture(scope="module")
def assure() -> Iterator[str]:
    """A simulated Assure that waits for people."""
    with simulated({"interactive": "", "delay": "100ms"}) as url:
        yield url


def post(url: str, body: object, authorization: str) -> Any:
    content = json.dumps(body).encode() if not isinstance(body, bytes) else body
    request = urllib.request.Request(url, content, {"Authorization": authorization})
    request.add_header("Content-Type", "application/json" if not isinstance(body, bytes) else FORM)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


FORM = "application/x-www-form-urlencoded"


def new_link(assure: str, shop: RedirectTarget, process_type: str = "documentSelfie", **more: str) -> str:
    """A capture link, as a web application gets it."""
    basic = "Basic " + b64encode(b"sandbox-client:sandbox-secret").decode()
    grant = b"grant_type=client_credentials&scope=signicat-api"
    bearer = "Bearer " + post(f"{assure}/auth/open/connect/token", grant, basic)["access_token"]
    dossier = post(f"{assure}/assure/dossiers", {}, bearer)["dossierId"]
    provider = {"provider": "signicatpictureid", "processType": process_type}
    body = {"providers": [provider], "sdk": "capture", "redirectUrl": shop.url, **more}
    return str(post(f"{assure}/assure/dossiers/{dossier}/capture", body, bearer)["url"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP, {"width": 320, "height": 560}], ids=["phone", "desktop", "narrow"])
def test_every_page_can_be_read_by_everyone(
    assure: str, shop: RedirectTarget, chromium: Browser, width: dict[str, int], scheme: str
) -> None:
    with BrowserUser(chromium, width, color_scheme=scheme) as person:
        faults: dict[str, list[str]] = {}

        def check(heading: str) -> None:
            person.sees_heading(heading)  # a click does not wait for the next page
            found = person.page.evaluate(FAULTS) + violations(person.page)
            if found:
                faults[heading] = found

        person.page.goto(new_link(assure, shop))
        check("Verify your identity")
        person.press("Begin")
        check("Which country issued your document?")
        person.page.get_by_label("Sweden").check()
        person.press("Continue")
        check("Which document do you have?")
        person.page.get_by_label("Residence permit").check()
        person.press("Continue")
        check("The front of your document")
        person.press("Continue")  # without a picture
        expect(person.page.get_by_role("alert")).to_be_focused()
        check("The front of your document")
        person.press("Take a picture")
        expect(person.page.get_by_label("View of the camera")).to_be_visible()
        check("The front of your document")
        person.press("Close the camera")
        for heading in ("The back of your document", "Your face", "Is everything right?"):
            person.press("Use the specimen")
            check(heading)
        person.press("Cancel the verification")
        check("Cancel the verification?")
        person.page.goto(f"{assure}/assure/capture/unknown")
        check("This link does not work")
        person.page.goto(f"{assure}/assure/capture/#/artifact=")  # cut off when it was copied
        check("This link does not work")
        assert faults == {}
        assert person.complaints == []


def test_the_keyboard_is_enough(assure: str, shop: RedirectTarget, chromium: Browser) -> None:
    """Tab, space, arrows and return; what has the focus is seen to have it."""
    with BrowserUser(chromium) as person:
        keys = person.page.keyboard

        def reach(name: str) -> None:
            """Tab until the focus is on what is called so."""
            for _ in range(12):
                keys.press("Tab")
                focus = person.page.locator(":focus")
                words = focus.evaluate("e => (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim()")
                if words.startswith(name):
                    outline = "e => getComputedStyle(e.closest('.choice, .file') ?? e).outlineStyle"
                    assert focus.evaluate(outline) == "solid", f"{name} does not show its focus"
                    return
            raise AssertionError(f"{name} cannot be reached")

        person.page.goto(new_link(assure, shop, "document"))
        reach("Begin")
        keys.press("Enter")
        person.sees_heading("Which country issued your document?")
        reach("Netherlands")
        keys.press("ArrowDown")
        reach("Continue")
        keys.press("Enter")
        person.sees_heading("Which document do you have?")
        reach("Passport")
        keys.press("Space")
        reach("Continue")
        keys.press("Enter")
        person.sees_heading("The page with your photo")
        reach("Upload a picture")
        reach("Use the specimen")
        keys.press("Enter")
        person.sees_heading("Is everything right?")
        expect(person.page.get_by_text("Norway")).to_be_visible()
        reach("Which outcome")
        reach("Send")
        keys.press("Enter")
        person.sees_heading("Welcome back")


def test_without_a_script_everything_works(assure: str, shop: RedirectTarget, chromium: Browser) -> None:
    with BrowserUser(chromium, PHONE, java_script_enabled=False) as person:
        link = new_link(assure, shop)
        person.page.goto(link)  # its last part is a fragment, which only a script can read
        person.sees_heading("Opening the link")
        person.page.get_by_label("Link").fill(link)
        person.press("Open")
        person.press("Begin")
        person.name_document("Portugal", "Driving licence")
        for side in ("front", "back"):
            person.sees_heading(f"The {side} of your document")
            expect(person.page.get_by_role("button", name="Take a picture")).to_be_hidden()
            person.page.get_by_label("Upload a picture").set_input_files(SPECIMENS / "card-front.png")
            person.press("Continue")
        person.sees_heading("Your face")
        person.press("Use the specimen")
        person.press("Change the picture for: front")
        expect(person.page.get_by_alt_text("The picture you gave")).to_be_visible()
        person.page.get_by_label("Upload another").set_input_files(SPECIMENS / "../../README.md")
        person.press("Continue")
        expect(person.page.get_by_role("alert")).to_contain_text("not a JPEG or PNG picture")
        person.press("Continue")  # keeps the earlier one
        for heading in ("The back of your document", "Your face"):
            person.sees_heading(heading)
            person.press("Continue")
        person.send("inconclusive")
        assert shop.visits[-1]["status"] == ["processing"]


def test_a_blocked_camera_is_reported_and_a_file_can_be_chosen(
    assure: str, shop: RedirectTarget, chromium: Browser
) -> None:
    with BrowserUser(chromium) as person:
        person.begin(new_link(assure, shop, "document"))
        person.name_document("Norway", "Passport")
        person.page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('no')); }")
        person.press("Take a picture")
        expect(person.page.get_by_role("status")).to_contain_text("The camera cannot be used.")
        person.upload(SPECIMENS / "passport-front.jpg")
        person.send()


def test_a_link_at_a_requested_domain_leads_to_the_page(assure: str, shop: RedirectTarget, chromium: Browser) -> None:
    """Browsers take every name below localhost for this machine. The script of the page follows the link's fragment."""
    with BrowserUser(chromium) as person:
        person.page.goto(new_link(assure, shop, "document", requestDomain="myapp.localhost"))
        person.sees_heading("Verify your identity")
        assert urlsplit(person.page.url).hostname == "myapp.localhost"
        person.press("Begin")
        person.name_document("Norway", "Passport")
        person.press("Use the specimen")
        person.send()
        assert person.complaints == []
