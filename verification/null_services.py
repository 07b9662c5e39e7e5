"""Replacements for the watch and the HTTP service of an agent."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator


@contextlib.contextmanager
def watch_nothing(*_: object) -> Iterator[asyncio.Event]:
    """Replace `agent.source.watch.watching`. It never reports an event."""
    yield asyncio.Event()


@contextlib.asynccontextmanager
async def serve_nothing(*_: object, **__: object) -> AsyncIterator[str]:
    """Replace the HTTP service. It takes 0.2 s to end."""
    yield ""
