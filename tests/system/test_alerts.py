"""Alerts on what takes a quarter of an hour, with the agent's time virtual and Prometheus' real."""

import asyncio

import pytest

from grafana.prometheus_server import MISSING, REASON, VERY_QUICK, eventually, running
from tests.support.environment import World
from tests.support.faults import rule


@pytest.mark.skipif(MISSING, reason=REASON)
async def test_failing_deletions_raise_an_alert(world: World) -> None:
    """Time in the agent is virtual, so that a quarter of an hour passes at once."""
    world.sandbox.faults.add([rule("deleteDossier", "500", every=1)])
    world.upload("a")
    async with world.running(http=True):
        await world.clock.advance(1_500)
        target = world.url.removeprefix("http://")

        def fires() -> None:
            with running(world.folder / "prometheus", target, VERY_QUICK) as prometheus:
                eventually(lambda: "AssureAgentDeletionsOverdue" in prometheus.firing())

        await asyncio.to_thread(fires)
