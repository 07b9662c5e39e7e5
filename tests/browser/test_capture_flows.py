"""People click through the hosted capture page in Chromium while the installed agent waits for them.

Each flow ends as the person ended it, the request settles, and the dossier is deleted [I1, I3].
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.acceptance.installed_command import Office, picture
from tests.browser.browser_user import PHONE, BrowserUser
from tests.browser.redirect_target import RedirectTarget
from tests.support.timeouts import eventually

SPECIMENS = Path(__file__).parents[2] / "images/specimens"


@pytest.fixture(scope="module")
def agent(office: Office, chromium: Browser) -> Iterator[Office]:
    """The office with the agent at work."""
    with office.running():
        yield office


def link(office: Office, name: str, shop: RedirectTarget, process_type: str = "document") -> str:
    """Write a capture request and wait for its link."""
    office.write(name, processType=process_type, capture={"redirectUrl": shop.url})
    eventually(lambda: office.offers(name), lambda: "no link came")
    found = office.link(name)
    assert found is not None
    return found


def settled(office: Office, name: str) -> dict[str, Any]:
    """Wait until the request is done; its row, and its dossier's in the ledger."""
    eventually(lambda: office.seen()[name]["state"] == "done", lambda: office.seen()[name])
    item = office.seen()[name]
    (dossier,) = [row for row in office.ledger()["dossiers"] if row["externalReference"] == item["externalReference"]]
    assert dossier["deletedAt"] is not None
    return {"outcome": item["outcome"], "starts": [row["starts"] for row in dossier["processes"]], **dossier}


def test_an_end_user_on_a_phone_is_accepted(agent: Office, shop: RedirectTarget, chromium: Browser) -> None:
    """Three pictures: a side of the card from the disk, the specimen for the other, the face by the camera."""
    where = link(agent, "accepted", shop, "documentSelfie")
    with BrowserUser(chromium, PHONE, is_mobile=True, has_touch=True) as person:
        person.begin(where)
        person.name_document("Germany", "Identity card")
        person.sees_heading("The front of your document")
        person.upload(SPECIMENS / "card-front.png")
        person.sees_heading("The back of your document")
        person.press("Use the specimen")
        person.sees_heading("Your face")
        person.photograph()
        person.send("accepted")
        assert person.complaints == []
    end = settled(agent, "accepted")
    assert (end["outcome"], end["starts"], end["resultRead"]) == ("accepted", [1], True)
    assert shop.visits[-1] == {
        "order": ["7"],
        "dossierId": [end["dossierId"]],
        "processId": [end["processes"][0]["processId"]],
        "status": ["processing"],
    }


def test_an_end_user_at_a_desk_is_rejected_for_the_content_of_the_picture(
    agent: Office, shop: RedirectTarget, chromium: Browser
) -> None:
    with BrowserUser(chromium) as person:
        person.begin(link(agent, "rejected", shop))
        person.name_document("Netherlands", "Passport")
        person.sees_heading("The page with your photo")
        person.upload(agent.folder / "images" / picture(agent.folder / "images", "rejected"))
        person.send()
    end = settled(agent, "rejected")
    assert (end["outcome"], end["starts"]) == ("rejected", [1])


def test_an_end_user_who_cancels_is_not_verified(agent: Office, shop: RedirectTarget, chromium: Browser) -> None:
    with BrowserUser(chromium) as person:
        person.begin(link(agent, "canceled", shop))
        person.name_document("Norway", "Driving licence")
        person.press("Cancel the verification")
        person.sees_heading("Cancel the verification?")
        person.press("No, go on")
        person.sees_heading("The front of your document")
        person.press("Cancel the verification")
        person.press("Yes, cancel it")
        person.sees_heading("Welcome back")
    end = settled(agent, "canceled")
    assert (end["outcome"], end["starts"]) == ("canceled", [0])
    assert shop.visits[-1]["status"] == ["canceled"]


def test_an_end_user_who_leaves_the_page_leaves_nothing_behind(
    agent: Office, shop: RedirectTarget, chromium: Browser
) -> None:
    """At the deadline, moved here by an edit, the dossier goes with the pictures in it; the page leads nowhere."""
    visits = len(shop.visits)
    with BrowserUser(chromium) as person:
        person.begin(link(agent, "abandoned", shop))
        person.name_document("Belgium", "Passport")
        person.page.locator("input[type=file]").set_input_files(SPECIMENS / "passport-front.jpg")
        agent.write("abandoned", processType="document", capture={"redirectUrl": shop.url}, deadline="1s")
        end = settled(agent, "abandoned")
        person.press("Continue")
        person.sees_heading("This link does not work")
    assert (end["outcome"], end["starts"]) == ("expired", [0])
    assert len(shop.visits) == visits
