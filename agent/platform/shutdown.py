"""How a running agent comes to its end: it is told to, or something fails that it cannot go on with."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from agent.core.errors import AgentError
from agent.platform.log import logger

T = TypeVar("T")


class Shutdown:
    """Whoever waits, waits for `requested` as well."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.failure: AgentError | None = None  # what ended it, when nobody told it to end

    def request(self) -> None:
        """Ask for nothing new, save what is answered, and end."""
        self.requested.set()

    def fail(self, error: Exception) -> None:
        """Something went wrong in a loop. An error with a hint for a person ends the agent; a bug of ours does not."""
        if isinstance(error, AgentError):
            self.failure = error
            self.request()
        logger().error("failed", error=f"{type(error).__name__}: {error}")

    async def run_until_requested(self, call: Coroutine[None, None, T]) -> T | None:
        """What the call comes to, or None when we are told to end before."""
        tasks = asyncio.create_task(call), asyncio.create_task(self.requested.wait())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks[0].result() if not tasks[0].cancelled() else None
