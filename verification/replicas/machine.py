"""The parts of a machine that a simulated agent uses: its boot clock, its kernel timer, and its endpoint for events."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random

import httpx
from starlette.types import ASGIApp

from agent.assure.http.send_deadline import SendDeadline
from verification.crash_points import CrashPoints
from verification.in_process_events import InProcessEventEndpoint
from verification.replicas.process import Process, current_process, outside


def boot_clock() -> Callable[[], float]:
    """The boot clock of the machine of the calling task."""
    return current_process().boot_time


class ProcessCrashPoints(CrashPoints):
    """The crash points of one process among several: the boundaries of all are numbered in one order."""

    def __init__(self, shared: CrashPoints) -> None:
        self.fatal, self.boundaries, self.dead = shared.fatal, shared.boundaries, False
        self.killed: Callable[[], None] = lambda: None

    def kill(self) -> None:
        """Suppress all further effects of the process. The files stay."""
        if not self.dead:
            self.dead = True
            self.killed()


class VirtualKernelTimer:
    """The timer of the kernel: it kills the process at a boot time, also while the process is stopped."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._handle: asyncio.TimerHandle | None = None

    @classmethod
    def create(cls) -> "VirtualKernelTimer":
        """A timer that is not armed."""
        return cls(current_process())

    def arm(self, until: float) -> None:
        """Set the time."""
        self.disarm()
        loop = asyncio.get_running_loop()
        seconds = self._process.seconds_until(until)
        self._handle = outside().run(loop.call_later, seconds, self._process.crash_points.kill)

    def disarm(self) -> None:
        """Let the process live."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def close(self) -> None:
        """Remove the timer."""
        self.disarm()


class StoppingDeadline:
    """The deadline of an agent whose process may be stopped between the check and the first byte."""

    def __init__(self, deadline: SendDeadline, checked: Callable[[], None]) -> None:
        self._deadline, self._checked = deadline, checked

    def begin(self, give_up: Callable[[], None]) -> bool:
        """Ask before the first byte."""
        timely = self._deadline.begin(give_up)
        self._checked()
        return timely

    def end(self, give_up: Callable[[], None]) -> None:
        """The last byte is sent."""
        self._deadline.end(give_up)


class NoCheckpoints:
    """Replaces the chain of checkpoints, which belongs to no request."""

    def __init__(self, *_: object, **__: object) -> None:
        """Nothing is kept."""

    def take(self, at: float) -> tuple[()]:
        """No checkpoint."""
        return ()


class ReplicaEventEndpoint(InProcessEventEndpoint):
    """The endpoint in front of several agents: an event arrives at any that listens."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self._apps: dict[Process, ASGIApp] = {}

    @contextlib.asynccontextmanager
    async def _serving(self, app: ASGIApp) -> AsyncIterator[None]:
        process = current_process()
        self._apps[process] = app
        try:
            yield
        finally:
            self._apps.pop(process, None)

    def close_endpoint(self, process: Process | None = None) -> None:
        """Close the endpoint of a dead agent."""
        if process is not None:
            self._apps.pop(process, None)

    def _call(self, request: httpx.Request) -> "asyncio.Task[httpx.Response] | None":
        if not self._apps:
            return None
        process = self._chance.choice(list(self._apps))
        with process.current():
            return self._create(self._apps[process], request)
