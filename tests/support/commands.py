"""Commands to the agent, through its socket while it runs and through its store otherwise (design §9)."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from unittest import mock

import orjson
import pytest

from agent.daemon import offline
from agent.daemon.agent import Agent
from agent.daemon.control_socket import short_socket_path, socket_path
from tests.support.clock import patiently
from tests.support.environment import World

Answer = dict[str, Any]
BOTH = pytest.mark.parametrize("through", ["socket", "store"])
UNKNOWN = 4  # a document id that Assure refuses: held
OTHER = 9004  # another passport, in the sandbox's table


async def send(world: World, line: bytes, state: Path | None = None) -> bytes:
    """Send one line to the running agent; returns the answer, or b"" when it closes the connection."""
    with short_socket_path(socket_path(state or world.settings().local_path)) as name:
        reader, writer = await asyncio.open_unix_connection(name)
    try:
        writer.write(line + b"\n")
        return await patiently(reader.readline())
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(world: World, verb: str, command_id: str = "command-1", **arguments: Any) -> Answer:
    """The answer of the running agent to a command."""
    answer = await send(world, orjson.dumps({"id": command_id, "verb": verb, **arguments}))
    assert answer, "it hung up"
    found: Answer = orjson.loads(answer)
    return found


async def execute_offline(world: World, verb: str, command_id: str = "command-1", **arguments: Any) -> Answer:
    """The answer to a command while no agent runs."""
    request = {"id": command_id, "verb": verb, **arguments}
    with (
        mock.patch.object(offline, "SystemClock", lambda: world.clock),
        mock.patch.object(offline, "source_of", world.source_of),
    ):
        return await asyncio.to_thread(offline.execute_offline, world.settings(), request)


async def send_through(world: World, through: str, verb: str, times: int = 1, **arguments: Any) -> Answer:
    """Send the same command several times and let the agent work; every answer must be the same."""
    answers = []
    if through == "socket":
        async with world.running():
            for _ in range(times):
                answers.append(await ask(world, verb, **arguments))
                await world.clock.advance(60)
    else:
        for _ in range(times):
            answers.append(await execute_offline(world, verb, **arguments))
            await world.settle()
    assert answers == [answers[0]] * times
    return answers[0]


def refused(answer: Answer, *parts: str) -> None:
    assert answer["ok"] is False
    assert answer["hint"]
    for part in parts:
        assert part in answer["message"]


def commands(world: World) -> int:
    return int(world.rows("SELECT count(*) FROM commands")[0][0])


async def obeyed_in_time(world: World, verb: str, **arguments: Any) -> Answer:
    """Send a command while time passes, so that a wait for a commit can time out."""
    async with world.running():
        world.clock.release()
        return await ask(world, verb, **arguments)


async def scanned(world: World, agent: Agent, times: int = 4) -> None:
    for _ in range(times):
        await agent.scan()
        await world.clock.advance(10)
