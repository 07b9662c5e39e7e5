"""Hosted capture flows (contract §10): the link, the simulated end user, and the page for a real one."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.links import page_of

from .conftest import Begin
from .support import EVERYTHING, JPEG, PNG, Api

PROVIDER = {"provider": "signicatpictureid", "processType": "document"}
GOOD = {"providers": [PROVIDER], "sdk": "capture", "redirectUrl": "https://shop.example/done"}


async def processes(api: Api) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await api.call("GET", "/processes", params=EVERYTHING)).json()["processes"]
    return rows


async def statuses(api: Api) -> list[str]:
    return [row["status"] for row in await processes(api)]


async def test_a_simulated_end_user_completes_the_flow_after_the_delay(api: Api) -> None:
    await api.link()
    assert await statuses(api) == ["pending"]
    api.clock.advance(3.9)
    assert await statuses(api) == ["pending"]
    api.clock.advance(0.1)
    assert await statuses(api) == ["processing"]
    api.clock.advance(10)
    (row,) = await processes(api)
    assert (row["status"], row["updatedAt"]) == ("accepted", "2023-11-14T22:13:34Z")
    body = await api.read(f"/dossiers/{row['dossier']['dossierId']}/processes/{row['processId']}")
    assert body["depictions"] == ["front"]
    assert api.entry()["captures"] == api.entry()["processes"][0]["starts"] == 1


async def test_an_overdue_action_happened_when_it_was_due(api: Api) -> None:
    await api.link()
    api.clock.advance(600 - 1)
    assert [row["updatedAt"] for row in await processes(api)] == ["2023-11-14T22:13:34Z"]


async def test_the_process_can_wait_for_the_link_to_be_opened(begin: Begin) -> None:
    api = await begin(capture_process="at-open")
    await api.link()
    assert await statuses(api) == []
    api.clock.advance(2)
    assert await statuses(api) == ["pending"]
    api.clock.advance(2)
    assert await statuses(api) == ["processing"]


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ("accepted", "accepted"),
        ("rejected", "rejected"),
        ("inconclusive", "inconclusive"),
        ("failed", "failed"),
        ("canceled", "canceled"),
        ("abandoned", "pending"),
    ],
)
async def test_the_profile_chooses_how_the_flow_ends(api: Api, wish: str, status: str) -> None:
    await api.link(captureParameters={"uiProfile": f"sandbox-outcome-{wish}"})
    api.clock.advance(500)
    assert await statuses(api) == [status]
    assert api.entry()["processes"][0]["starts"] == (wish not in ("canceled", "abandoned"))


async def test_a_deleted_dossier_ends_its_flows(api: Api) -> None:
    link = await api.link()
    await api.call("DELETE", "/dossiers/" + api.entry()["dossierId"])
    api.clock.advance(500)
    assert await statuses(api) == []
    assert (await api.http.get(link)).status_code == 404


@pytest.mark.parametrize(
    "sent",
    [
        None,
        {},
        GOOD | {"providers": []},
        GOOD | {"providers": [PROVIDER, PROVIDER]},
        GOOD | {"providers": ["signicatpictureid"]},
        GOOD | {"providers": [{"provider": "onfido"}]},
        GOOD | {"providers": [PROVIDER | {"processType": "high"}]},
        GOOD | {"providers": [PROVIDER | {"surprise": 1}]},
        GOOD | {"providers": [PROVIDER | {"documentId": 1}]},
        GOOD | {"sdk": "other"},
        GOOD | {"redirectUrl": None},
        GOOD | {"redirectUrl": "/done"},
        GOOD | {"redirectUrl": "javascript:alert(1)"},
        GOOD | {"redirectUrl": "https://user@shop.example/"},
        GOOD | {"redirectUrl": "https://shop.example;script-src */"},
        GOOD | {"redirectUrl": "https://[::1"},
        GOOD | {"redirectUrl": "https://shop.example/\r\nSet-Cookie: a=b"},
        GOOD | {"captureParameters": {"surprise": 1}},
        GOOD | {"captureParameters": {"uiProfile": 7}},
        GOOD | {"eventTags": [7]},
        GOOD | {"surprise": 1},
    ],
)
async def test_an_invalid_flow_is_400_and_creates_nothing(api: Api, sent: dict[str, Any] | None) -> None:
    dossier = await api.dossier()
    assert (await api.call("POST", f"/dossiers/{dossier}/capture", json=sent)).status_code == 400
    assert await statuses(api) == []
    assert api.entry()["captures"] == 0


async def test_the_sdk_can_be_required(begin: Begin) -> None:
    for needed, status in ((False, 201), (True, 400)):
        api = await begin(capture_needs_sdk=needed)
        sent = {name: value for name, value in GOOD.items() if name != "sdk"}
        assert (await api.call("POST", f"/dossiers/{await api.dossier()}/capture", json=sent)).status_code == status


async def test_the_page_warns_of_the_simulator_and_loads_nothing(begin: Begin) -> None:
    api = await begin(interactive=True)
    link = await api.link(redirectUrl="https://shop.example:8443/x?q=<script>")
    response = await api.http.get(link)
    assert "This is a simulator" in response.text
    assert all(where.startswith("/") for where in re.findall(r'(?:src|href)="([^"]*)"', response.text))
    assert not re.search(r"style=|<style|<script>|\son\w+=|url\(|@import|&lt;script&gt;", response.text)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "form-action 'self' https://shop.example:8443;" in policy
    assert response.headers["cache-control"] == "no-store"


def place(response: Any) -> tuple[str, dict[str, list[str]]]:
    assert response.status_code == 303
    parts = urlsplit(response.headers["location"])
    return f"{parts.scheme}://{parts.netloc}{parts.path}", parse_qs(parts.query)


async def test_a_person_uploads_and_is_sent_back(begin: Begin) -> None:
    api = await begin(interactive=True)
    link = await api.link(redirectUrl="https://shop.example/done?order=7")
    api.clock.advance(500)
    files = {"front": ("f.png", PNG + b"\r\n--\r\nsandbox-outcome=rejected\r\n", "image/png")}
    response = await api.http.post(link, data={"action": "done", "outcome": ""}, files=files)
    where, query = place(response)
    (row,) = await processes(api)
    assert where == "https://shop.example/done"
    assert query == {
        "order": ["7"],
        "dossierId": [row["dossier"]["dossierId"]],
        "processId": [row["processId"]],
        "status": ["processing"],
    }
    path = f"/dossiers/{query['dossierId'][0]}/processes/{query['processId'][0]}"
    image = await api.call("GET", f"{path}/images", params={"depiction": "front"})
    assert image.content == files["front"][1]
    api.clock.advance(10)
    assert await statuses(api) == ["rejected"]


@pytest.mark.parametrize("chosen", ["accepted", "rejected", "inconclusive", "failed"])
async def test_a_person_can_choose_the_outcome_without_a_picture(begin: Begin, chosen: str) -> None:
    api = await begin(interactive=True, capture_process="at-open")
    link = await api.link(captureParameters={"uiProfile": "sandbox-outcome-abandoned"})
    assert await statuses(api) == []
    await api.http.get(link)
    assert await statuses(api) == ["pending"]
    place(await api.http.post(link, data={"action": "done", "outcome": chosen}))
    api.clock.advance(10)
    assert await statuses(api) == [chosen]


async def test_cancel_cancels_and_a_link_works_once(begin: Begin) -> None:
    api = await begin(interactive=True)
    link = await api.link()
    _, query = place(await api.http.post(link, data={"action": "cancel"}))
    assert query["status"] == ["canceled"]
    assert await statuses(api) == ["canceled"]
    assert (await api.http.post(link, data={"action": "done"})).status_code == 404
    assert (await api.http.get(link)).status_code == 404
    assert api.entry()["processes"][0]["starts"] == 0


async def test_an_invalid_picture_is_refused_and_the_link_stays_valid(begin: Begin) -> None:
    api = await begin(interactive=True)
    link = await api.link()
    files = {"front": ("f.pdf", b"%PDF", "application/pdf")}
    assert (await api.http.post(link, data={"action": "done"}, files=files)).status_code == 400
    assert await statuses(api) == ["pending"]
    good = {"front": ("f.jpg", JPEG, "image/jpeg"), "selfie": ("", b"", "application/octet-stream")}
    place(await api.http.post(link, data={"action": "done"}, files=good))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("multipart/form-data", b"--x--"),
        ("multipart/form-data; boundary=x", b"neither a boundary nor a part"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Type: text/plain\r\n\r\na part without a name\r\n--x--"),
    ],
)
async def test_a_malformed_form_is_refused_and_the_link_stays_valid(begin: Begin, kind: str, content: bytes) -> None:
    api = await begin(interactive=True)
    link = await api.link()
    response = await api.http.post(link, content=content, headers={"content-type": kind})
    assert response.status_code == 400
    assert await statuses(api) == ["pending"]
    place(await api.http.post(link, data={"action": "done"}))


async def test_a_script_may_send_a_picture_without_a_file_name(begin: Begin) -> None:
    api = await begin(interactive=True)
    link = await api.link()
    head = b'--x\r\nContent-Disposition: form-data; name="front"\r\n\r\n'
    content = head + PNG + b"sandbox-outcome=rejected\r\n--x--\r\n"
    place(await api.http.post(link, content=content, headers={"content-type": "multipart/form-data; boundary=x"}))
    api.clock.advance(10)
    assert await statuses(api) == ["rejected"]


async def test_a_real_end_user_may_be_faster_than_the_simulated_one(api: Api) -> None:
    link = await api.link()
    place(await api.http.post(link, data={"action": "done", "outcome": "rejected"}))
    api.clock.advance(500)
    assert await statuses(api) == ["rejected"]
    assert api.entry()["processes"][0]["starts"] == 1


async def test_the_link_has_the_vendors_form_and_opens_the_page(begin: Begin) -> None:
    """A browser sends no fragment. A script redirects to the address, and without a script the end user pastes the
    link."""
    api = await begin(interactive=True)
    link = await api.shown_link()
    address, _, token = link.partition("#/artifact=")
    assert address == f"{api.server.url}/assure/capture/"
    assert re.fullmatch(r"[0-9a-z]{50,}", token)
    first = await api.http.get(link)
    assert "Paste the whole link here" in first.text
    assert token not in first.text
    for pasted in (link, token, f" {link} "):
        page = await api.http.get("/assure/capture/", params={"artifact": pasted}, follow_redirects=True)
        assert "Verify your identity" in page.text
    for wrong in ("https://elsewhere.example/x", "../../dossiers", "a b"):
        page = await api.http.get("/assure/capture/", params={"artifact": wrong}, follow_redirects=True)
        assert "This link does not work" in page.text


async def test_the_link_is_at_the_domain_that_was_requested(api: Api) -> None:
    port = urlsplit(api.server.url).port
    link = await api.shown_link(requestDomain="myapp.app.signicat.com")
    assert link.startswith(f"http://myapp.app.signicat.com:{port}/assure/capture/#/artifact=")
    page = await api.http.get(page_of(link).replace("myapp.app.signicat.com", "127.0.0.1"))
    assert page.status_code == 200


@pytest.mark.parametrize("domain", ["https://myapp.example", "a b", "myapp.example/x", "-a.example", "a..b", "x" * 254])
async def test_a_requested_domain_is_a_host_name(api: Api, domain: str) -> None:
    sent = GOOD | {"requestDomain": domain}
    assert (await api.call("POST", f"/dossiers/{await api.dossier()}/capture", json=sent)).status_code == 400
