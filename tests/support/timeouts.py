"""How long a test waits for what must happen: longer than a process or a machine stands still while it does other work.

Nobody waits that long where all is well, and a limit proves nothing but that an end comes.
"""

import time
from collections.abc import Callable

PATIENT = 600.0  # seconds


def eventually(true: Callable[[], object], message: Callable[[], object] = lambda: "it did not happen") -> None:
    """Wait for another process or thread; fail with what is `message` then when it never happens."""
    end = time.monotonic() + PATIENT
    while not true():
        assert time.monotonic() < end, message()
        time.sleep(0.05)
