"""Virtual time is held while an agent waits for a real socket or another process."""

import contextlib
from collections.abc import Callable, Coroutine, Iterator
from typing import Any
from unittest import mock

from agent.store.postgres.persistence import Persistence
from tests.support.clock import VirtualClock


@contextlib.contextmanager
def holding(clock: VirtualClock, owner: object, *methods: str, loop: bool = True) -> Iterator[None]:
    """Hold time while one of these coroutine methods of an object or a class runs. `loop`: one loop calls them all."""
    running = 0

    def counted(method: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def run(*arguments: Any, **options: Any) -> Any:
            nonlocal running
            running += 1
            try:
                return await method(*arguments, **options)
            finally:
                running -= 1

        return run

    with contextlib.ExitStack() as held:
        for name in methods:
            held.enter_context(mock.patch.object(owner, name, counted(getattr(owner, name))))
        held.enter_context(clock.watch(lambda: running, loop))
        yield


def asking(clock: VirtualClock) -> contextlib.AbstractContextManager[None]:
    """Hold time while a database is asked. SQLite answers without a wait."""
    return holding(clock, Persistence, "ask", loop=False)
