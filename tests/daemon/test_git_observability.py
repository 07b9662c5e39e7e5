"""A running agent with a git source: its metrics, its status page, and its hook. The git server is a fake."""

import httpx
import pytest

from agent.core.source_revision import FetchFailure, RevisionRefusal
from tests.daemon.test_metrics import metrics
from tests.support.environment import World
from tests.support.revisions import FakeGitSource
from tests.support.timeouts import PATIENT
from verification.builders.request_files import capture

TOKEN = "the-token-of-the-api"
SECRET = "the-secret-of-the-hook"
WEB = "https://git.example/team/requests"


@pytest.fixture
def fake(world: World) -> FakeGitSource:
    world.git = FakeGitSource(world.folder / "state" / "agent.source")
    world.switches |= {
        "source_url": f"{WEB}.git",
        "source_web_url": WEB,
        "source_hook_secret": SECRET,
        "events_listen": "127.0.0.1:0",
        "api_token": TOKEN,
    }
    return world.git


def file(name: str) -> dict[str, str]:
    return {f"{name}.yaml": capture(name, suspend=True)}


async def front(world: World) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
        return (await client.get(world.url, headers={"Authorization": f"Bearer {TOKEN}"})).text


async def source_metrics(world: World) -> dict[str, float]:
    """The values of the series that are not 0, by name and label."""
    found = {}
    for (name, labels), value in (await metrics(world)).items():
        if name.startswith("source_") and value and "bucket" not in name and "created" not in name:
            found[" ".join((name.removeprefix("source_"), *labels))] = value
    return found


async def test_metrics_and_page_follow_the_revision_a_refusal_and_a_failure(world: World, fake: FakeGitSource) -> None:
    first = fake.push(file("a"))
    async with world.running(http=True):
        await world.clock.advance(40)
        good = await source_metrics(world)
        assert good["interval_seconds"] == 30
        assert good["scan_complete"] == 1
        assert good["revision_timestamp_seconds"] > 0
        assert good["fetches_total ok"] >= 2
        assert good["fetch_duration_seconds_count"] == good["fetches_total ok"]
        assert not [name for name in good if name.startswith(("fetch_failing", "revision_refused"))]
        assert f'<a href="{WEB}/commit/{first}"><code>{first[:12]}</code></a>' in await front(world)

        head = fake.push(file("b"), refused=RevisionRefusal.NOT_DESCENDED)
        await world.clock.advance(40)
        refused = await source_metrics(world)
        assert refused["revision_refused not-descended"] == 1
        assert refused["revision_timestamp_seconds"] == good["revision_timestamp_seconds"]
        assert refused["fetched_timestamp_seconds"] > good["fetched_timestamp_seconds"]
        page = await front(world)
        assert f"The agent does not act on revision {head[:12]}" in page
        assert f'href="{WEB}/commit/{first}"' in page

        fake.failure = FetchFailure.AUTHENTICATION
        await world.clock.advance(400)
        failing = await source_metrics(world)
        assert failing["fetch_failing authentication"] == 1
        assert failing["fetched_timestamp_seconds"] < world.clock.now() - 360
        assert "The git server does not accept the credentials." in await front(world)

        fake.failure = None
        fake.push(file("c"))
        await world.clock.advance(40)
        again = await source_metrics(world)
        assert not [name for name in again if name.startswith(("fetch_failing", "revision_refused"))]
        assert "The git server does not accept" not in await front(world)
        assert [name for name in (*again, *failing) if first in name or head in name] == []


async def test_a_hook_makes_the_agent_fetch_at_once(world: World, fake: FakeGitSource) -> None:
    fake.push(file("a"))
    async with world.running(http=True, source_interval=3600.0) as agent:
        await world.clock.advance(5)
        before = len(fake.refreshes)
        fake.push(file("b"))
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            for token, status in (("forged", 401), (SECRET, 202)):
                await world.clock.advance(5)
                assert "b" not in world.records()
                answer = await client.post(f"{agent.events_url}/hooks/source", headers={"X-Gitlab-Token": token})
                assert answer.status_code == status
        await world.clock.advance(2)
        assert "b" in world.records()
        assert len(fake.refreshes) == before + 1
        assert (await source_metrics(world))["hooks_total accepted"] == 1
