"""Follows the hints of the watch: a look at the files that changed, and a scan where only a scan can tell.

A hint makes things earlier, never otherwise: nothing is withdrawn because of one, and without any the scan at intervals
finds all. Scans for hints keep their distance, so that a large, busy folder is not always being scanned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

from agent.source.watch import Hint

_SETTLE = 0.3  # seconds until what is being written is looked at again
_DISTANCE = 2.0  # after a scan for a hint, no other for this many times as long as it took
_FAULT_PAUSE = 1.0


class Hints(Protocol):
    """Where hints come from."""

    async def next(self, patience: float | None = None) -> Hint:
        """All that was seen since the last call; waits for something, or for `patience` seconds."""


class Follower:
    """Looks where the hints point. `look` and `scan` return what is still open; `failed` hears of what they raise."""

    def __init__(
        self,
        look: Callable[[frozenset[str]], Awaitable[Hint]],
        scan: Callable[[], Awaitable[Hint]],
        failed: Callable[[Exception], None],
    ) -> None:
        self._look, self._scan, self._failed = look, scan, failed
        self._open = Hint()
        self._not_before = 0.0

    async def run(self, hints: Hints) -> None:
        """Follow until cancelled."""
        while True:
            hint = await hints.next(_SETTLE if self._open else None)
            try:
                await self.follow(hint)
            except Exception as error:
                self._failed(error)
                await asyncio.sleep(_FAULT_PAUSE)

    async def follow(self, hint: Hint) -> None:
        """Look at what this hint and the ones before left open."""
        hint |= self._open
        self._open = Hint(everything=hint.everything)
        if hint.files:
            self._open |= await self._look(hint.files)
        if self._open.everything and monotonic() >= self._not_before:
            began = monotonic()
            self._open = Hint(self._open.files)
            self._open |= await self._scan()
            self._not_before = monotonic() + _DISTANCE * (monotonic() - began)
