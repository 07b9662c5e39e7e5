"""The time until which a call that changes something may be sent: the end of the lease on a shared store.

After it, another process may send the same call. The check alone is not enough: the process may be stopped between the
check and the last byte. So a timer of the kernel ends the process at that time while a byte of such a call is unsent.

A process that runs is not ended: a moment earlier, it gives up the calls of which a byte is unsent.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from agent.platform.clock import boot_clock
from agent.platform.kernel_timer import KernelTimer

_MARGIN: Final = 1.0  # seconds before the end at which calls with unsent bytes are given up


class SendDeadline:
    """Calls between their check and their last byte."""

    def __init__(
        self,
        until: Callable[[], float],
        timer: KernelTimer | None,
        elapsed: Callable[[], float] | None = None,
    ) -> None:
        """`until` returns the end of the lease in seconds of boot time, `elapsed` the boot time.

        Without a timer, the check alone has to do.
        """
        self._until = until
        self._timer = timer
        self._elapsed = elapsed or boot_clock()
        self._unsent: set[Callable[[], None]] = set()
        self._watch: asyncio.TimerHandle | None = None

    def begin(self, give_up: Callable[[], None]) -> bool:
        """Ask before the first byte of a call. False: it is too late.

        After True, call `end` when the last byte is sent or discarded. `give_up` is called if that takes too long.
        """
        until = self._until()
        if self._elapsed() >= until:
            return False
        self._arm(until)
        if self._elapsed() >= until:  # the process was stopped before the timer was armed
            self._disarm_if_idle()
            return False
        self._unsent.add(give_up)
        return True

    def wait(self) -> None:
        """Some bytes are still unsent: give the calls up before the end of the lease."""
        if self._watch is None and self._unsent:
            left = self._until() - self._elapsed() - _MARGIN
            self._watch = asyncio.get_running_loop().call_later(max(0.0, left), self._check_time)

    def end(self, give_up: Callable[[], None]) -> None:
        """No byte of this call can be sent from now on."""
        self._unsent.discard(give_up)
        self._disarm_if_idle()

    def close(self) -> None:
        """Remove the timer. No call is sent afterwards."""
        if self._watch is not None:
            self._watch.cancel()
        if self._timer is not None:
            self._timer.close()
            self._timer = None

    def _check_time(self) -> None:
        """Follow a lease that was renewed; otherwise give up."""
        self._watch = None
        until = self._until()
        if self._elapsed() < until - _MARGIN:
            if self._unsent:
                self._arm(until)
            self.wait()
            return
        for give_up in tuple(self._unsent):
            give_up()

    def _arm(self, until: float) -> None:
        if self._timer is not None:
            self._timer.arm(until)

    def _disarm_if_idle(self) -> None:
        if self._timer is not None and not self._unsent:
            self._timer.disarm()
