"""A timer of the kernel that ends this process at a time, also while the process is stopped.

A process that was stopped by SIGSTOP, or with its machine, does not know that time has passed. When it continues, it
would finish what it had begun. The kernel delivers the signal of the timer before the process executes anything else.

The handler of the signal is `_exit` of the C library: the kernel calls it without the interpreter. The default action
would do the same, but the kernel ignores it for process 1, which is the agent in a container. The exit code is the
number of the signal, 14.

The timer counts boot time (CLOCK_BOOTTIME), which goes on while the machine sleeps. Linux on 64 bits has it.
"""

import ctypes
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Final

EXIT_CODE: Final = int(getattr(signal, "SIGALRM", 14))
_ABSOLUTE: Final = 1  # TIMER_ABSTIME of <linux/time.h>


class _Seconds(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Seconds), ("value", _Seconds))


class KernelTimer:
    """One timer of this process. It is not inherited by child processes."""

    def __init__(self, library: Any, timer: ctypes.c_void_p) -> None:
        """Use `create`."""
        self._library = library
        self._timer = timer

    @classmethod
    def create(cls) -> "KernelTimer | None":
        """A timer that is not armed. None: this system has none."""
        with suppress(OSError, AttributeError, TypeError):
            return cls._create()
        return None

    @classmethod
    def _create(cls) -> "KernelTimer | None":
        if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
            return None
        library = _library()
        timer = ctypes.c_void_p()
        if library.timer_create(time.CLOCK_BOOTTIME, None, ctypes.byref(timer)):
            return None
        library.signal.restype = ctypes.c_void_p
        library.signal.argtypes = ctypes.c_int, ctypes.c_void_p
        library.signal(EXIT_CODE, ctypes.cast(library._exit, ctypes.c_void_p))
        library.timer_settime.argtypes = ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p
        return cls(library, timer)

    def arm(self, at: float) -> bool:
        """End this process at `at`, in seconds of boot time. A past time ends it now. False: the timer failed."""
        return self._set(max(at, 1e-9))  # zero would disarm it

    def disarm(self) -> None:
        """Let this process live on."""
        self._set(0.0)

    def close(self) -> None:
        """Remove the timer."""
        self._library.timer_delete(self._timer)

    def _set(self, at: float) -> bool:
        seconds = int(at)
        setting = _Setting(value=_Seconds(seconds, int((at - seconds) * 1e9)))
        return not self._library.timer_settime(self._timer, _ABSOLUTE, ctypes.byref(setting), None)


def _library() -> Any:
    """The C library. Before version 2.34 of glibc, timers are in librt."""
    library = ctypes.CDLL(None, use_errno=True)
    return library if hasattr(library, "timer_create") else ctypes.CDLL("librt.so.1", use_errno=True)
