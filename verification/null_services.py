"""Replacements for the watch and the HTTP service of an agent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator


@contextlib.contextmanager
def watch_nothing(*_: object) -> Iterator[asyncio.Event]:
    """A replacement for `agent.source.watch.watching`: no event is ever reported."""
    yield asyncio.Event()


@contextlib.asynccontextmanager
async def serve_nothing(*_: object, **__: object) -> AsyncIterator[str]:
    """A replacement for the HTTP service, which takes 0.2 s to end."""
    yield ""
