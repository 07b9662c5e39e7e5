"""The shutdown of a running agent, after a request or a fatal error."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from agent.core.errors import AgentError, Moved
from agent.platform.log import logger

T = TypeVar("T")


class Shutdown:
    """The state of the shutdown. Every wait also waits for `requested`."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.failure: AgentError | None = None  # the error that caused the shutdown

    def request(self) -> None:
        """Request the shutdown: the agent sends no new calls, saves the open answers, and ends."""
        self.requested.set()

    def fail(self, error: Exception) -> None:
        """Report an error of a loop. An AgentError ends the agent; any other exception is a bug and is only logged.

        A record that another replica changed does not end the agent: the loop reads it again.
        """
        if isinstance(error, AgentError) and not isinstance(error, Moved):
            self.failure = error
            self.request()
        logger().error("failed", error=f"{type(error).__name__}: {error}")

    async def run_until_requested(self, call: Coroutine[None, None, T]) -> T | None:
        """The result of the call, or None if the shutdown is requested first."""
        tasks = asyncio.create_task(call), asyncio.create_task(self.requested.wait())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks[0].result() if not tasks[0].cancelled() else None
