"""Simulated processes in one event loop: each can be stopped, continued and killed, as the kernel does it.

The context of a task says to which process it belongs. A stopped process executes nothing: the loop keeps its callbacks
and its timers until the process continues. Tasks without a process belong to the network and to the servers.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any
from weakref import WeakSet

from verification.crash_points import CrashPoints
from verification.virtual_time import VirtualLoop

_PROCESS: ContextVar["Process | None"] = ContextVar("process", default=None)


class Process:
    """One life of an agent on a machine of its own.

    Its boot time differs from the clock of the server by an unknown offset, and runs at another rate.
    """

    def __init__(self, name: str, crash_points: CrashPoints, now: Callable[[], float], offset: float, rate: float):
        self.name = name
        self.crash_points = crash_points
        self.stopped = False
        self.ended = asyncio.Event()  # set when the process is killed
        self.tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._held: list[tuple[asyncio.Handle, asyncio.TimerHandle | None]] = []
        self._now, self._began, self._offset, self._rate = now, now(), offset, rate

    @property
    def dead(self) -> bool:
        """True if the process was killed."""
        return self.crash_points.dead

    def boot_time(self) -> float:
        """CLOCK_BOOTTIME of its machine, in seconds."""
        return self._offset + self._rate * (self._now() - self._began)

    def seconds_until(self, boot_time: float) -> float:
        """The seconds of the server's clock until the machine has this boot time."""
        return max(0.0, (boot_time - self.boot_time()) / self._rate)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Let the tasks that the block creates belong to this process."""
        token = _PROCESS.set(self)
        try:
            yield
        finally:
            _PROCESS.reset(token)

    def stop(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def proceed(self) -> None:
        """SIGCONT: execute what was due meanwhile, in its order."""
        self.stopped = False
        held, self._held = self._held, []
        for handle, timer in held:
            asyncio.get_running_loop().call_soon(_run, handle, timer)

    async def end_tasks(self) -> None:
        """End all tasks of the process. A cleanup may wait for dead tasks, so it is cancelled again."""
        left = {task for task in self.tasks if not task.done()}
        tasks = set(left)
        while left:
            for task in left:
                task.cancel()
            self.proceed()
            _, left = await asyncio.wait(left, timeout=0.01)
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self, handle: asyncio.Handle, timer: asyncio.TimerHandle | None = None) -> None:
        """Keep a callback until the process continues. `timer` is its timer, which may be cancelled meanwhile."""
        self._held.append((handle, timer))


def _run(handle: asyncio.Handle, timer: asyncio.TimerHandle | None) -> None:
    if not handle.cancelled() and (timer is None or not timer.cancelled()):
        handle._run()


def current_process() -> Process:
    """The process of the task that calls."""
    process = _PROCESS.get()
    assert process is not None
    return process


def outside() -> Context:
    """A context for tasks of the network and of servers."""
    context = copy_context()
    context.run(_PROCESS.set, None)
    return context


class ProcessLoop(VirtualLoop):
    """The loop of simulated processes."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(_created)  # type: ignore[arg-type]

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        process = _process_of(context)
        if process is None or not process.stopped:
            return super().call_soon(callback, *args, context=context)
        handle = asyncio.Handle(callback, args, self, context)
        process.hold(handle)
        return handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        process = _process_of(context)
        if process is None:
            return super().call_at(when, callback, *args, context=context)
        timers: list[asyncio.TimerHandle] = []
        timers.append(super().call_at(when, self._fire, process, timers, callback, args, context=context))
        return timers[0]

    def _fire(
        self, process: Process, timers: list[asyncio.TimerHandle], callback: Callable[..., object], args: Any
    ) -> None:
        if process.stopped:
            process.hold(asyncio.Handle(callback, args, self, copy_context()), timers[0])
        else:
            callback(*args)


def _process_of(context: Context | None) -> Process | None:
    return _PROCESS.get() if context is None else context.get(_PROCESS)


def _created(
    loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], context: Context | None = None
) -> "asyncio.Task[Any]":
    task = asyncio.Task(coroutine, loop=loop, context=context)
    if (process := _process_of(context)) is not None:
        process.tasks.add(task)
    return task
