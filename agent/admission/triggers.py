"""Follows the hints of the watch: a look at the files that changed, and a scan where only a scan can tell.

A hint makes things earlier, never otherwise: nothing is withdrawn because of one, and without any the scan at intervals
finds all. Scans for hints keep their distance, so that a large, busy folder is not always being scanned.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Protocol

from agent.core.policy import RESCAN_PAUSE
from agent.source.watch import Hint

_SCAN_PAUSE_FACTOR = 2.0  # after a scan for a hint, no other for this many times as long as it took
_FAULT_PAUSE = 1.0


class Hints(Protocol):
    """Where hints come from."""

    async def next(self, patience: float | None = None) -> Hint:
        """All that was seen since the last call; waits for something, or for `patience` seconds."""


class HintFollower:
    """Reads the files that the hints name. `sync_files` and `scan` return open files; `on_error` gets their errors."""

    def __init__(
        self,
        sync_files: Callable[[frozenset[str]], Awaitable[Hint]],
        scan: Callable[[], Awaitable[Hint]],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._sync_files, self._scan, self._on_error = sync_files, scan, on_error
        self._unfinished = Hint()
        self._not_before = 0.0

    async def run(self, hints: Hints) -> None:
        """Follow until cancelled."""
        while True:
            hint = await hints.next(RESCAN_PAUSE if self._unfinished else None)
            try:
                await self.follow(hint)
            except Exception as error:
                self._on_error(error)
                await asyncio.sleep(_FAULT_PAUSE)

    async def follow(self, hint: Hint) -> None:
        """Look at what this hint and the ones before left open."""
        hint |= self._unfinished
        self._unfinished = Hint(everything=hint.everything)
        if hint.files:
            self._unfinished |= await self._sync_files(hint.files)
        if self._unfinished.everything and monotonic() >= self._not_before:
            began = monotonic()
            self._unfinished = Hint(self._unfinished.files)
            self._unfinished |= await self._scan()
            self._not_before = monotonic() + _SCAN_PAUSE_FACTOR * (monotonic() - began)
