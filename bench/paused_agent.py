"""An agent that is paused until it has admitted all files, so that its lifecycles are measured apart from the scan."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from agent.core.record import Phase
from agent.core.step import Step
from agent.daemon.agent import Agent
from agent.platform.log import configure
from agent.platform.settings import Settings
from agent.ports import MetaKey
from agent.store import open_store
from bench.plain_calls import CONCURRENCY
from bench.request_files import FRONT, request
from verification.builders.pictures import noise
from verification.builders.request_files import write
from verification.builders.settings import settings


class Progress:
    """Counts the requests that the agent admitted and finished. `on_done` runs after the last step of the last one."""

    def __init__(self, files: int, on_done: Callable[[], None]) -> None:
        self._files = files
        self._on_done = on_done
        self._admitted: set[str] = set()
        self._done: set[str] = set()

    def seen(self, step: Step) -> None:
        """Receive a committed step."""
        uid = step.record.uid
        self._admitted.add(uid)
        if step.record.phase is Phase.DONE and uid not in self._done:
            self._done.add(uid)
            if len(self._done) == self._files:
                self._on_done()

    async def admitted(self, agent: Agent) -> None:
        """Wait until every file is admitted."""
        while len(self._admitted) < self._files or not agent.reconciler.idle:
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def paused_agent(files: int, url: str, progress: Progress, **others: Any) -> AsyncIterator[Agent]:
    """Open an agent that is paused, so that it admits the files before its first call. `others` are settings."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder / FRONT, noise())
        for number in range(files):
            write(folder / "specs" / f"{number}.yaml", request(f"person-{number}"))
        await asyncio.sleep(0.3)  # files settle before they are read
        configure("json", "error")
        place = {"state_dir": folder / "state"} if "state_url" in others else {}
        known = Settings(**settings(folder, url, concurrency=CONCURRENCY, **place, **others))
        store = await open_store(known, None)
        await store.remember(MetaKey.PAUSED, time.time())
        await store.aclose()
        async with Agent.opened(known, progress.seen) as agent:
            yield agent


async def run_lifecycles(agent: Agent, progress: Progress, start: Callable[[], None]) -> None:
    """Run the agent until it is stopped. `start` is called before its first call."""
    running = asyncio.create_task(agent.run())
    await progress.admitted(agent)
    start()
    agent.reconciler.paused = False
    await running
