"""An event loop in which time is a number: it jumps to the next timer as soon as nobody can move without time.

So a day at Assure takes a moment, and the same seed takes the same turns: nothing here depends on how fast the machine
is. What would run in a thread runs in its turn instead. When everybody waits and no timer is set, nothing will ever
happen again, and `Stuck` is raised instead of waiting for it.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z, seconds since the epoch

_LEAST = 0.001  # seconds: epoll waits no shorter; a clock that goes at half the speed would be waited for for ever

T = TypeVar("T")


class Stuck(BaseException):
    """Everybody waits for something that will not come."""


class _Jumping(selectors.DefaultSelector):
    """Never waits: what it would have waited has passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Stuck
        self.passed += max(timeout, _LEAST)
        return ready


class _Inline(ThreadPoolExecutor):
    """Runs what it is given at once."""

    def submit(self, call: Callable[..., T], /, *arguments: Any, **keywords: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(call(*arguments, **keywords))
        except Exception as error:
            future.set_exception(error)
        return future


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` is seconds since it was made."""

    def __init__(self) -> None:
        self._selected = _Jumping()
        super().__init__(self._selected)
        self.set_default_executor(_Inline())

    def time(self) -> float:
        return self._selected.passed


class VirtualClock:
    """Implements `agent.ports.Clock`; call it for the sandbox's epoch seconds. Stands still while no loop runs."""

    confirmed = True

    def __init__(self) -> None:
        self._last = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        with contextlib.suppress(RuntimeError):
            self._last = asyncio.get_running_loop().time()
        return START + self._last

    __call__ = now

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        """Return when the event is set, or after that much time."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def play(play: Coroutine[Any, Any, T]) -> T:
    """Run it to its end in a loop of its own, and end whatever it left."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(play)
    finally:
        loop.run_until_complete(_end_all())
        loop.close()


async def _end_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
