"""What an agent has around it where nothing watches a folder and nothing is served."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

from agent.source.watch import Hint


class NoHints:
    """A watch that never points at anything."""

    async def next(self, _: float | None = None) -> Hint:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError


@contextlib.contextmanager
def watching_nothing(*_: object) -> Iterator[NoHints]:
    """In place of `agent.source.watch.watching`."""
    yield NoHints()


@contextlib.asynccontextmanager
async def serving_nothing(*_: object, **__: object) -> AsyncIterator[str]:
    """In place of what listens on a port: it takes 0.2 s to end."""
    yield ""
