"""The world of these tests keeps its promise: time passes only when a test lets it, or while everybody waits for it."""

import asyncio

import pytest

from tests.support.environment import World


async def test_no_time_passes_while_an_agent_ends(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop waits for a poll in 900 s; the clock must not jump there while the agent ends."""
    world.upload("a", "sandbox-delay=120m")
    async with world.running() as agent:
        await world.clock.advance(60)
        began, drain = world.clock.now(), agent._drain

        async def slowly(driving: asyncio.Task[None]) -> None:
            await asyncio.sleep(0.01)  # real time, in which the clock could run ahead
            await drain(driving)

        monkeypatch.setattr(agent, "_drain", slowly)
    assert world.clock.now() == began
