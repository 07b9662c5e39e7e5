"""The points at which an agent may be killed: each commit and each call, before and after.

The boundaries of one life are numbered in their order. An agent that is killed at a boundary has no further effect: it
writes and sends nothing more. The next agent gets the files of that moment.
"""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

NO_COPY = shutil.ignore_patterns("*.lock", "*.sock")


class CrashPoints:
    """Counts boundaries over all lives, and kills at those in `fatal`. It then calls `killed`."""

    def __init__(self, state: Path, fatal: Collection[int] = ()) -> None:
        self.fatal = set(fatal)
        self.boundaries: list[str] = []  # the name of each
        self.dead = False
        self.killed: Callable[[], None] = lambda: None
        self._state = state
        self._copy = state.with_name("as-it-was")

    def pass_boundary(self, boundary: str) -> bool:
        """Count one boundary. Return False when the agent is dead."""
        if self.dead:
            return False
        self.boundaries.append(boundary)
        if len(self.boundaries) - 1 in self.fatal:
            self.kill()
        return not self.dead

    def kill(self) -> None:
        """Suppress all further effects of the agent."""
        self.dead = True
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._state, self._copy, ignore=NO_COPY)
        self.killed()

    def revive(self) -> None:
        """Restore the files of that moment, and let the next agent act."""
        shutil.rmtree(self._state)
        self._copy.rename(self._state)
        self.dead = False
