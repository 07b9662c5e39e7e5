"""How a running agent comes to its end: it is told to, or something fails that it cannot go on with."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

from agent.core.errors import AgentError
from agent.platform.log import logger

T = TypeVar("T")


class Ending:
    """Whoever waits, waits for `asked` as well."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.failure: AgentError | None = None  # what ended it, when nobody told it to end

    def ask(self) -> None:
        """Ask for nothing new, save what is answered, and end."""
        self.asked.set()

    def failed(self, error: Exception) -> None:
        """Something went wrong in a loop. An error with a hint for a person ends the agent; a bug of ours does not."""
        if isinstance(error, AgentError):
            self.failure = error
            self.ask()
        logger().error("failed", error=f"{type(error).__name__}: {error}")

    async def unless_asked(self, call: Coroutine[None, None, T]) -> T | None:
        """What the call comes to, or None when we are told to end before."""
        tasks = asyncio.create_task(call), asyncio.create_task(self.asked.wait())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks[0].result() if not tasks[0].cancelled() else None
