"""The time of the server, on this machine: boot time plus an offset that each renewal measures.

The clocks of the hosts may differ by hours: they are used for nothing.
"""

from collections.abc import Callable


class DatabaseTime:
    """Call it for the time in seconds since the epoch."""

    def __init__(self, elapsed: Callable[[], float]) -> None:
        """`elapsed` is a clock in seconds that a suspend of the machine does not stop."""
        self._elapsed = elapsed
        self._offset: float | None = None

    def __call__(self) -> float:
        """The time of the server. Its error is at most half of the round trip."""
        assert self._offset is not None, "the server was not asked yet"
        return self._elapsed() + self._offset

    def read(self, moment: float, asked: float) -> None:
        """The server answered `moment`, in seconds since the epoch. It was asked at `asked`, by the clock `elapsed`."""
        self._offset = moment - (asked + self._elapsed()) / 2
