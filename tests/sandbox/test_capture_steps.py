"""The steps of the capture page in a browser without scripts: forms and redirects only."""

from typing import Any

import httpx
import pytest

from agent.sandbox.capture.specimen import drawn
from agent.sandbox.config import DOCUMENTS

from .conftest import Begin
from .support import JPEG, PNG, Api

GERMAN_CARD = next(row.id for row in DOCUMENTS if (row.country, row.type) == ("DEU", "identityCard"))
PROVIDER = {"provider": "signicatpictureid", "processType": "document"}


class Visitor:
    """Follows redirects within the page, and stops at the first one that leaves it."""

    def __init__(self, api: Api, link: str) -> None:
        self.api = api
        self.link = link

    async def get(self, step: str = "") -> httpx.Response:
        return await self.api.http.get(f"{self.link}{step}", follow_redirects=True)

    async def answer(self, step: str, files: Any = None, **texts: str) -> str:
        """Answer one step. Return the next step, or the status of a refusal."""
        response = await self.api.http.post(f"{self.link}/{step}", data=texts, files=files)
        if response.status_code != 303:
            return f"{response.status_code}"
        assert response.headers["location"].startswith(httpx.URL(self.link).path)
        return response.headers["location"].rsplit("/", 1)[1]


async def visitor(api: Api, **more: Any) -> Visitor:
    return Visitor(api, await api.link(**more))


def process(api: Api) -> Any:
    (found,) = api.server.world.processes.values()
    return found


@pytest.fixture
async def api(begin: Begin) -> Api:
    return await begin(interactive=True)


async def test_the_steps_lead_from_the_welcome_to_the_shop(api: Api) -> None:
    person = await visitor(api, providers=[PROVIDER | {"processType": "documentSelfie"}])
    assert "Verify your identity" in (await person.get()).text
    assert await person.answer("country", country="DEU") == "document"
    assert await person.answer("document", document=str(GERMAN_CARD)) == "front"
    assert await person.answer("front", files={"front": ("f.png", PNG, "image/png")}) == "back"
    assert await person.answer("back", action="specimen") == "selfie"
    assert await person.answer("selfie", files={"selfie": ("s.jpg", JPEG, "image/jpeg")}) == "check"
    check = (await person.get("/check")).text
    assert "Identity card" in check
    assert "Germany" in check
    assert api.entry()["processes"][0]["starts"] == 0

    response = await api.http.post(person.link, data={"action": "done", "outcome": ""})
    assert response.headers["location"].startswith("https://shop.example/")
    assert api.entry()["processes"][0]["starts"] == 1
    sent = {name: image.content for name, image in process(api).images.items()}
    assert sent == {"front": PNG, "back": drawn("back", 2).content, "selfie": JPEG}
    assert process(api).country == "DEU"


async def test_a_later_step_redirects_to_the_first_open_step(api: Api) -> None:
    person = await visitor(api)
    for step in ("/document", "/front", "/check", "/back", "/nonsense"):
        assert "Which country" in (await person.get(step)).text
    assert await person.answer("front", files={"front": ("f.png", PNG, "image/png")}) == "country"
    assert process(api).images == {}
    await person.answer("country", country="NLD")
    assert "Which document" in (await person.get("/check")).text


async def test_a_document_in_the_link_skips_the_document_step(api: Api) -> None:
    person = await visitor(api, providers=[PROVIDER | {"documentId": 137}])
    welcome = (await person.get()).text
    assert "Passport, Netherlands" in welcome
    assert f"{httpx.URL(person.link).path}/front" in welcome
    assert "The page with your photo" in (await person.get("/country")).text
    assert await person.answer("front", action="specimen") == "check"
    assert "Change the country" not in (await person.get("/check")).text


async def test_the_default_country_is_chosen_already(api: Api) -> None:
    person = await visitor(api, captureParameters={"defaultCountry": "SWE"})
    page = (await person.get("/country")).text
    assert page.count("checked") == 1
    assert 'value="SWE" required checked' in " ".join(page.split())


async def test_another_document_drops_the_pictures_of_the_first(api: Api) -> None:
    person = await visitor(api)
    await person.answer("country", country="DEU")
    await person.answer("document", document=str(GERMAN_CARD))
    await person.answer("front", action="specimen")
    await person.answer("back", action="specimen")
    assert await person.answer("document", document=str(GERMAN_CARD)) == "front"
    assert set(process(api).images) == {"front", "back"}
    assert await person.answer("country", country="NLD") == "document"
    assert await person.answer("document", document="137") == "front"
    assert process(api).images == {}
    assert process(api).needed == ("front",)


@pytest.mark.parametrize(
    ("step", "texts"),
    [
        ("country", {"country": "XXX"}),
        ("country", {}),
        ("document", {"document": "1"}),
        ("document", {"document": str(GERMAN_CARD)}),  # of another country
        ("document", {"document": "<script>"}),
    ],
)
async def test_an_invalid_answer_is_refused_and_the_step_stays(api: Api, step: str, texts: dict[str, str]) -> None:
    person = await visitor(api)
    await person.answer("country", country="NLD")
    response = await api.http.post(f"{person.link}/{step}", data=texts)
    assert response.status_code == 400
    assert 'role="alert"' in response.text
    assert "<script>" not in response.text
    assert "Which document" in (await person.get("/check")).text


@pytest.mark.parametrize(
    ("content", "words"), [(b"%PDF", "not a JPEG or PNG"), (PNG + bytes(200), "too large"), (b"", "Take or upload")]
)
async def test_an_invalid_picture_is_refused_with_the_reason(begin: Begin, content: bytes, words: str) -> None:
    api = await begin(interactive=True, max_image_bytes=100)
    person = await visitor(api, providers=[PROVIDER | {"documentId": 137}])
    response = await api.http.post(f"{person.link}/front", files={"front": ("f.png", content, "image/png")})
    assert response.status_code == 400
    assert words in response.text
    assert process(api).images == {}


async def test_only_the_end_user_sees_the_picture(api: Api) -> None:
    person = await visitor(api, providers=[PROVIDER | {"documentId": 137}])
    assert (await api.http.get(f"{person.link}/front/picture")).status_code == 404
    await person.answer("front", files={"front": ("f.png", PNG, "image/png")})
    shown = await api.http.get(f"{person.link}/front/picture")
    assert (shown.content, shown.headers["content-type"]) == (PNG, "image/png")
    assert shown.headers["cache-control"] == "no-store"
    other = await visitor(api)
    assert (await api.http.get(f"{other.link}/front/picture")).status_code == 404


async def test_cancelling_asks_first(api: Api) -> None:
    person = await visitor(api)
    assert "Cancel the verification?" in (await person.get("/cancel")).text
    assert process(api).verdict is None


@pytest.mark.parametrize("end", ["deleted", "failed", "canceled"])
async def test_an_ended_flow_refuses_every_step(api: Api, end: str) -> None:
    person = await visitor(api, providers=[PROVIDER | {"documentId": 137}])
    await person.answer("front", files={"front": ("f.png", PNG, "image/png")})
    dossier, path = api.entry()["dossierId"], api.entry()["processes"][0]["processId"]
    if end == "deleted":
        await api.call("DELETE", f"/dossiers/{dossier}")
    elif end == "failed":
        await api.call("POST", f"/dossiers/{dossier}/processes/{path}/fail")
    else:
        await api.http.post(person.link, data={"action": "cancel"})
    for step in ("", "/country", "/front", "/check", "/cancel", "/front/picture"):
        response = await person.get(step)
        assert response.status_code == 404
        assert "This link does not work" in response.text
    assert await person.answer("front", action="specimen") == "404"


async def test_the_redirect_url_may_be_an_address_that_a_policy_cannot_name(api: Api) -> None:
    person = await visitor(api, redirectUrl="http://[::1]:8080/done")
    assert "form-action 'self' http:;" in (await person.get()).headers["content-security-policy"]


async def test_answers_survive_a_restart(begin: Begin, tmp_path: Any) -> None:
    api = await begin(interactive=True, persist=tmp_path / "sandbox.json")
    person = await visitor(api)
    await person.answer("country", country="DEU")
    await person.answer("document", document=str(GERMAN_CARD))
    await person.answer("front", files={"front": ("f.png", PNG, "image/png")})
    await api.server.stop()
    again = await begin(interactive=True, persist=tmp_path / "sandbox.json")
    later = Visitor(again, again.server.url + httpx.URL(person.link).path)
    assert "The back of your document" in (await later.get("/check")).text
