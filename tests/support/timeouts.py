"""The time that a test waits for an event: longer than any pause of a busy machine.

A test that passes never waits that long. The limit only ends a test that fails.
"""

import time
from collections.abc import Callable

PATIENT = 600.0  # seconds


def eventually(true: Callable[[], object], message: Callable[[], object] = lambda: "it did not happen") -> None:
    """Wait for another process or thread; fail with `message` when the condition never holds."""
    began = time.monotonic()
    end = began + PATIENT
    while not true():
        assert time.monotonic() < end, message()
        time.sleep(max(0.05, 2 * (time.monotonic() - began)))  # a slow check leaves the processors to the others
        began = time.monotonic()
