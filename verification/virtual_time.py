"""An event loop with virtual time, which jumps to the next timer when no task can continue without time.

A simulated day takes a moment, and the same seed repeats the same run, independent of the machine. Work for a thread
runs at once in the loop. When all tasks wait and no timer is set, the loop raises `Deadlock`.
"""

import asyncio
import contextlib
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z, seconds since the epoch

_LEAST = 0.001  # seconds: epoll waits no shorter. With half of it, a wait might never end

T = TypeVar("T")


class Deadlock(BaseException):
    """All tasks wait, and no timer is set."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits. It adds the timeout to the virtual time instead."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock
        self.passed += max(timeout, _LEAST)
        return ready


class _InlineExecutor(ThreadPoolExecutor):
    """Runs each call at once."""

    def submit(self, call: Callable[..., T], /, *arguments: Any, **keywords: Any) -> "Future[T]":
        future: Future[T] = Future()
        try:
            future.set_result(call(*arguments, **keywords))
        except Exception as error:
            future.set_exception(error)
        return future


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` returns the virtual seconds since its creation."""

    def __init__(self) -> None:
        self._selected = _JumpingSelector()
        super().__init__(self._selected)
        self.set_default_executor(_InlineExecutor())

    def time(self) -> float:
        return self._selected.passed


class VirtualClock:
    """Implements `agent.ports.Clock`. Call it for the sandbox's epoch seconds. Time does not pass without a running
    loop."""

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
        """Return when the event is set, or after the given seconds."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return


def run_virtual(play: Coroutine[Any, Any, T], new_loop: Callable[[], VirtualLoop] = VirtualLoop) -> T:
    """Run the coroutine in its own loop, and cancel the tasks that it left."""
    loop = new_loop()
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
