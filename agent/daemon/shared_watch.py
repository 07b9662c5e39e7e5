"""The watch of a shared store: other replicas and commands change it without an event in this process."""

import asyncio
from collections.abc import Callable

_INTERVAL = 1.0  # seconds of real time: a virtual clock that jumps a day must not stop at each second


async def watch_shared(*wakes: Callable[[], None]) -> None:
    """Once a second, let the loops check what is due."""
    while True:
        await asyncio.sleep(_INTERVAL)
        for wake in wakes:
            wake()
