"""The page and the API of a running agent: they show state that only the agent has."""

import httpx

from tests.support.environment import World
from tests.support.faults import rule
from tests.support.timeouts import PATIENT


async def get(world: World, path: str) -> httpx.Response:
    """With the token."""
    bearer = {"Authorization": "Bearer the-token-of-the-api"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENT, headers=bearer) as client:
        return await client.get(f"{world.url}{path}")


async def test_an_open_circuit_is_on_the_page_until_assure_answers(world: World) -> None:
    for number in range(12):
        world.upload(f"a-{number}")
    silent = ("createDossier", "getDossiers", "getAllProcess")
    world.sandbox.faults.add([rule(operation, "503", every=1, acts=False) for operation in silent])
    async with world.running(http=True, api_token="the-token-of-the-api"):
        await world.clock.advance(120)
        page = (await get(world, "/")).text
        assert "The circuit is open" in page
        assert "Assure does not answer" in page
        assert "Calls to Assure have failed for" in page
        assert "HTTP 503 at http://127.0.0.1" in page
        world.sandbox.faults.clear()
        await world.clock.advance(300)
        assert "The circuit is open" not in (await get(world, "/")).text
    world.check()


async def test_the_budget_and_the_answers_of_assure_are_those_of_the_agent(world: World) -> None:
    world.upload("a")
    async with world.running(http=True, max_starts_per_day=50, api_token="the-token-of-the-api"):
        await world.clock.advance(30)
        page = (await get(world, "/")).text
        assert "<strong>49</strong> of 50 starts left." in page
        assert "none failed" in page
        reported = (await get(world, "/api/requests/a")).json()
        assert (reported["outcome"], reported["uid"]) == ("accepted", world.record("a").uid)
        assert f'href="./requests/{reported["uid"]}"' in page
