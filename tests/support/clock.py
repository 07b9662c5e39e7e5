"""Time that jumps: it passes only while all parts of a test wait, so that a day at Assure takes a moment.

Time passes only through this clock: the agent calls `wait`, the sandbox calls `sleep`. All other work is a call on the
wire or a commit, and belongs to a record that is being driven. `watch` counts the records that are being driven.

When each of them is asleep in the sandbox, the clock jumps to the earliest deadline, but never past `stop_at`. A task
that was woken and has not run yet still counts as waiting, with a deadline in the past. The clock also checks the
conditions of `until` before each jump, so that the test continues at the moment when its condition came true.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from agent.platform.clock import SystemClock

START = 1_800_000_000.0  # 2027-01-15T08:00:00Z
_POLL_SECONDS = 0.0005  # real seconds between two checks while work is in progress
_AT_ONCE = 10  # checks without a pause after a jump: a task that only decides to wait again needs no more turns
_TICK = 0.001  # real seconds: no sleep in a loop is shorter
_PATIENCE = 20.0  # seconds until a test is believed to be stuck, on a machine that has nothing else to do


class VirtualClock:
    """Implements `agent.ports.Clock`. Use as an async context manager; call it for the sandbox's epoch seconds."""

    confirmed = True

    def __init__(self) -> None:
        self.stop_at = math.inf
        self.asleep = 0  # calls that sleep in the sandbox
        self.most_asleep = 0
        self.dozing = 0  # waits of the sandbox between two events that it sends
        self._time = START
        self._waiting: dict[asyncio.Timeout, tuple[float, asyncio.Event]] = {}
        self._waiters: dict[asyncio.Timeout, asyncio.Task[Any] | None] = {}
        self._watched: list[Callable[[], int]] = []
        self._loops: list[Callable[[], int]] = []  # those of them that wait on this clock when idle
        self._mover: asyncio.Task[None] | None = None

    def now(self) -> float:
        return self._time

    __call__ = now

    def resume(self, last_event: float, anchor: object = None) -> None:
        """This clock is never set back, so the time is at or after that of an earlier run."""

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        deadline = math.inf if seconds is None else self._time + seconds
        if event.is_set() or deadline <= self._time:
            await asyncio.sleep(0)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None) as alarm:
                self._waiting[alarm] = (deadline, event)
                self._waiters[alarm] = asyncio.current_task()
                try:
                    await event.wait()
                finally:
                    del self._waiting[alarm], self._waiters[alarm]

    async def sleep(self, seconds: float) -> None:
        """Latency in the sandbox."""
        self.asleep += 1
        self.most_asleep = max(self.most_asleep, self.asleep)
        try:
            await self.wait(asyncio.Event(), seconds)
        finally:
            self.asleep -= 1

    async def doze(self, event: asyncio.Event, seconds: float | None) -> None:
        """Wait until the sandbox has an event to send."""
        self.dozing += 1
        try:
            await self.wait(event, seconds)
        finally:
            self.dozing -= 1

    # -- who is at work ----------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watch(self, at_work: Callable[[], int], loop: bool = True) -> Iterator[None]:
        """A loop that waits on this clock, or a call on the wire; `at_work` says how many it is busy with."""
        self._watched.append(at_work)
        if loop:
            self._loops.append(at_work)
        try:
            yield
        finally:
            self._watched.remove(at_work)
            if loop:
                self._loops.remove(at_work)

    def waits(self, task: asyncio.Task[Any]) -> bool:
        """True while this task waits on the clock."""
        return task in self._waiters.values()

    @property
    def quiet(self) -> bool:
        """True when only time can make progress."""
        woken = any(event.is_set() or deadline <= self._time for deadline, event in self._waiting.values())
        return not woken and sum(count() for count in self._watched) <= self.asleep

    # -- what a test does with it --------------------------------------------------------------------------------

    def hold(self) -> None:
        """Let no more time pass by itself."""
        self.stop_at = self._time

    def release(self) -> None:
        """Let time pass by itself again."""
        self.stop_at = math.inf

    def skip(self, seconds: float) -> None:
        """Let that much time pass while no agent runs."""
        self._time += seconds

    async def rest(self) -> None:
        """Return once every loop waits and only time can make progress."""
        await until(lambda: self.quiet and len(self._waiting) - self.asleep - self.dozing >= len(self._loops))

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, and hold it there."""
        self.stop_at = max(self._time, self.stop_at if self.stop_at < math.inf else 0.0) + seconds
        await until(lambda: self._time >= self.stop_at)
        await self.rest()

    # -- moving --------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> "VirtualClock":
        self._mover = asyncio.create_task(self._move())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._mover is not None
        self._mover.cancel()
        await asyncio.gather(self._mover, return_exceptions=True)

    async def _move(self) -> None:
        read_pool = 0
        while True:
            moment = min((deadline for deadline, _ in self._waiting.values()), default=math.inf)
            target = min(moment, self.stop_at)
            if self.quiet and self._time < target < math.inf and not any(map(_came, _awaited)):
                self._time = target
                for alarm, (deadline, _) in self._waiting.items():
                    if deadline <= target:
                        alarm.reschedule(0)
                read_pool = 0
            read_pool += 1
            await asyncio.sleep(0 if read_pool < _AT_ONCE else _POLL_SECONDS)


class HostClock(SystemClock):
    """The agent's own clock on a host whose clock is `set_by` seconds wrong; boot time is the virtual time."""

    def __init__(self, virtual: VirtualClock, set_by: Callable[[], float], boot: str = "a boot") -> None:
        super().__init__(lambda: virtual.now() + set_by(), virtual.now, boot)
        self._virtual = virtual

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        await self._virtual.wait(event, seconds)


T = TypeVar("T")


async def until(true: Callable[[], object], patience: float = _PATIENCE, check: float = _POLL_SECONDS) -> None:
    """Return when it is true; TimeoutError when it never is.

    Patience is a number of checks, so that it lasts longer on a busy machine.
    """
    _awaited.append(true)
    try:
        for _ in range(int(patience / max(check, _TICK))):
            if true():
                return
            await asyncio.sleep(check)
        raise TimeoutError
    finally:
        _awaited.remove(true)


_awaited: list[Callable[[], object]] = []  # conditions that tests wait for


def _came(true: Callable[[], object]) -> bool:
    try:
        return bool(true())
    except Exception:  # `until` raises it in the task that waits
        return False


async def patiently(ends: Coroutine[Any, Any, T] | asyncio.Task[T], patience: float = _PATIENCE) -> T:
    """The result of a task. It is cancelled with TimeoutError when it does not end within the patience of `until`."""
    task = ends if isinstance(ends, asyncio.Task) else asyncio.create_task(ends)
    try:
        await until(task.done, patience, check=0.005)
    except TimeoutError:
        task.cancel()
        raise
    return await task
