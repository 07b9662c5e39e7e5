"""A client that was written for the real Assure works against the simulator, unchanged."""

import json
import urllib.request
from typing import Any

import httpx
import pytest

from tests.acceptance.third_party_client import Application
from tests.support.links import page_of
from tests.support.timeouts import PATIENT, eventually
from verification.processes import simulated

SECRET = "of the subscription"


def person(link: str, outcome: str) -> None:
    """Somebody without a script in their browser, who fills in the forms and ends up at the application."""
    link = page_of(link)
    with httpx.Client(follow_redirects=True, trust_env=False, timeout=PATIENT) as browser:
        assert "Verify your identity" in browser.get(link).text
        page = browser.post(f"{link}/country", data={"country": "NOR"}).text
        passport = page.split('name="document" value="')[1].split('"')[0]
        browser.post(f"{link}/document", data={"document": passport})
        for picture in ("front", "selfie"):
            browser.post(f"{link}/{picture}", data={"action": "specimen"})
        wish = {"action": "cancel"} if outcome == "canceled" else {"action": "done", "outcome": outcome}
        assert "Thank you" in browser.post(link, data=wish).text


def tell(url: str, body: object, method: str) -> Any:
    """Steer the simulator."""
    request = urllib.request.Request(url, json.dumps(body).encode(), method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize("outcome", ["accepted", "rejected", "canceled"])
def test_a_third_party_verifies_a_person_through_the_capture_flow(outcome: str) -> None:
    """Link, return with the three parameters, event, result, deletion."""
    with (
        simulated({"interactive": "", "delay": "200ms"}) as url,
        Application(url, "sandbox-client", "sandbox-secret", SECRET) as application,
    ):
        tell(f"{url}/sandbox/events", {"url": f"{application.url}/events", "secret": SECRET}, "PUT")
        tell(f"{url}/sandbox/faults", [{"operation": "event", "kind": "double"}], "POST")
        person(application.send_to_capture("order-7"), outcome)

        (back,) = application.returned
        assert set(back) == {"session", "dossierId", "processId", "status"}
        assert back["status"] == ("canceled" if outcome == "canceled" else "processing")
        assert application.result(back["dossierId"], back["processId"])["status"] == outcome

        eventually(lambda: application.events)
        (event,) = application.events.values()
        assert (event["eventName"], event["tags"]) == ("process.complete", ["web-application"])
        assert event["eventData"]["externalReference"] == "order-7"
        assert application.forged == 0
        assert application.forget(back["dossierId"]) == 404
        with urllib.request.urlopen(f"{url}/sandbox/ledger") as answer:
            assert json.load(answer)["violations"] == []
